// @ts-check
// What a person does in a scene of several characters: speak, let others play, play on, move the cast, see their thoughts.

import { giveBack, setText } from "./composer.js";
import { find, make } from "./dom.js";
import { scrollToEnd } from "./follow.js";
import { run } from "./generation.js";
import { toggleMenu } from "./menus.js";
import { apply } from "./patches.js";
import { rateCharacter } from "./rating_panel.js";
import { NARRATOR, paintDirector, paintScene } from "./scene_bar.js";
import { ask, complain, PANELS, suggest, word } from "./stage.js";
import { paintToggles } from "./toggles.js";

/**
 * @typedef {import("./menus.js").MenuItem} MenuItem
 * @typedef {import("./types.js").ChatPatch} ChatPatch
 * @typedef {import("./types.js").NextSpeaker} NextSpeaker
 * @typedef {import("./types.js").Stage} Stage
 */

/**
 * Say what is in the text field; then the next character plays.
 * @param {Stage} stage
 */
export async function sayInScene(stage) {
  const text = stage.elements.box.value;
  const { chat } = stage;
  if (!text.trim() || stage.running || !chat?.scene?.me) return;
  setText(stage, "");
  complain(stage, "");
  const patch = await ask(stage, "say", { chat: chat.id, text });
  if (stage.chat !== chat) return;
  if (!patch) return giveBack(stage, text);
  apply(stage, patch);
  scrollToEnd(stage);
  if (modeOf(stage) !== "manual") playTurns(stage, 1);
}

/**
 * Play the next turn.
 * @param {Stage} stage
 */
export function playOne(stage) {
  playTurns(stage, 1);
}

/**
 * Play as many turns as the control says, or until it is the visitor's turn; `stop` ends it.
 * @param {Stage} stage
 */
export function playSeveral(stage) {
  playTurns(stage, Number(controlOf(stage, ".count").value));
}

/**
 * Let a character of this name play the first turn of a scene, or whoever is next for an empty one.
 * @param {Stage} stage
 * @param {string} name
 */
export function playFirst(stage, name) {
  if (name && name === stage.chat?.scene?.me) return;
  play(stage, name);
}

/**
 * Let the narrator speak.
 * @param {Stage} stage
 */
export function narrate(stage) {
  play(stage, NARRATOR);
}

/**
 * Play on when the turn has ended well and more are wanted.
 * @param {Stage} stage
 * @param {Pick<ChatPatch, "error" | "hint">} end
 */
export function playOn(stage, end) {
  if (stage.chat?.scene && stage.directed !== stage.director) redraw(stage);
  if (end.hint) suggest(stage, end.hint);
  if (end.error || end.hint || stage.auto === 0 || !stage.chat?.scene) {
    stage.auto = 0;
    paintScene(stage);
    return;
  }
  // the patch that ended the turn is still being applied
  window.setTimeout(() => playTurns(stage, stage.auto), 0);
}

/**
 * Open the menu of a character.
 * @param {Stage} stage
 * @param {HTMLElement} chip
 */
export function characterMenu(stage, chip) {
  const name = chip.dataset.character ?? "";
  const character = stage.chat?.scene?.cast.find((each) => each.name === name);
  if (!character) return;
  const named = (/** @type {string} */ key) => word(stage, key).replace("{name}", name);
  /** @type {MenuItem[]} */
  const items = [[named(character.away ? "come_in" : "leave"), () => move(stage, name)]];
  if (!character.mine) {
    if (!character.away) items.unshift([named("speak"), () => play(stage, name)]);
    items.push([named("rate_character"), () => rateCharacter(stage, name, () => paintScene(stage))]);
  }
  toggleMenu(stage, chip, items);
}

/**
 * Show or hide what the others think.
 * @param {Stage} stage
 */
export function toggleDirector(stage) {
  if (!stage.chat?.scene) return;
  stage.director = !stage.director;
  stage.memory.keep(`director.${stage.chat.id}`, stage.director ? "1" : "0");
  if (stage.director) for (const kind of PANELS) stage.panels.add(kind);
  paintDirector(stage);
  paintToggles(stage);
  redraw(stage);
}

/**
 * Draw the turns again as the director's view is now: what is hidden is not in the page.
 * @param {Stage} stage
 */
async function redraw(stage) {
  if (!stage.chat) return;
  const patch = await ask(stage, "open", { chat: stage.chat.id });
  if (!patch) return;
  const older = stage.elements.turns.children.length > patch.order.length;
  apply(stage, { ...patch, whole: older && !stage.running });
}

/**
 * Play `count` turns, one after the other.
 * @param {Stage} stage
 * @param {number} count
 */
function playTurns(stage, count) {
  if (stage.running || !stage.chat?.scene) return;
  if (modeOf(stage) === "manual") {
    stage.auto = 0;
    return complain(stage, word(stage, "next_manual_hint"));
  }
  play(stage, "");
  stage.auto = count - 1;
}

/**
 * @param {Stage} stage
 * @param {string} character who plays; empty lets the mode choose
 */
function play(stage, character) {
  if (stage.running || !stage.chat?.scene) return;
  stage.auto = 0;
  suggest(stage, "");
  const narrates = /** @type {HTMLInputElement} */ (find(stage.elements.composer, ".narrates"));
  run(stage, "play", {
    chat: stage.chat.id,
    character,
    next_speaker: modeOf(stage),
    narrator: narrates.checked,
  });
  paintScene(stage);
  if (!character) stage.elements.turns.append(choosing(stage));
  scrollToEnd(stage);
}

/**
 * @param {Stage} stage
 * @param {string} name
 */
async function move(stage, name) {
  if (!stage.chat || stage.running) return;
  apply(stage, await ask(stage, "move", { chat: stage.chat.id, character: name }));
}

/** @param {Stage} stage */
function choosing(stage) {
  const dots = make("span", { class: "dots", "aria-hidden": "true" });
  const line = make("p", { class: "waiting", role: "status" }, word(stage, "choosing"), dots);
  return make("article", { class: "turn persona sending" }, line);
}

/**
 * @param {Stage} stage
 * @returns {NextSpeaker}
 */
function modeOf(stage) {
  return /** @type {NextSpeaker} */ (controlOf(stage, ".mode").value);
}

/**
 * @param {Stage} stage
 * @param {string} selector
 */
function controlOf(stage, selector) {
  return /** @type {HTMLSelectElement} */ (find(stage.elements.composer, `.her-scene ${selector}`));
}
