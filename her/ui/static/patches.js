// @ts-check
// Apply what the server says has changed (her/ui/patches.py): turns by id, their order, and the frame around them.

import { button, find, findAll, findOptional, fragment, make, markLongWords, monogram } from "./dom.js";
import { keepPlace, scrollToEnd, stayHere } from "./follow.js";
import { endRun, setRunning } from "./generation.js";
import { paintRating } from "./rating.js";
import { paintDirector, paintScene, paintSpeaker } from "./scene_bar.js";
import { ask, word } from "./stage.js";
import { paintPeeks, paintToggles } from "./toggles.js";
import { idOf, placeEditor, turnById } from "./turns.js";

/**
 * @typedef {import("./types.js").DrawnTurn} DrawnTurn
 * @typedef {import("./types.js").ChatFrame} ChatFrame
 * @typedef {import("./types.js").DrawnReply} DrawnReply
 * @typedef {import("./types.js").ChatPatch} ChatPatch
 * @typedef {import("./types.js").ShownBallot} ShownBallot
 * @typedef {import("./types.js").Stage} Stage
 */

/**
 * Apply a patch of the open chat; one of another chat is ignored.
 * @param {Stage} stage
 * @param {ChatPatch | null} patch
 */
export function apply(stage, patch) {
  if (!patch || patch.chat !== stage.chat?.id) return;
  stage.lastPatch = Date.now();
  const joins = isDrawn(patch.order?.[0]);
  drawTurns(stage, patch);
  if (patch.order && !setOrder(stage, patch.order, joins)) refresh(stage);
  const isWritten = patch.live || patch.ballot?.state === "writing";
  if (isWritten && !stage.running) setRunning(stage, true);
  if (patch.end) endRun(stage, patch);
  if (patch.ballot !== undefined) showBallot(stage, patch.ballot, stage.following || Boolean(patch.whole));
  if (patch.view) paintFrame(stage, patch.view);
  if (patch.ballot) stayHere(stage);
  else if (stage.following || patch.whole) scrollToEnd(stage);
}

/**
 * Draw two replies that wait for a vote, with the module for that, which is loaded when the first ones come.
 * @param {Stage} stage
 * @param {ShownBallot | null} ballot
 * @param {boolean} follow whether the page follows what is written
 */
async function showBallot(stage, ballot, follow) {
  stage.ballot = ballot;
  stage.voting = ballot !== null && !ballot.repeat && ballot.state !== "writing";
  if (!ballot && !findOptional(stage.root, ".her-ballot")) return;
  const { drawBallot } = await import("./ballot.js");
  drawBallot(stage, stage.ballot); // a newer one may have come meanwhile
  // an earlier pair stands below a new turn, which is read first
  if (follow && stage.ballot?.repeat) stage.elements.turns.lastElementChild?.scrollIntoView();
}

/**
 * Ask the server for the open chat and draw it.
 * @param {Stage} stage
 */
async function refresh(stage) {
  if (stage.chat) apply(stage, await ask(stage, "open", { chat: stage.chat.id }));
}

/**
 * @param {Stage} stage
 * @param {ChatPatch} patch
 */
function drawTurns(stage, patch) {
  const { turns } = stage.elements;
  if (patch.whole) turns.replaceChildren();
  if (patch.put) for (const waiting of findAll(turns, ".sending")) waiting.remove();
  for (const drawn of patch.put ?? []) putTurn(stage, drawn);
  if (patch.live) putTurn(stage, patch.live);
}

/**
 * Draw a turn: in its own place, in the place of the turn it replaces, or at the end.
 * @param {Stage} stage
 * @param {DrawnReply} drawn
 */
function putTurn(stage, drawn) {
  const { turns } = stage.elements;
  const fresh = elementOf(drawn);
  const old = turnById(drawn.id);
  const replaced = drawn.replaces ? turnById(drawn.replaces) : null;
  if (old && turns.contains(old)) exchange(old, fresh);
  else if (replaced && turns.contains(replaced)) replaced.replaceWith(fresh);
  else turns.append(fresh);
  paintSpeaker(stage, fresh);
}

/**
 * @param {DrawnTurn} drawn
 * @returns {HTMLElement}
 */
function elementOf(drawn) {
  const article = /** @type {HTMLElement} */ (fragment(drawn.html).firstElementChild);
  markLongWords(article, article.textContent ?? "");
  return article;
}

/**
 * Put a fresh drawing of a turn in the place of the old one. Open panels, an open rating, a started edit and the focus
 * stay.
 * @param {HTMLElement} old
 * @param {HTMLElement} fresh
 */
function exchange(old, fresh) {
  const active = old.contains(document.activeElement) ? document.activeElement : null;
  const rating = findOptional(old, ".her-rating");
  const editor = findOptional(old, ".editor");
  const kept = Array.from(old.classList).filter((name) => /^(open|shut)-|^chosen$/.test(name));
  fresh.classList.add(...kept);
  old.replaceWith(fresh);
  if (editor) placeEditor(fresh, editor);
  if (rating) fresh.append(rating);
  if (active) refocus(fresh, active);
}

/**
 * Focus what had the focus before a turn was drawn again: the same element when it moved along, else the button of the
 * same act, else the turn.
 * @param {HTMLElement} article
 * @param {Element} active
 */
