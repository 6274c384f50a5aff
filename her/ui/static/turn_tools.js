// @ts-check
// What a person does to a turn: swipe, keep, edit, branch, delete.

import { enterChat } from "./chats.js";
import { button, clock, find, make } from "./dom.js";
import { run, sendEdited } from "./generation.js";
import { toggleMenu } from "./menus.js";
import { apply, refocus } from "./patches.js";
import { ask, hidesThoughts, word } from "./stage.js";
import { chooseTurn, closeEditor, idOf, placeEditor, seenOf, stateOf, turnById } from "./turns.js";

/** @typedef {import("./types.js").Stage} Stage */

/**
 * Show the previous or next reply to the same turn.
 * @param {Stage} stage
 * @param {HTMLElement} article
 * @param {import("./types.js").Step} step
 */
export async function swipe(stage, article, step) {
  const [index, count] = stateOf(article).swipe;
  if (!stage.chat || stage.running || index + step < 0 || index + step >= count) return;
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
  if (!stage.chat || !window.confirm(word(stage, "delete_sure"))) return;
  apply(stage, await ask(stage, "delete", { chat: stage.chat.id, node: idOf(article) }));
}

/**
 * Open the text of a turn for editing, in the place of its body.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
async function editTurn(stage, article) {
  if (!stage.chat) return;
  const node = idOf(article);
  const source = await ask(stage, "source", { chat: stage.chat.id, node });
  const drawn = turnById(node);
  if (!source || !drawn) return;
  const area = make("textarea", {
    class: "edit",
    rows: 5,
    value: source.text,
    "aria-label": word(stage, "edit"),
  });
  placeEditor(drawn, editorOf(stage, node, stateOf(drawn).mine, area));
  area.focus();
}

/**
 * @param {Stage} stage
 * @param {string} node id of the turn
 * @param {boolean} mine the visitor said it: the edited text is sent again
 * @param {HTMLTextAreaElement} area
 */
function editorOf(stage, node, mine, area) {
  const close = () => {
    closeEditor(form);
  };
  const save = async () => {
    if (!stage.chat || stage.running) return; // the text stays in the form until the reply is there
    if (mine) {
      close();
      sendEdited(stage, node, area.value);
      return;
    }
    const patch = await ask(stage, "edit", { chat: stage.chat.id, node, text: area.value });
    if (!patch) return;
    close();
    apply(stage, patch);
  };
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    save();
  };
  const form = make(
    "form",
    { class: "editor", onsubmit: submit },
    area,
    mine ? null : make("p", { class: "note" }, word(stage, "edit_hint")),
    make(
      "div",
      { class: "row" },
      button(word(stage, "cancel"), close),
      make("button", { type: "submit", class: "primary" }, word(stage, mine ? "send" : "save")),
    ),
  );
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  return form;
}
