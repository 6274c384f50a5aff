// @ts-check
// Save ratings until the server has them. A rating waits in the browser's storage from the moment it is given, so that a
// lost connection, a stopped server or a left page lose nothing, and only an answer of the server ends its waiting.
//
// Each rating carries the number of its act in this browser (memory.js): the server keeps the newer of two, and takes one
// that is sent again once. Tabs hear of each other's ratings by the storage. A rating that the server can never take, for
// example of a chat that was deleted elsewhere, ends with its sentence.

import { make } from "./dom.js";
import { isRefusal, word } from "./stage.js";

/**
 * @typedef {import("./types.js").SentRating} SentRating
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {object} Save
 * @property {string} chat
 * @property {string | null} node
 * @property {string | null} character
 * @property {SentRating | null} waiting the newest rating, until the server has it
 * @property {SentRating | null} last the newest that the server has taken from this browser
 * @property {number} saved when it took that: UTC, milliseconds
 * @property {string} refused why it never will
 * @property {boolean} busy
 * @property {number} tries without an answer
 * @property {number} timer
 * @typedef {{ stage: Stage, paint: (save: Save) => void }} Watcher
 */

const SLOT = "rating.";
/** Pause after the last key before a comment is sent. */
const TYPING_MILLISECONDS = 600;
const FIRST_RETRY_MILLISECONDS = 1_000;
const LAST_RETRY_MILLISECONDS = 15_000;
/** A request without an answer for so long counts as lost; sent twice, it is taken once. */
const PATIENCE_MILLISECONDS = 20_000;

/** @type {Map<string, Save>} */
const saves = new Map();
/** The stages of the page; one visitor uses them all. */
/** @type {Watcher[]} */
const watchers = [];

/** Why the last of them was refused for good: it is shown until the next rating, wherever the person has gone. */
let refusal = "";

/**
 * @param {string} chat
 * @param {string | null} node
 * @param {string | null} character
 * @returns {Save}
 */
export function saveOf(chat, node, character) {
  const key = JSON.stringify([chat, node, character]);
  const idle = { waiting: null, last: null, saved: 0, refused: "", busy: false, tries: 0, timer: 0 };
  const save = saves.get(key) ?? { chat, node, character, ...idle };
  saves.set(key, save);
  return save;
}

/**
 * Return the newest rating that was given here, unless the server has shown a newer one since.
 * @param {Save} save
 * @param {number} shown when the rating that the server has drawn was saved
 */
export function lastKept(save, shown) {
  return save.waiting ?? (save.saved >= shown ? save.last : null);
}

/**
 * Keep a rating and send it; a typed one after a pause.
 * @param {Stage} stage
 * @param {Save} save
 * @param {SentRating} rating
 * @param {boolean} typing
 */
export function keepRating(stage, save, rating, typing) {
  save.waiting = rating;
  save.refused = "";
  refusal = "";
  writeSlot(stage, save);
  paint(save);
  if (save.busy || save.tries) return; // it follows the one that is on its way, or at the next try
  schedule(stage, save, typing ? TYPING_MILLISECONDS : 0);
}

/** Send at once whatever waits: a field or a panel is left, the connection is back. */
export function flushRatings() {
  for (const save of saves.values()) if (save.waiting && !save.busy) schedule(firstStage(), save, 0);
}

// ---- send ----------------------------------------------------------------------------------------------------

/**
 * @param {Stage} stage
 * @param {Save} save
 * @param {number} pause
 */
function schedule(stage, save, pause) {
  window.clearTimeout(save.timer);
  save.timer = 0;
  if (pause > 0) save.timer = window.setTimeout(() => send(stage, save), pause);
  else send(stage, save);
}

/**
 * @param {Stage} stage
 * @param {Save} save
 */
async function send(stage, save) {
  const { waiting } = save;
  if (!waiting || save.busy) return;
  save.busy = true;
  const answer = await patiently(stage, request(stage, save, waiting));
  save.busy = false;
  if (isRefusal(answer) && answer.again) {
    save.tries += 1;
    schedule(
      stage,
      save,
      Math.min(LAST_RETRY_MILLISECONDS, FIRST_RETRY_MILLISECONDS * 2 ** (save.tries - 1)),
    );
  } else {
    save.tries = 0;
    if (isRefusal(answer)) refuse(stage, save, waiting, answer.error);
    else taken(stage, save, waiting, answer.saved);
    if (save.waiting) schedule(stage, save, 0); // a newer one was given meanwhile
  }
  paint(save);
}

/**
 * @param {Stage} stage
 * @param {Save} save
 * @param {SentRating} rating
 */
function request(stage, { chat, node, character }, rating) {
  return character
    ? stage.api.act("rate_character", { chat, character, rating })
    : stage.api.act("rate", { chat, node, rating });
}

/**
 * Return the answer, or a refusal when none comes.
 * @template T
 * @param {Stage} stage
 * @param {Promise<T>} answer
 */
function patiently(stage, answer) {
  /** @type {Promise<import("./types.js").Refusal>} */
  const none = new Promise((resolve) => {
    const lost = { error: word(stage, "lost_connection"), again: true };
    window.setTimeout(() => resolve(lost), PATIENCE_MILLISECONDS);
  });
  return Promise.race([answer, none]);
}

/**
 * @param {Stage} stage
 * @param {Save} save
 * @param {SentRating} rating
 * @param {number} saved
 */
