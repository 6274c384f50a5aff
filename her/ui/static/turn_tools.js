// @ts-check
// What a person does to a turn: swipe, keep, branch, delete.

import { enterChat } from "./chats.js";
import { clock, find, findAll, make } from "./dom.js";
import { editTurn } from "./editors.js";
import { run } from "./generation.js";
import { toggleMenu } from "./menus.js";
import { apply, refocus } from "./patches.js";
import { ask, hidesThoughts, toast, word } from "./stage.js";
import { chooseTurn, idOf, seenOf, stateOf, turnById } from "./turns.js";

/** @typedef {import("./types.js").Stage} Stage */

/**
 * Show the previous or next reply to the same turn; behind the last one, ask for another.
 * @param {Stage} stage
 * @param {HTMLElement} article
 * @param {import("./types.js").Step} step
 */
export async function swipe(stage, article, step) {
  const [index, count] = stateOf(article).swipe;
  if (!stage.chat || stage.running || index + step < 0) return;
  if (index + step >= count) {
    if (stateOf(article).played) regenerate(stage, article);
    return;
  }
  const active = article.contains(document.activeElement) ? document.activeElement : null;
  const patch = await ask(stage, "swipe", { chat: stage.chat.id, node: idOf(article), step });
  if (!patch || patch.chat !== stage.chat?.id) return;
  apply(stage, patch);
  const fresh = turnById(patch.focus);
  chooseTurn(stage, fresh);
  if (fresh && active) refocus(fresh, active);
}

/**
 * Ask for another reply in the place of this one.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export function regenerate(stage, article) {
  if (stage.chat && !stage.running) run(stage, "regenerate", { chat: stage.chat.id, node: idOf(article) });
}

/**
 * Record that the person prefers this reply to its siblings.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export async function keepReply(stage, article) {
  if (!stage.chat) return;
  const node = idOf(article);
  const patch = await ask(stage, "keep", { chat: stage.chat.id, node, seen: seenOf(stage, article) });
  if (!patch) return;
  apply(stage, patch);
  const drawn = turnById(node);
  if (!drawn) return;
  const stamp = find(drawn, ".stamp");
  stamp.textContent = `${word(stage, "saved_at")} ${clock(patch.saved)}`;
  stamp.classList.add("saved");
}

/**
 * Open the menu of a turn.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export function turnMenu(stage, article) {
  /** @type {import("./menus.js").MenuItem} */
  const edit = [word(stage, "edit"), () => editTurn(stage, article)];
  // the editor shows the whole turn, with thoughts that are closed to the person
  const closed = hidesThoughts(stage) && !stateOf(article).mine;
  toggleMenu(stage, find(article, 'footer [data-act="tools"]'), [
    ...(closed ? [] : [edit]),
    ...narrowItems(stage, article),
    [word(stage, "copy"), () => copyTurn(stage, article)],
    [word(stage, "branch"), () => branch(stage, article)],
    [word(stage, "delete"), () => deleteTurn(stage, article)],
  ]);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
async function branch(stage, article) {
  if (!stage.chat) return;
  const patch = await ask(stage, "branch", { chat: stage.chat.id, node: idOf(article) });
  if (patch) enterChat(stage, patch);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
async function deleteTurn(stage, article) {
  if (!stage.chat) return;
  const [chat, node] = [stage.chat.id, idOf(article)];
  const patch = await ask(stage, "delete", { chat, node });
  if (!patch) return;
  apply(stage, patch);
  const undo = async () => apply(stage, await ask(stage, "restore", { chat, node }));
  toast(stage, word(stage, "turn_deleted"), { label: word(stage, "undo"), act: undo });
}

/**
 * Return the entries for the buttons that a narrow screen leaves out of the footer.
 * @param {Stage} stage
 * @param {HTMLElement} article
 * @returns {import("./menus.js").MenuItem[]}
 */
function narrowItems(stage, article) {
  /** @type {import("./menus.js").MenuItem[]} */
  const items = [];
  for (const tool of findAll(article, "footer .tool")) {
    const label = tool.getAttribute("aria-label") ?? tool.textContent ?? "";
    if (tool.offsetParent === null && stage.chat) items.push([label, () => tool.click()]);
  }
  return items;
}

/**
 * Copy what is shown of a turn. Without a secure address there is no clipboard, so an old way is the fall-back.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
async function copyTurn(stage, article) {
  const shown = findAll(article, ".panel p, .lines").filter((node) => node.offsetParent !== null);
  const text = shown.map((node) => (node.textContent ?? "").trim()).join("\n");
  const done = await navigator.clipboard?.writeText(text).then(
    () => true,
    () => false,
  );
  if (!done) copyTheOldWay(text);
  toast(stage, word(stage, "text_copied"));
}

/** @param {string} text */
function copyTheOldWay(text) {
  const area = make("textarea", { value: text, "aria-hidden": "true" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
