// @ts-check
// Open and leave chats, list them in the drawer, and what a person does to a whole chat.

import { chatAddress, showAddress } from "./addresses.js";
import { draftOf, giveBack, setText } from "./composer.js";
import { button, find, findOptional, hasAllWords, make, monogram } from "./dom.js";
import { paintFirstPage } from "./first_page.js";
import { scrollToEnd } from "./follow.js";
import { forgetUnanswered, run, setRunning, unansweredText, wasTaken } from "./generation.js";
import { openDialog, toggleMenu } from "./menus.js";
import { showMyRows } from "./my_rows.js";
import { apply, drawOlder } from "./patches.js";
import { showCode } from "./return_code.js";
import { paintSceneHome } from "./scene_home.js";
import { playFirst } from "./scene_play.js";
import { ask, complain, saveFile, suggest, toast, word } from "./stage.js";
import { chooseTheme, chosenTheme, THEMES } from "./themes.js";

/**
 * @typedef {import("./menus.js").MenuItem} MenuItem
 * @typedef {import("./types.js").ListedChat} ListedChat
 * @typedef {import("./types.js").OpenedChat} OpenedChat
 * @typedef {import("./types.js").ExportFormat} ExportFormat
 * @typedef {import("./types.js").Stage} Stage
 */

/** @type {ExportFormat[]} */
const FORMATS = ["jsonl", "markdown", "sharegpt"];

// ---- pages ---------------------------------------------------------------------------------------------------

/**
 * @param {Stage} stage
 * @param {"home" | "chat"} name
 */
function showPage(stage, name) {
  stage.root.dataset.page = name;
  stage.root.classList.toggle("on-stage", name === "chat");
  closeDrawer(stage);
}

/**
 * Leave the chat for the first page.
 * @param {Stage} stage
 */
export function goHome(stage) {
  stage.chat = null;
  stage.memory.keep("chat", null);
  showPage(stage, "home");
  showAddress(stage, "", "");
  if (stage.kind === "stage") return paintFirstPage(stage, (patch) => enterChat(stage, patch));
  paintSceneHome(stage, (patch, first) => {
    enterChat(stage, patch);
    if (first) playFirst(stage, first);
  });
}

/**
 * Open the chat of this id; the first page when the server refuses.
 * @param {Stage} stage
 * @param {string} id
 */
export async function openChat(stage, id) {
  const patch = await ask(stage, "open", { chat: id });
  if (patch) enterChat(stage, patch);
  else goHome(stage);
}

/**
 * Show a chat, with its draft, and join the generation that is in flight.
 * @param {Stage} stage
 * @param {OpenedChat} patch
 */
export function enterChat(stage, patch) {
  stage.chat = { id: patch.chat, ...patch.view };
  stage.chosen = null;
  stage.memory.keep("chat", patch.chat);
  stage.auto = 0;
  const kept = stage.memory.recall(`director.${patch.chat}`);
  stage.director = kept ? kept === "1" : !patch.view.scene?.me;
  // a turn has one place on the page, so the other stage lets go of this chat
  document.dispatchEvent(new CustomEvent("her-enter", { detail: { chat: patch.chat, root: stage.root } }));
  setRunning(stage, false);
  complain(stage, "");
  suggest(stage, "");
  showPage(stage, "chat");
  stage.elements.dialog.close();
  showAddress(stage, chatAddress(stage, patch.chat), patch.view.title);
  const draft = draftOf(stage, patch.chat);
  setText(stage, wasTaken(stage, patch.order, draft) ? "" : draft);
  apply(stage, { ...patch, whole: true });
  if (patch.view.live) {
    run(stage, "follow", { chat: patch.chat });
  } else {
    const lost = unansweredText(stage, patch.order);
    if (!draft.includes(lost)) giveBack(stage, lost);
    forgetUnanswered(stage);
  }
  scrollToEnd(stage);
  // on a touch screen the focus would open the keyboard over the chat
  if (window.matchMedia("(pointer: fine)").matches) stage.elements.box.focus();
}

// ---- the drawer ----------------------------------------------------------------------------------------------

/** @param {Stage} stage */
function drawerButton(stage) {
  return find(stage.root, '[data-act="chats"]');
}

/** @param {Stage} stage */
export function wireDrawer(stage) {
  stage.elements.drawer.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    closeDrawer(stage);
    drawerButton(stage).focus();
  });
}

/**
 * Leave a chat that the other stage of the page opens.
 * @param {Stage} stage
 */
export function yieldChats(stage) {
  document.addEventListener("her-enter", (event) => {
    const { chat, root } = /** @type {CustomEvent} */ (event).detail;
    if (root !== stage.root && stage.chat?.id === chat) goHome(stage);
  });
}

/** @param {Stage} stage */
export function closeDrawer(stage) {
  stage.elements.drawer.hidden = true;
  drawerButton(stage).setAttribute("aria-expanded", "false");
}

/** @param {Stage} stage */
export function toggleDrawer(stage) {
  if (stage.elements.drawer.hidden) openDrawer(stage);
  else closeDrawer(stage);
}

