// @ts-check
// The stage in the browser: draws what the server renders, sends what the person does. It decides neither who sees what
// nor what is stored. her/ui/assets.py serves these modules and calls `start` when Gradio has drawn stage.html.

import { chatInAddress, openTab, watchAddress } from "./addresses.js";
import { chatMenu, goHome, openChat, toggleDrawer, wireDrawer, yieldChats } from "./chats.js";
import { wireComposer } from "./composer.js";
import { askConsent } from "./consent.js";
import { find, findAll, make } from "./dom.js";
import { asksToSteer, endEdit, reopenEdit, steer } from "./editors.js";
import { scrollToEnd, watchScrolling } from "./follow.js";
import { run, send, watchSilence } from "./generation.js";
import { wireGestures } from "./gestures.js";
import { wireKeys } from "./keys.js";
import { followLink } from "./links.js";
import { isDurable } from "./memory.js";
import { watchMission } from "./missions.js";
import { watchOtherTabs } from "./other_tabs.js";
import { apply } from "./patches.js";
import { giveThumb, watchRatings } from "./rating.js";
import { rateChat, toggleRating } from "./rating_panel.js";
import { showCode } from "./return_code.js";
import { watchSafety } from "./safety.js";
import {
  characterMenu,
  narrate,
  playOn,
  playOne,
  playSeveral,
  sayInScene,
  toggleDirector,
} from "./scene_play.js";
import { watchSights } from "./sight.js";
import { ask, createStage, PANELS, word } from "./stage.js";
import { watchTheme } from "./themes.js";
import { paintToggles, peek, togglePanel } from "./toggles.js";
import { keepReply, regenerate, swipe, turnMenu } from "./turn_tools.js";
import { chooseTurn } from "./turns.js";

/**
 * @typedef {import("./types.js").Doors} Doors
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {import("./types.js").StageKind} StageKind
 */

/** What the buttons of a turn do (`data-act` in the HTML of the server). */
/** @type {Record<string, (stage: Stage, article: HTMLElement, tool: HTMLElement) => unknown>} */
const ON_TURN = {
  "peek-role_thinking": (stage, article) => peek(stage, article, "role_thinking"),
  "peek-system_thinking": (stage, article) => peek(stage, article, "system_thinking"),
  "swipe-back": (stage, article) => swipe(stage, article, -1),
  "swipe-forth": (stage, article) => swipe(stage, article, 1),
  regenerate,
  keep: keepReply,
  steer,
  like: (stage, article) => giveThumb(stage, article, 1),
  dislike: (stage, article) => giveThumb(stage, article, -1),
  rate: toggleRating,
  tools: turnMenu,
};

/** What the other buttons of the page do. */
/** @type {Record<string, (stage: Stage, button: HTMLElement) => unknown>} */
const ANYWHERE = {
  home: goHome,
  chats: toggleDrawer,
  menu: chatMenu,
  "toggle-role_thinking": (stage) => togglePanel(stage, "role_thinking"),
  "toggle-system_thinking": (stage) => togglePanel(stage, "system_thinking"),
  stop,
  latest: scrollToEnd,
  continue: (stage) => runOnChat(stage, "continue"),
  answer: (stage) => runOnChat(stage, "answer"),
  "rate-chat": rateChat,
  "next-turn": playOne,
  "auto-play": playSeveral,
  narrate,
  character: characterMenu,
  director: toggleDirector,
};

/**
 * Start the stage in the element that Gradio drew.
 * @param {HTMLElement} element
 * @param {Doors} doors
 * @param {StageKind} kind
 */
export async function start(element, doors, kind) {
  const stage = createStage(element, doors, kind);
  wire(stage, doors);
  paintToggles(stage);
  const asked = Date.now();
  const boot = await ask(stage, "boot", {});
  if (!boot) {
    const zh = stage.language === "zh";
    const retry = { type: "button", class: "primary", onclick: () => window.location.reload() };
    stage.elements.home.replaceChildren(
      make(
        "p",
        { class: "page", role: "alert" },
        zh ? "HER：无法连接服务器。" : "HER: the server cannot be reached. ",
        make("button", retry, zh ? "重试" : "Try again"),
      ),
    );
    return;
  }
  stage.boot = boot;
  stage.words = boot.words;
  // the personas of the page's language first; sort is stable, so each group keeps its order
  boot.personas.sort((a, b) => Number(a.language !== stage.language) - Number(b.language !== stage.language));
  paintWords(stage);
  paintBadge(stage);
  watchSafety(stage, asked);
  await askConsent(stage);
  watchRatings(stage);
  watchMission(stage);
  if (await followLink(stage)) {
    stage.root.dataset.ready = "1";
    return;
  }
  const named = chatInAddress(stage);
  if (named) openTab(stage);
  const last = named || stage.memory.recall("chat");
  if (last) await openChat(stage, last);
  else goHome(stage);
  stage.root.dataset.ready = "1";
}

/**
 * @param {Stage} stage
 * @param {Doors} doors
 */
