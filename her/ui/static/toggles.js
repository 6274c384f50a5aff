// @ts-check
// Show and hide the two inner layers: of every turn (toggles in the bar) or of one turn (peek).
// All panels are in the page; classes show them, so that a toggle asks the server nothing.

import { find, findAll } from "./dom.js";
import { keepPlace } from "./follow.js";
import { hidesThoughts, PANELS, showsPanel, toast, word } from "./stage.js";

/**
 * @typedef {import("./types.js").PanelKind} PanelKind
 * @typedef {import("./types.js").Stage} Stage
 */

/** @param {Stage} stage */
export function paintToggles(stage) {
  for (const kind of PANELS) {
    const on = showsPanel(stage, kind);
    stage.root.classList.toggle(`show-${kind}`, on);
    find(stage.root, `[data-act="toggle-${kind}"]`).setAttribute("aria-pressed", String(on));
  }
}

/**
 * Show or hide one layer on every turn.
 * @param {Stage} stage
 * @param {PanelKind} kind
 */
export function togglePanel(stage, kind) {
  if (refusesThoughts(stage)) return;
  if (!stage.panels.delete(kind)) stage.panels.add(kind);
  stage.memory.keep("panels", [...stage.panels].join(" "));
  keepPlace(stage, () => {
    for (const article of findAll(stage.elements.scroll, ".turn")) {
      article.classList.remove(`open-${kind}`, `shut-${kind}`);
      paintPeeks(stage, article);
    }
    paintToggles(stage);
  });
}

/**
 * Show or hide one layer of one turn.
 * @param {Stage} stage
 * @param {HTMLElement} article
 * @param {PanelKind} kind
 */
export function peek(stage, article, kind) {
  if (refusesThoughts(stage)) return;
  const visible = isOpen(stage, article, kind);
  keepPlace(stage, () => {
    article.classList.toggle(`open-${kind}`, !visible);
    article.classList.toggle(`shut-${kind}`, visible);
    paintPeeks(stage, article);
  });
}

/**
 * Return true, and say why, when the thoughts of others are closed to the person.
 * @param {Stage} stage
 */
function refusesThoughts(stage) {
  if (!hidesThoughts(stage)) return false;
  toast(stage, word(stage, "director_first"));
  return true;
}

/**
 * Set `aria-expanded` on the buttons of a turn that show and hide its layers.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export function paintPeeks(stage, article) {
  for (const kind of PANELS) {
    const open = String(isOpen(stage, article, kind));
    for (const tool of findAll(article, `footer .peek-${kind}`)) tool.setAttribute("aria-expanded", open);
  }
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} article
 * @param {PanelKind} kind
 */
function isOpen(stage, article, kind) {
  const { classList } = article;
  return (
    (showsPanel(stage, kind) || classList.contains(`open-${kind}`)) && !classList.contains(`shut-${kind}`)
  );
}