/** @param {Stage} stage */
async function openDrawer(stage) {
  const { drawer } = stage.elements;
  drawer.hidden = false;
  drawerButton(stage).setAttribute("aria-expanded", "true");
  const answer = await ask(stage, "chats", {});
  if (!answer) return;
  const lines = answer.chats.map((chat) => drawerLine(stage, chat));
  const list = lines.length
    ? make("ul", {}, ...lines)
    : make("p", { class: "note" }, word(stage, "no_chats"));
  const label = word(stage, "search_chats");
  const filter = make("input", { type: "search", placeholder: label, "aria-label": label });
  filter.addEventListener("input", () => {
    answer.chats.forEach(({ title, last }, index) => {
      const line = lines[index];
      if (line) line.hidden = !hasAllWords(`${title} ${last}`, filter.value);
    });
  });
  drawer.replaceChildren(make("h2", {}, word(stage, "chats")), ...(lines.length > 1 ? [filter] : []), list);
  findOptional(drawer, ".entry")?.focus();
}

/**
 * @param {Stage} stage
 * @param {ListedChat} chat
 */
function drawerLine(stage, chat) {
  const label = word(stage, "delete");
  const open = {
    type: "button",
    class: "entry",
    "data-chat": chat.id,
    onclick: () => openChat(stage, chat.id),
  };
  const remove = { type: "button", class: "tool", "aria-label": label, title: label };
  return make(
    "li",
    { class: stage.chat?.id === chat.id ? "here" : null },
    make(
      "button",
      open,
      monogram(chat.letters, chat.colour),
      make(
        "span",
        { class: "text" },
        make("strong", {}, chat.title),
        make("span", { class: "last" }, chat.last),
        make("small", {}, localTime(stage, chat.at)),
      ),
    ),
    make("button", { ...remove, onclick: () => deleteChat(stage, chat.id) }, "×"),
  );
}

/**
 * @param {Stage} stage
 * @param {string} id
 */
async function deleteChat(stage, id) {
  if (!(await ask(stage, "delete_chat", { chat: id }))) return;
  if (stage.chat?.id === id) goHome(stage);
  await openDrawer(stage);
  const undo = async () => {
    if (await ask(stage, "restore_chat", { chat: id })) openDrawer(stage);
  };
  toast(stage, word(stage, "chat_deleted"), { label: word(stage, "undo"), act: undo });
}

/**
 * Return when a chat was used last, as people write it where the browser is.
 * @param {Stage} stage
 * @param {number} at Unix milliseconds
 */
function localTime(stage, at) {
  /** @type {Intl.DateTimeFormatOptions} */
  const form = { dateStyle: "medium", timeStyle: "short" };
  return new Date(at).toLocaleString(stage.language === "zh" ? "zh-CN" : [], form);
}

// ---- the menu of the bar -------------------------------------------------------------------------------------

/**
 * Open the menu of the bar.
 * @param {Stage} stage
 * @param {HTMLElement} anchor
 */
export function chatMenu(stage, anchor) {
  /** @type {MenuItem[]} */
  const always = [
    [word(stage, "other_device"), () => showCode(stage)],
    [word(stage, "my_rows"), () => showMyRows(stage)],
    [word(stage, "shortcuts"), () => showKeys(stage)],
    ["English", () => chooseLanguage(stage, "en"), stage.language === "en"],
    ["中文", () => chooseLanguage(stage, "zh"), stage.language === "zh"],
    ...THEMES.map((theme) => themeItem(stage, theme)),
  ];
  toggleMenu(stage, anchor, [...(stage.chat ? chatItems(stage) : []), ...always]);
}

/**
 * @param {Stage} stage
 * @returns {MenuItem[]}
 */
function chatItems(stage) {
  /** @type {MenuItem[]} */
  const exports = FORMATS.map((format) => [
    `${word(stage, "export")} · ${format}`,
    () => exportChat(stage, format),
  ]);
  return [
    ...exports,
    [word(stage, "print"), () => printChat(stage)],
    [word(stage, "rename"), () => renameChat(stage)],
  ];
}

/**
 * Save the chat to a file.
 * @param {Stage} stage
 * @param {ExportFormat} format
 */
async function exportChat(stage, format) {
  if (!stage.chat) return;
  const answer = await ask(stage, "export", { chat: stage.chat.id, format });
  if (answer) saveFile(stage, answer);
}

/** @param {Stage} stage */
async function renameChat(stage) {
  if (!stage.chat) return;
  const text = window.prompt(word(stage, "rename"), stage.chat.title);
  if (text?.trim()) apply(stage, await ask(stage, "rename", { chat: stage.chat.id, text }));
}

/**
 * @param {Stage} stage
 * @param {import("./types.js").Language} language
 */
function chooseLanguage(stage, language) {
  if (stage.language === language) return;
  stage.memory.keep("language", language);
  window.location.reload();
}

/**
 * @param {Stage} stage
 * @param {import("./themes.js").Theme} theme
 * @returns {MenuItem}
 */
function themeItem(stage, theme) {
  return [word(stage, `theme_${theme}`), () => chooseTheme(stage, theme), chosenTheme(stage) === theme];
}

/**
 * Print the whole chat, also the turns that are not drawn yet.
 * @param {Stage} stage
 */
async function printChat(stage) {
  while ((await drawOlder(stage)) > 0);
  window.print();
}

/** @param {Stage} stage */
function showKeys(stage) {
  const lines = [word(stage, "shortcut_lines"), word(stage, "scene_keys")]
    .join(" · ")
    .split(" · ")
    .map((line) => make("li", {}, line));
  const close = button(word(stage, "cancel"), () => stage.elements.dialog.close());
  openDialog(
    stage,
    make("h2", {}, word(stage, "shortcuts")),
    make("ul", { class: "keys" }, ...lines),
    make("div", { class: "row end" }, close),
  );
}