function wire(stage, doors) {
  stage.ended = (end) => {
    endEdit(stage, end);
    playOn(stage, end);
  };
  stage.reload = () => {
    if (stage.chat) openChat(stage, stage.chat.id);
  };
  stage.show = async (node) => {
    if (stage.chat) apply(stage, await ask(stage, "select", { chat: stage.chat.id, node }));
  };
  stage.drawn = (article) => reopenEdit(stage, article);
  wireComposer(stage, () => (stage.chat?.scene ? sayInScene(stage) : send(stage)));
  yieldChats(stage);
  wireDrawer(stage);
  watchSights(stage);
  wireKeys(stage);
  watchScrolling(stage);
  watchTheme(stage);
  wireGestures(stage);
  watchOtherTabs(stage);
  watchAddress(stage, { open: (id) => openChat(stage, id), home: () => goHome(stage) });
  stage.root.addEventListener("click", (event) => onClick(stage, event));
  doors.watch("value", () => {
    try {
      const patch = JSON.parse(doors.props.value);
      tellOfRun(stage, patch);
      apply(stage, patch);
    } catch (error) {
      console.error("her: a patch could not be applied", error);
    }
  });
  watchSilence(stage, (patch) => apply(stage, patch));
}

/** The reply that the other tabs were told of. */
let told = "";

/**
 * Tell the other tabs when a reply of this one begins, and when it has ended.
 * @param {Stage} stage
 * @param {import("./types.js").ChatPatch} patch
 */
function tellOfRun(stage, patch) {
  const begun = patch.live && patch.live.id !== told;
  if (patch.live) told = patch.live.id;
  if ((begun || patch.end) && patch.chat) stage.tell(patch.chat);
}

/**
 * @param {Stage} stage
 * @param {MouseEvent} event
 */
function onClick(stage, event) {
  if (!(event.target instanceof Element)) return;
  /** @type {HTMLElement | null} */
  const article = event.target.closest(".turn");
  /** @type {HTMLElement | null} */
  const tool = event.target.closest("[data-act]");
  if (article && stage.elements.turns.contains(article)) chooseTurn(stage, article, false);
  const act = tool?.dataset.act;
  if (article && !act && asksToSteer(event.target)) steer(stage, article, event.target);
  if (!tool || !act) return;
  if (article && ON_TURN[act]) ON_TURN[act](stage, article, tool);
  else ANYWHERE[act]?.(stage, tool);
}

/**
 * Stop the reply that is being written, and what would be played after it.
 * @param {Stage} stage
 */
function stop(stage) {
  stage.auto = 0;
  if (stage.chat) ask(stage, "stop", { chat: stage.chat.id });
}

/**
 * @param {Stage} stage
 * @param {"answer" | "continue"} name
 */
function runOnChat(stage, name) {
  if (stage.chat && !stage.running) run(stage, name, { chat: stage.chat.id });
}

/**
 * Write the words of the interface on what stage.html drew.
 * @param {Stage} stage
 */
function paintWords(stage) {
  const { root } = stage;
  const { box } = stage.elements;
  root.lang = stage.language;
  for (const node of findAll(root, "[data-word]")) node.textContent = word(stage, node.dataset.word ?? "");
  if (stage.kind === "scene") find(root, '[data-word="home"]').textContent = word(stage, "scenes");
  for (const kind of PANELS) {
    const toggle = find(root, `[data-act="toggle-${kind}"]`);
    toggle.title = word(stage, `toggle_${kind}`);
    toggle.setAttribute("aria-label", word(stage, kind));
  }
  const director = find(root, '[data-act="director"]');
  director.title = word(stage, "director_hint");
  director.setAttribute("aria-label", word(stage, "director"));
  box.placeholder = word(stage, "say");
  box.setAttribute("aria-label", word(stage, "say"));
  find(root, '[data-act="chats"]').setAttribute("aria-label", word(stage, "chats"));
  find(root, '[data-act="menu"]').setAttribute("aria-label", word(stage, "more"));
}

/**
 * Show which model answers, and a notice of the operator.
 * @param {Stage} stage
 */
function paintBadge(stage) {
  const { badge, notice, scripted } = stage.boot;
  const line = find(stage.root, ".her-badge");
  const connect = make("button", { type: "button", class: "connect", onclick: openConnectTab }, badge);
  const forgets = isDurable() ? "" : forgetsNotice(stage);
  line.replaceChildren(connect, notice ? make("span", {}, notice) : "", forgets);
  line.hidden = !(scripted || notice || forgets);
}

/**
 * Say that this browser keeps nothing, with the way to the code.
 * @param {Stage} stage
 */
function forgetsNotice(stage) {
  const open = { type: "button", class: "connect", onclick: () => showCode(stage) };
  return make("span", {}, `${word(stage, "no_storage")} `, make("button", open, word(stage, "your_code")));
}

function openConnectTab() {
  /** @type {HTMLElement | null} */
  const tab = document.querySelector('[role="tab"][data-tab-id="connect-tab"]');
  tab?.click();
}