function taken(stage, save, rating, saved) {
  save.last = rating;
  save.saved = saved;
  settle(stage, save, rating);
}

/**
 * End the waiting of a rating that the server refuses for good, and say why.
 * @param {Stage} stage
 * @param {Save} save
 * @param {SentRating} rating
 * @param {string} why
 */
function refuse(stage, save, rating, why) {
  settle(stage, save, rating);
  if (save.waiting) return; // a newer one may be taken
  save.refused = word(stage, "rating_refused").replace("{why}", why);
  refusal = save.refused;
}

/**
 * @param {Stage} stage
 * @param {Save} save
 * @param {SentRating} rating the one that needs no more waiting
 */
function settle(stage, save, rating) {
  if (save.waiting === rating) save.waiting = null;
  const kept = readSlot(stage.memory.recall(slotOf(save)));
  if (kept && isNotNewer(kept.rating, rating)) stage.memory.keep(slotOf(save), null);
}

// ---- storage -------------------------------------------------------------------------------------------------

/** @param {Save} save */
function slotOf({ chat, node, character }) {
  return `${SLOT}${chat}.${node ?? ""}.${character ?? ""}`;
}

/**
 * @param {Stage} stage
 * @param {Save} save
 */
function writeSlot(stage, save) {
  const { chat, node, character, waiting: rating } = save;
  stage.memory.keep(slotOf(save), JSON.stringify({ of: ownerOf(stage), chat, node, character, rating }));
}

/**
 * Return what tells visitors of one browser apart: a code of another visitor may be entered while ratings wait.
 * @param {Stage} stage
 */
function ownerOf(stage) {
  return (stage.memory.recall("visitor") ?? "").slice(0, 8);
}

/**
 * Return a slot; null when there is none, or something else stands there.
 * @param {string | null} text
 * @returns {{ of: string, chat: string, node: string | null, character: string | null, rating: SentRating } | null}
 */
function readSlot(text) {
  try {
    const slot = JSON.parse(text ?? "null");
    return typeof slot?.chat === "string" && Number.isInteger(slot?.rating?.seen?.act) ? slot : null;
  } catch {
    return null;
  }
}

/**
 * @param {SentRating} one
 * @param {SentRating} other
 */
function isNotNewer(one, other) {
  return one.seen.browser === other.seen.browser && one.seen.act <= other.seen.act;
}

/**
 * Watch the saves for one stage of the page; the first stage sends what an earlier page could not.
 * @param {Stage} stage
 * @param {(save: Save) => void} paintOne
 */
export function watchSaves(stage, paintOne) {
  watchers.push({ stage, paint: paintOne });
  stage.root.append(make("p", { class: "her-unsaved", role: "status", hidden: true }));
  if (watchers.length === 1) {
    window.addEventListener("online", flushRatings);
    window.addEventListener("pagehide", leave);
    window.addEventListener("storage", onStorage);
    document.addEventListener("visibilitychange", flushRatings);
    for (const name of stage.memory.names(SLOT)) adopt(stage, stage.memory.recall(name));
    flushRatings();
  }
  paintCount();
}

/**
 * Take over a rating that waits in the storage; the newer of two counts.
 * @param {Stage} stage
 * @param {string | null} text
 */
function adopt(stage, text) {
  const slot = readSlot(text);
  if (!slot || slot.of !== ownerOf(stage)) return null;
  const save = saveOf(slot.chat, slot.node, slot.character);
  const known = save.waiting ?? save.last;
  if (known && isNotNewer(slot.rating, known)) return null;
  save.waiting = slot.rating;
  return save;
}

/**
 * Follow another tab: draw what it waits for, and send it too if that tab does not; forget what it has saved.
 * @param {StorageEvent} event
 */
function onStorage(event) {
  const slot = readSlot(event.newValue ?? event.oldValue);
  if (!event.key?.startsWith(`her.${SLOT}`) || !slot) return;
  const stage = firstStage();
  const save = saveOf(slot.chat, slot.node, slot.character);
  if (event.newValue && adopt(stage, event.newValue) && !save.busy) {
    schedule(stage, save, LAST_RETRY_MILLISECONDS);
  } else if (!event.newValue && save.waiting && isNotNewer(save.waiting, slot.rating)) {
    save.last = save.waiting;
    save.saved = Date.now();
    save.waiting = null;
  }
  paint(save);
}

function leave() {
  const { api } = firstStage();
  for (const { chat, node, character, waiting: rating } of saves.values()) {
    if (!rating) continue;
    if (character) api.leave("rate_character", { chat, character, rating });
    else api.leave("rate", { chat, node, rating });
  }
}

// ---- draw ----------------------------------------------------------------------------------------------------

function firstStage() {
  return /** @type {Watcher} */ (watchers[0]).stage;
}

/** @param {Save} save */
function paint(save) {
  for (const watcher of watchers) watcher.paint(save);
  paintCount();
}

/** Say how many ratings the server does not have yet, and why it will never have one. */
function paintCount() {
  const count = [...saves.values()].filter(({ waiting }) => waiting).length;
  for (const { stage } of watchers) {
    const line = stage.root.querySelector(":scope > .her-unsaved");
    if (!(line instanceof HTMLElement)) continue;
    const counted = count ? word(stage, "unsaved").replace("{n}", String(count)) : "";
    line.textContent = [refusal, counted].filter(Boolean).join(" · ");
    line.hidden = !line.textContent;
  }
}
