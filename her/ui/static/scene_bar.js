// @ts-check
// What a scene of several characters has above the text field: the cast, and how the next speaker is chosen. Its buttons
// carry `data-act`; scene_play.js does what they say.

import { find, findAll, findOptional, make, monogram } from "./dom.js";
import { hidesThoughts, word } from "./stage.js";

/**
 * @typedef {import("./types.js").NextSpeaker} NextSpeaker
 * @typedef {import("./types.js").SceneCharacter} SceneCharacter
 * @typedef {import("./types.js").SceneFrame} SceneFrame
 * @typedef {import("./types.js").Stage} Stage
 */

/** @type {NextSpeaker[]} */
export const MODES = ["mention", "round_robin", "model", "manual"];
export const NARRATOR = "Environment"; // the narrator's name as a speaker, in every language
const COUNTS = [3, 5, 10, 20];

/**
 * Draw what the open chat needs when it is a scene; nothing for a chat with one character.
 * @param {Stage} stage
 */
export function paintScene(stage) {
  const { composer } = stage.elements;
  const bar = find(composer, ".her-scene");
  const scene = stage.chat?.scene ?? null;
  bar.hidden = scene === null;
  find(composer, ".row").hidden = scene !== null && !scene.me && !stage.running;
  find(composer, ".row textarea").hidden = scene !== null && !scene.me;
  find(composer, '[data-act="rate-chat"]').hidden = false;
  stage.root.classList.toggle("scene", scene !== null);
  if (!stage.chat || !scene) return;
  if (bar.dataset.chat !== stage.chat.id) {
    bar.dataset.chat = stage.chat.id;
    bar.replaceChildren(make("div", { class: "cast", role: "group" }), controls(stage, scene));
  }
  paintCast(stage, find(bar, ".cast"), scene);
  for (const tool of findAll(bar, ".play")) tool.toggleAttribute("disabled", stage.running);
  for (const article of findAll(stage.elements.turns, ".turn")) paintSpeaker(stage, article);
}

/**
 * Give the monogram of a turn the colour of its speaker.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export function paintSpeaker(stage, article) {
  const speaker = findOptional(article, "header h3")?.textContent ?? "";
  const character = stage.chat?.scene?.cast.find(({ name }) => name === speaker);
  if (character) article.style.setProperty("--her-persona", character.colour);
}

/**
 * Show whether the thoughts of others may be read, and hide every one that was open when they may not.
 * @param {Stage} stage
 */
export function paintDirector(stage) {
  const toggle = find(stage.root, '[data-act="director"]');
  toggle.hidden = !stage.chat?.scene;
  toggle.setAttribute("aria-pressed", String(stage.director));
  stage.root.classList.toggle("guarded", hidesThoughts(stage));
  if (!hidesThoughts(stage)) return;
  for (const article of findAll(stage.elements.turns, ".turn")) {
    article.classList.remove("open-role_thinking", "open-system_thinking");
  }
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} place
 * @param {SceneFrame} scene
 */
function paintCast(stage, place, scene) {
  const active = document.activeElement;
  const focused =
    active instanceof HTMLElement && place.contains(active) ? active.dataset.character : undefined;
  const chips = scene.cast.map((character) => chip(stage, character));
  place.setAttribute("aria-label", word(stage, "cast"));
  place.replaceChildren(...chips, narratorChip(stage));
  chips.find((node) => node.dataset.character === focused)?.focus({ preventScroll: true });
}

/**
 * @param {Stage} stage
 * @param {SceneCharacter} character
 */
function chip(stage, { name, letters, colour, mine, away, rating }) {
  const notes = [mine && word(stage, "you_play"), away && word(stage, "away")].filter(Boolean).join(", ");
  return make(
    "button",
    {
      type: "button",
      class: `chip${away ? " away" : ""}`,
      "data-act": "character",
      "data-character": name,
      "aria-haspopup": "menu",
      "aria-expanded": "false",
    },
    monogram(letters, colour),
    make("span", {}, name),
    notes ? make("small", {}, notes) : null,
    rating ? make("small", { class: "rated", title: word(stage, "saved_at") }, "★") : null,
  );
}

/** @param {Stage} stage */
function narratorChip(stage) {
  const label = word(stage, "speak").replace("{name}", word(stage, "narrator_name"));
  return make(
    "button",
    { type: "button", class: "chip narrator play", "data-act": "narrate", title: label, "aria-label": label },
    make("span", {}, word(stage, "narrator_name")),
  );
}

/**
 * @param {Stage} stage
 * @param {SceneFrame} scene
 */
function controls(stage, scene) {
  const kept = stage.memory.recall(`next.${stage.chat?.id}`);
  const mode = make(
    "select",
    { class: "mode", "aria-label": word(stage, "who_next"), title: word(stage, "who_next") },
    ...MODES.map((name) => option(name, word(stage, `next_${name}`), name === (kept ?? scene.next_speaker))),
  );
  mode.addEventListener("change", () => stage.memory.keep(`next.${stage.chat?.id}`, mode.value));
  const counted = stage.memory.recall("count") ?? "5";
  const count = make(
    "select",
    { class: "count", "aria-label": word(stage, "auto_count") },
    ...COUNTS.map((number) =>
      option(
        String(number),
        word(stage, "auto_play").replace("{n}", String(number)),
        String(number) === counted,
      ),
    ),
  );
  count.addEventListener("change", () => stage.memory.keep("count", count.value));
  const next = tool(stage, "next-turn", "next_turn", "next_turn_hint");
  const auto = tool(stage, "auto-play", "", "auto_play_hint");
  auto.append("▶");
  return make(
    "div",
    { class: "steps" },
    next,
    make("span", { class: "auto" }, auto, count),
    mode,
    narratorBox(stage, scene),
  );
}

/**
 * @param {Stage} stage
 * @param {SceneFrame} scene
 */
function narratorBox(stage, scene) {
  const kept = stage.memory.recall(`narrator.${stage.chat?.id}`);
  const box = make("input", {
    type: "checkbox",
    class: "narrates",
    checked: kept ? kept === "1" : scene.narrator,
  });
  box.addEventListener("change", () =>
    stage.memory.keep(`narrator.${stage.chat?.id}`, box.checked ? "1" : "0"),
  );
  return make("label", { class: "check" }, box, word(stage, "narrator"));
}

/**
 * @param {Stage} stage
 * @param {string} act
 * @param {string} label
 * @param {string} hint
 */
function tool(stage, act, label, hint) {
  const title = word(stage, hint);
  const attributes = { type: "button", class: `tool wordy play ${act}`, "data-act": act, title };
  return make(
    "button",
    label ? attributes : { ...attributes, "aria-label": title },
    label && word(stage, label),
  );
}

/**
 * @param {string} value
 * @param {string} label
 * @param {boolean} selected
 */
function option(value, label, selected) {
  return make("option", { value, selected }, label);
}
