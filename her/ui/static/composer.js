// @ts-check
// The text field at the foot of the page: it grows with its text, keeps a draft per chat, and sends on Enter.

import { LONG_WORD, markLongWords } from "./dom.js";

/** @typedef {import("./types.js").Stage} Stage */

const LONGEST_ROWS = 6;
const PIXELS_PER_LETTER = 8; // mean width of a Latin letter at the 17 px of the field

/**
 * Listen to the field.
 * @param {Stage} stage
 * @param {() => void} send
 */
export function wireComposer(stage, send) {
  const { box, composer } = stage.elements;
  const resize = rowEstimator(box);
  box.addEventListener("beforeinput", (event) => markLongWords(box, expectedText(box, event)));
  box.addEventListener("input", () => {
    markLongWords(box, box.value);
    resize();
    saveDraft(stage);
  });
  box.addEventListener("keydown", (event) => {
    // keyCode 229: Safari reports the Enter that ends a Chinese input with isComposing already false
    const composing = event.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    send();
  });
  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
}

/**
 * Return text that has a long word if the field will have one: the browser lays a pasted text out before `input` comes.
 * @param {HTMLTextAreaElement} box
 * @param {InputEvent} event
 */
function expectedText(box, event) {
  // undo and redo do not say which text they bring back
  if (event.inputType.startsWith("history")) return "x".repeat(LONG_WORD);
  return box.value + (event.data ?? "");
}

/**
 * Put a text into the field as if it had been typed.
 * @param {Stage} stage
 * @param {string} text
 */
export function setText(stage, text) {
  stage.elements.box.value = text;
  stage.elements.box.dispatchEvent(new Event("input"));
}

/**
 * Give a text that was not answered back to its writer, before what is in the field now.
 * @param {Stage} stage
 * @param {string} text
 */
export function giveBack(stage, text) {
  const texts = [text, stage.elements.box.value].filter((part) => part.trim());
  setText(stage, texts.join("\n"));
}

/**
 * Return what was written in a chat and not sent.
 * @param {Stage} stage
 * @param {string} chat
 */
export function draftOf(stage, chat) {
  return stage.memory.recall(`draft.${chat}`) ?? "";
}

/** @param {Stage} stage */
function saveDraft(stage) {
  if (stage.chat) stage.memory.keep(`draft.${stage.chat.id}`, stage.elements.box.value || null);
}

/**
 * Return a function that fits the height of the field to its text. CSS does it (`field-sizing: content`) where the
 * browser knows how; elsewhere the rows are counted from the letters. Reading `scrollHeight` instead makes the browser
 * lay the whole text out twice at each key: 0.5 s for 30,000 letters without a space, 4.3 s on a busy machine.
 * @param {HTMLTextAreaElement} box
 * @returns {() => void}
 */
function rowEstimator(box) {
  if (CSS.supports("field-sizing", "content")) return () => {};
  let letters = 40;
  const resize = () => {
    box.rows = rowsOf(box.value, letters);
  };
  new ResizeObserver(([entry]) => {
    if (!entry) return;
    letters = Math.max(1, Math.floor(entry.contentRect.width / PIXELS_PER_LETTER));
    resize();
  }).observe(box);
  return resize;
}

/**
 * Estimate the rows that a text fills, at most LONGEST_ROWS.
 * @param {string} text
 * @param {number} letters that fit on one row
 */
function rowsOf(text, letters) {
  if (text.length >= letters * LONGEST_ROWS) return LONGEST_ROWS;
  const rows = text.split("\n").map((line) => Math.max(1, Math.ceil(line.length / letters)));
  return Math.min(
    LONGEST_ROWS,
    rows.reduce((total, count) => total + count, 0),
  );
}
