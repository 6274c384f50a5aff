// @ts-check
// Keys of the stage. They rest while a person types, and while a dialog or a menu is open.

import { closeDrawer } from "./chats.js";
import { stayHere } from "./follow.js";
import { giveThumb } from "./rating.js";
import { closeRating, starByKey } from "./rating_panel.js";
import { playOne, playSeveral, toggleDirector } from "./scene_play.js";
import { togglePanel } from "./toggles.js";
import { swipe } from "./turn_tools.js";
import { chooseTurn, currentTurn, playedTurns, stateOf } from "./turns.js";

/** @typedef {import("./types.js").Stage} Stage */

/** @param {Stage} stage */
export function wireKeys(stage) {
  document.addEventListener("keydown", (event) => {
    if (stage.root.dataset.page !== "chat" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.isComposing || stage.elements.dialog.open || isTaken(event)) return;
    if (!stage.root.offsetParent) return; // another tab of the page is open
    const act = actionOf(stage, event.key);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/**
 * Return true when the focused control uses this key itself. Escape leaves a text field.
 * @param {KeyboardEvent} event
 */
function isTaken(event) {
  const { target } = event;
  if (!(target instanceof HTMLElement)) return false;
  // the arrow keys and Space choose within a group of radio buttons
  if (target.matches("input[type=radio]")) return event.key === " " || event.key.startsWith("Arrow");
  if (!target.isContentEditable && !target.matches("input, textarea, select")) return false;
  if (event.key === "Escape") target.blur();
  return true;
}

/**
 * @param {Stage} stage
 * @param {string} key
 * @returns {(() => unknown) | undefined}
 */
function actionOf(stage, key) {
  const article = currentTurn(stage);
  if (/^[1-5]$/.test(key)) return () => isPlayed(article) && starByKey(stage, article, Number(key));
  /** @type {Record<string, () => unknown>} */
  const actions = {
    t: () => togglePanel(stage, "role_thinking"),
    r: () => togglePanel(stage, "system_thinking"),
    ...(stage.chat?.scene && {
      n: () => playOne(stage),
      p: () => playSeveral(stage),
      d: () => toggleDirector(stage),
    }),
    ...stage.ballotKeys,
    "/": () => stage.elements.box.focus(),
    ArrowLeft: () => isPlayed(article) && swipe(stage, article, -1),
    ArrowRight: () => isPlayed(article) && swipe(stage, article, 1),
    ArrowUp: () => chooseNeighbour(stage, article, -1),
    ArrowDown: () => chooseNeighbour(stage, article, 1),
    "+": () => isPlayed(article) && giveThumb(stage, article, 1),
    "-": () => isPlayed(article) && giveThumb(stage, article, -1),
    Escape: () => {
      closeDrawer(stage);
      if (article) closeRating(article);
    },
  };
  return actions[key];
}

/**
 * @param {HTMLElement | undefined} article
 * @returns {article is HTMLElement}
 */
function isPlayed(article) {
  return article !== undefined && stateOf(article).played;
}

/**
 * @param {Stage} stage
 * @param {HTMLElement | undefined} article
 * @param {number} step
 */
function chooseNeighbour(stage, article, step) {
  const turns = playedTurns(stage);
  const at = article ? turns.indexOf(article) : -1;
  const next = turns[Math.min(Math.max(0, at + step), turns.length - 1)];
  if (next !== turns.at(-1)) stayHere(stage);
  chooseTurn(stage, next);
  next?.focus({ preventScroll: true });
}
