// @ts-check
// The visitor's mission: a card on the first page, and a line above the chat with how far it is.

import { button, findOptional, make } from "./dom.js";
import { ask, isRefusal, word } from "./stage.js";

/**
 * @typedef {import("./types.js").ShownMission} ShownMission
 * @typedef {import("./types.js").OpenedChat} OpenedChat
 * @typedef {import("./types.js").Stage} Stage
 */

const LONGEST_NAME = 60;

/** Requests after which a mission may be further. */
const CHANGES = new Set(["rate", "rate_character", "say", "delete", "delete_chat"]);

/**
 * Missions by the stage that shows them; null where there is none left.
 * @type {WeakMap<Stage, ShownMission | null>}
 */
const known = new WeakMap();

/**
 * Follow how far the mission is, after each reply and each rating.
 * @param {Stage} stage
 */
export function watchMission(stage) {
  if (!stage.boot.playtest?.missions || stage.kind === "scene") return;
  const { ended } = stage;
  stage.ended = (end) => {
    ended(end);
    refresh(stage);
  };
  const { act } = stage.api;
  stage.api.act = async (name, fields) => {
    const answer = await act(name, fields);
    if (CHANGES.has(name) && !isRefusal(answer)) refresh(stage);
    return answer;
  };
  new MutationObserver(() => showLine(stage)).observe(stage.root, { attributeFilter: ["data-page"] });
}

/**
 * Show the line above the chat that is open now; the mission is asked for where the first page was not shown before.
 * @param {Stage} stage
 */
async function showLine(stage) {
  if (stage.root.dataset.page === "chat" && !known.has(stage)) await fetchMission(stage);
  paintLine(stage);
}

/**
 * Ask for the mission of a link, or the one that the visitor is at; return it.
 * @param {Stage} stage
 * @param {string} wanted id of a mission, empty for any
 */
export async function fetchMission(stage, wanted = "") {
  const answer = await ask(stage, "mission", { mission: wanted });
  if (answer) known.set(stage, answer.mission);
  return answer?.mission ?? null;
}

/** @param {Stage} stage */
async function refresh(stage) {
  const mission = known.get(stage);
  // a done mission is shown until the person goes on to the next
  if (!mission || mission.done || stage.chat?.id !== mission.chat) return;
  const answer = await stage.api.act("mission", { mission: "" });
  if (isRefusal(answer)) return;
  known.set(stage, answer.mission);
  paintLine(stage);
}

/**
 * Return the place of the card on the first page, which is filled when the server has answered; null without missions.
 * @param {Stage} stage
 * @param {(patch: OpenedChat) => void} enter
 */
export function missionCard(stage, enter) {
  if (!stage.boot.playtest?.missions) return null;
  const card = make("section", { class: "mission-card", "aria-live": "polite" });
  fetchMission(stage).then((mission) => card.replaceChildren(...cardLines(stage, mission, card, enter)));
  return card;
}

/**
 * @param {Stage} stage
 * @param {ShownMission | null} mission
 * @param {HTMLElement} card
 * @param {(patch: OpenedChat) => void} enter
 * @returns {Node[]}
 */
function cardLines(stage, mission, card, enter) {
  if (!mission) return [make("p", { class: "note" }, word(stage, "no_mission"))];
  const name = make("input", {
    maxlength: LONGEST_NAME,
    value: stage.memory.recall("name") ?? "",
    placeholder: word(stage, "visitor"),
    autocomplete: "nickname",
  });
  const begin = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (!mission.chat && mission.asks_name) stage.memory.keep("name", name.value);
    const patch = await ask(stage, "begin_mission", { name: name.value });
    if (!patch) return;
    await fetchMission(stage, mission.id);
    enter(patch);
  };
  const another = button(word(stage, "mission_another"), async () => {
    if (mission.chat && !window.confirm(word(stage, "mission_another_sure"))) return;
    const answer = await ask(stage, "give_up_mission", {});
    if (!answer) return;
    known.set(stage, answer.mission);
    card.replaceChildren(...cardLines(stage, answer.mission, card, enter));
  });
  const label = word(stage, mission.chat ? "mission_go_on" : "mission_begin");
  const asked = make("label", { class: "field" }, make("span", {}, word(stage, "your_name")), name);
  return [
    make("h2", {}, word(stage, mission.before ? "mission_next" : "mission")),
    make("p", { class: "place" }, mission.place),
    make("p", { class: "goal" }, mission.goal),
    progressList(stage, mission),
    make(
      "form",
      { onsubmit: begin },
      mission.asks_name && !mission.chat ? asked : null,
      make("div", { class: "row" }, make("button", { type: "submit", class: "primary" }, label), another),
    ),
  ];
}

/**
 * Draw the line above the chat of the mission; none above other chats.
 * @param {Stage} stage
 */
function paintLine(stage) {
  const mission = known.get(stage);
  const old = findOptional(stage.root, ".her-mission");
  if (!mission || stage.root.dataset.page !== "chat" || stage.chat?.id !== mission.chat) return old?.remove();
  const summary = make(
    "summary",
    {},
    make("span", {}, word(stage, "mission_details")),
    progressList(stage, mission),
  );
  const line = make("details", { class: "her-mission" }, summary, make("p", { class: "goal" }, mission.goal));
  if (old instanceof HTMLDetailsElement) line.open = old.open;
  if (mission.done) {
    const next = button(word(stage, "mission_more"), () => goOn(stage));
    summary.append(make("strong", { role: "status" }, word(stage, "mission_done")), next);
  }
  if (old) old.replaceWith(line);
  else stage.elements.scroll.before(line);
}

/**
 * Leave a mission that is done for the first page, which shows the next.
 * @param {Stage} stage
 */
function goOn(stage) {
  known.delete(stage);
  /** @type {HTMLElement | null} */ (findOptional(stage.root, '[data-act="home"]'))?.click();
}

/**
 * @param {Stage} stage
 * @param {ShownMission} mission
 */
function progressList(stage, mission) {
  const turns = word(stage, "mission_turns")
    .replace("{turns}", String(Math.min(mission.turns, mission.least)))
    .replace("{least}", String(mission.least));
  const enough = mission.turns >= mission.least;
  const asked = mission.rate.map(({ label, done }) =>
    step(`${word(stage, "mission_rate")}${stage.language === "zh" ? "：" : ": "}${label}`, done),
  );
  return make("ul", { class: "steps" }, step(turns, enough), ...asked);
}

/**
 * @param {string} label
 * @param {boolean} done
 */
function step(label, done) {
  return make(
    "li",
    { class: done ? "done" : null },
    make("span", { "aria-hidden": "true" }, done ? "✓ " : "○ "),
    label,
  );
}
