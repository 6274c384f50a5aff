// @ts-check
// Read the state of the turns on the page, and choose the one that the keys act on.

import { find, findAll } from "./dom.js";
import { nextAct } from "./memory.js";
import { sightsOf } from "./sight.js";
import { PANELS, showsPanel } from "./stage.js";

/**
 * @typedef {import("./types.js").Seen} Seen
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {import("./types.js").TurnState} TurnState
 */

const NARROW_PIXELS = 720;
/** @type {TurnState} */
const LIVE = { swipe: [0, 1], played: false, mine: false, rating: null, saved: null };

/**
 * Return the state that the server wrote on a turn. A turn that is being generated has none.
 * @param {HTMLElement} article
 * @returns {TurnState}
 */
export function stateOf(article) {
  return { ...LIVE, ...JSON.parse(article.dataset.state || "{}") };
}

/**
 * Return the id of a turn.
 * @param {HTMLElement} article
 */
export function idOf(article) {
  return article.dataset.id ?? "";
}

/**
 * Return the turn of this id; null when it is not drawn.
 * @param {string} id
 */
export function turnById(id) {
  return document.getElementById(`t-${id}`);
}

/**
 * Return the turns that a model or a greeting said, in order.
 * @param {Stage} stage
 */
export function playedTurns(stage) {
  return findAll(stage.elements.turns, ".turn").filter((article) => stateOf(article).played);
}

/**
 * Return the turn that the keys act on: the chosen one, else the last played one.
 * @param {Stage} stage
 * @returns {HTMLElement | undefined}
 */
export function currentTurn(stage) {
  const { chosen } = stage;
  return chosen && stage.elements.turns.contains(chosen) ? chosen : playedTurns(stage).at(-1);
}

/**
 * Mark a turn as the one that the keys act on, and scroll to it unless it was pressed where it is.
 * @param {Stage} stage
 * @param {HTMLElement | null | undefined} article
 * @param {boolean} [scrolls]
 */
export function chooseTurn(stage, article, scrolls = true) {
  stage.chosen?.classList.remove("chosen");
  stage.chosen = article ?? null;
  if (!article) return;
  article.classList.add("chosen");
  if (scrolls) article.scrollIntoView({ block: "nearest" });
}

/**
 * Return what the person sees of a turn at this moment, or of the chat when there is no turn.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @returns {Seen}
 */
export function seenOf(stage, article) {
  const [index, count] = article ? stateOf(article).swipe : LIVE.swipe;
  return {
    version: 2,
    role_thinking: showsPanel(stage, "role_thinking"),
    system_thinking: showsPanel(stage, "system_thinking"),
    opened: PANELS.filter((kind) => article?.classList.contains(`open-${kind}`)),
    shut: PANELS.filter((kind) => article?.classList.contains(`shut-${kind}`)),
    swipe_index: index,
    swipe_count: count,
    layout: window.innerWidth < NARROW_PIXELS ? "narrow" : "wide",
    sights: sightsOf(stage, article),
    ...nextAct(stage.memory),
  };
}

/**
 * Put the form that edits a turn in the place of its body, or of the text of the plan or thought that it rewrites.
 * @param {HTMLElement} article
 * @param {HTMLElement} editor
 */
export function placeEditor(article, editor) {
  const { kind, place } = editor.dataset;
  const panel = kind ? findAll(article, `.panel[data-kind="${kind}"]`)[Number(place)] : null;
  if (kind && !panel) return;
  const body = panel ? find(panel, "p") : find(article, ".body");
  body.hidden = true;
  body.before(editor);
}

/**
 * Show the body of a turn again in the place of the form that edits it.
 * @param {HTMLElement} editor
 */
export function closeEditor(editor) {
  const body = editor.nextElementSibling;
  if (body instanceof HTMLElement) body.hidden = false;
  editor.remove();
}