export function refocus(article, active) {
  const { act } = /** @type {HTMLElement} */ (active).dataset;
  const same = article.contains(active) ? /** @type {HTMLElement} */ (active) : null;
  const twin = act ? findOptional(article, `footer [data-act="${act}"]:not([disabled])`) : null;
  (same ?? twin ?? article).focus({ preventScroll: true });
}

/**
 * Remove the turns that the order does not name and put the others in its order. Return false when one is not drawn.
 * @param {Stage} stage
 * @param {string[]} order ids of the last turns of the chat
 * @param {boolean} joins the first of the order was on the page before: the turns above it lead to it and stay
 */
function setOrder(stage, order, joins) {
  const { turns } = stage.elements;
  const wanted = new Set(order);
  const first = order[0] ? turnById(order[0]) : null;
  let above = joins && first !== null;
  for (const article of findAll(turns, ":scope > *")) {
    if (article === first) above = false;
    if (!above && !wanted.has(idOf(article))) article.remove();
  }
  let last = null;
  for (const id of order) {
    const article = turnById(id);
    if (!article) return false;
    if (last && last.nextElementSibling !== article) last.after(article);
    last = article;
  }
  return true;
}

/**
 * @param {string | undefined} id
 */
function isDrawn(id) {
  return id === undefined || turnById(id) !== null;
}

// ---- the frame around the turns ------------------------------------------------------------------------------

/**
 * Draw the frame of the open chat, and complete the turns that were drawn since.
 * @param {Stage} stage
 * @param {ChatFrame} frame
 */
function paintFrame(stage, frame) {
  if (!stage.chat) return;
  Object.assign(stage.chat, frame);
  stage.root.style.setProperty("--her-persona", frame.colour);
  paintHead(stage, frame);
  paintMeter(stage, frame);
  find(stage.root, '[data-act="continue"]').hidden = !frame.can_continue || stage.running;
  paintBefore(stage, frame);
  paintAfter(stage, frame);
  for (const article of findAll(stage.elements.turns, ".turn:not([data-stamped])")) complete(stage, article);
  paintScene(stage);
  paintDirector(stage);
  paintToggles(stage);
}

/**
 * @param {Stage} stage
 * @param {ChatFrame} frame
 */
function paintHead(stage, frame) {
  const names = make("div", {}, make("strong", {}, frame.speaker), make("small", {}, frame.subtitle));
  // a scene has no one face; those of its cast stand above the text field
  const face = frame.scene ? "" : monogram(frame.letters, frame.colour);
  find(stage.root, ".her-who").replaceChildren(face, names);
}

/**
 * @param {Stage} stage
 * @param {ChatFrame} frame
 */
function paintMeter(stage, frame) {
  const meter = find(stage.root, ".meter");
  meter.textContent = frame.meter;
  meter.title = frame.meter_hint;
  meter.classList.toggle("cut", frame.cut > 0);
}

/**
 * Draw what stands above the first turn: the button for earlier turns, and the note on turns that are not sent.
 * @param {Stage} stage
 * @param {ChatFrame} frame
 */
function paintBefore(stage, frame) {
  const { before, turns } = stage.elements;
  const hidden = frame.total - turns.children.length;
  before.replaceChildren();
  if (hidden > 0) {
    const label = `${word(stage, "older")} (${hidden})`;
    before.append(button(label, () => drawOlder(stage), { class: "tool wordy older" }));
  }
  if (frame.cut_note) before.append(make("p", { class: "note" }, frame.cut_note));
}

/**
 * Draw what stands below the last turn: the replay of a book, and the button that lets the persona speak.
 * @param {Stage} stage
 * @param {ChatFrame} frame
 */
function paintAfter(stage, frame) {
  const { after } = stage.elements;
  after.replaceChildren();
  const left = frame.replay ? frame.replay.total - frame.replay.shown : 0;
  if (left > 0) {
    after.append(
      button(word(stage, "replay_next"), () => replay(stage, 1)),
      button(word(stage, "replay_all"), () => replay(stage, left)),
      make("span", { class: "note" }, `${left} ${word(stage, "replay_left")}`),
    );
  }
  if (!frame.can_answer || frame.live || stage.running) return;
  const label = word(stage, "answer").replace("{name}", frame.speaker);
  after.append(make("button", { type: "button", class: "tool wordy answer", "data-act": "answer" }, label));
}

/**
 * Complete a turn that was just drawn: the time its rating was saved, and the state of its buttons.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
function complete(stage, article) {
  article.dataset.stamped = "1";
  paintPeeks(stage, article);
  paintRating(stage, article);
  stage.drawn(article);
}

/**
 * Draw the turns before the first one on the page; what is in view stays where it is.
 * @param {Stage} stage
 */
export async function drawOlder(stage) {
  const { turns } = stage.elements;
  const first = /** @type {HTMLElement | null} */ (turns.firstElementChild);
  if (!stage.chat || !first) return 0;
  const answer = await ask(stage, "older", { chat: stage.chat.id, node: idOf(first) });
  if (!answer || answer.chat !== stage.chat.id) return 0;
  stayHere(stage);
  keepPlace(stage, () => {
    first.before(...answer.put.map(elementOf));
    if (stage.chat) paintFrame(stage, stage.chat);
  });
  return answer.put.length;
}

/**
 * Show the next turns of a book.
 * @param {Stage} stage
 * @param {number} count
 */
async function replay(stage, count) {
  if (stage.chat) apply(stage, await ask(stage, "replay", { chat: stage.chat.id, count }));
}
