// @ts-check
// Edit a turn, or rewrite one of its plans or thoughts and let the model go on from there. What is typed is kept in the
// browser until it is sent: it survives a failed reply, another chat and a reload.

import { button, find, findAll, findOptional, make } from "./dom.js";
import { laterTurns, offerLater, run, sendEdited } from "./generation.js";
import { apply } from "./patches.js";
import { ask, hidesThoughts, PANELS, toast, word } from "./stage.js";
import { closeEditor, idOf, placeEditor, stateOf, turnById } from "./turns.js";

/**
 * @typedef {import("./types.js").OpenEdit} OpenEdit
 * @typedef {import("./types.js").Stage} Stage
 */

/**
 * Open the text of a turn for editing, in the place of its body.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export async function editTurn(stage, article) {
  if (!stage.chat) return;
  const node = idOf(article);
  const source = await ask(stage, "source", { chat: stage.chat.id, node });
  const drawn = turnById(node);
  if (source && drawn) open(stage, drawn, { node, text: source.text, kind: "", place: 0 }).focus();
}

/**
 * Open the plan or thought whose panel holds `inside` for rewriting.
 * @param {Stage} stage
 * @param {HTMLElement} article
 * @param {Element} inside
 */
export function steer(stage, article, inside) {
  const panel = /** @type {HTMLElement | null} */ (inside.closest(".panel"));
  const kind = PANELS.find((name) => name === panel?.dataset.kind);
  if (!panel || !kind || !stage.chat || findOptional(panel, ".editor")) return;
  if (hidesThoughts(stage)) {
    toast(stage, word(stage, "director_first"));
    return;
  }
  const place = findAll(article, `.panel[data-kind="${kind}"]`).indexOf(panel);
  const text = find(panel, "p").textContent ?? "";
  open(stage, article, { node: idOf(article), text, kind, place }).focus();
}

/**
 * Return true when a click on this element is meant to rewrite a plan or thought: on its text, with nothing selected.
 * @param {Element} target
 */
export function asksToSteer(target) {
  const panel = target.closest(".panel > p")?.parentElement;
  return Boolean(panel?.querySelector('[data-act="steer"]')) && !window.getSelection()?.toString();
}

/**
 * Open the edit again that was left open in this chat, when its turn is drawn.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export function reopenEdit(stage, article) {
  if (stage.running || findOptional(article, ".editor")) return;
  const kept = recall(stage);
  const hidden = kept && hidesThoughts(stage) && !stateOf(article).mine;
  if (kept?.node === idOf(article) && !hidden) open(stage, article, kept);
}

/**
 * Forget the open edit once the reply that it asked for is there.
 * @param {Stage} stage
 * @param {{ error?: string }} end
 */
export function endEdit(stage, end) {
  if (sent && !end.error) keep(stage, null);
  sent = false;
}

/** True while a reply is generated that an edit asked for. */
let sent = false;

/**
 * Draw the form of an edit, in the place of what it edits, and return its field.
 * @param {Stage} stage
 * @param {HTMLElement} article
 * @param {OpenEdit} edit
 */
function open(stage, article, edit) {
  for (const other of findAll(stage.elements.turns, ".editor")) closeEditor(other);
  const area = make("textarea", {
    class: "edit",
    rows: edit.kind ? 3 : 5,
    value: edit.text,
    "aria-label": word(stage, edit.kind ? "steer" : "edit"),
  });
  const form = formOf(stage, edit, stateOf(article).mine, area);
  placeEditor(article, form);
  if (edit.kind) article.classList.add(`open-${edit.kind}`);
  area.addEventListener("input", () => keep(stage, { ...edit, text: area.value }));
  return area;
}

/**
 * @param {Stage} stage
 * @param {OpenEdit} edit
 * @param {boolean} mine the visitor said it: the edited text is sent again
 * @param {HTMLTextAreaElement} area
 */
function formOf(stage, edit, mine, area) {
  const close = () => {
    keep(stage, null);
    closeEditor(form);
  };
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    // the text stays in the form until the reply is there
    if (stage.chat && !stage.running) save(stage, { ...edit, text: area.value }, mine, close);
  };
  const hint = edit.kind ? "steer_hint" : mine ? null : "edit_hint";
  const done = word(stage, edit.kind ? "go_on" : mine ? "send" : "save");
  const form = make(
    "form",
    { class: "editor", onsubmit: submit, "data-kind": edit.kind || null, "data-place": edit.place },
    area,
    hint ? make("p", { class: "note" }, word(stage, hint)) : null,
    make(
      "div",
      { class: "row" },
      button(word(stage, "cancel"), close),
      make("button", { type: "submit", class: "primary" }, done),
    ),
  );
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  return form;
}

/**
 * @param {Stage} stage
 * @param {OpenEdit} edit
 * @param {boolean} mine
 * @param {() => void} close
 */
async function save(stage, edit, mine, close) {
  if (!stage.chat) return;
  const { node, text, kind, place } = edit;
  if (kind) {
    keep(stage, edit);
    sent = true;
    run(stage, "steer", { chat: stage.chat.id, node, kind, place, text });
    return;
  }
  if (mine) {
    close();
    sendEdited(stage, node, text);
    return;
  }
  const later = laterTurns(stage, node);
  const patch = await ask(stage, "edit", { chat: stage.chat.id, node, text });
  if (!patch) return;
  close();
  apply(stage, patch);
  stage.later = later;
  offerLater(stage);
}

/**
 * @param {Stage} stage
 * @param {OpenEdit | null} edit
 */
function keep(stage, edit) {
  if (stage.chat) stage.memory.keep(`edit.${stage.chat.id}`, edit && JSON.stringify(edit));
}

/**
 * @param {Stage} stage
 * @returns {OpenEdit | null}
 */
function recall(stage) {
  return stage.chat && JSON.parse(stage.memory.recall(`edit.${stage.chat.id}`) || "null");
}
