// @ts-check
// The panel in which a person rates a turn or a chat: stars, tags and a comment.

import { button, findAll, findOptional, icon, make } from "./dom.js";
import { openDialog } from "./menus.js";
import { giveStars, giveThumb, paintPanel, rate, ratingOf, toggleTag } from "./rating.js";
import { word } from "./stage.js";
import { idOf } from "./turns.js";

/**
 * @typedef {import("./types.js").RubricLabel} RubricLabel
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {import("./types.js").Thumb} Thumb
 */

const STARS = [1, 2, 3, 4, 5];

/**
 * Open the panel of a turn, or close it when it is open.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export function toggleRating(stage, article) {
  if (!closeRating(article)) openRating(stage, article);
}

/**
 * Close the panel of a turn. Return false when it was not open.
 * @param {HTMLElement} article
 */
export function closeRating(article) {
  const panel = findOptional(article, ".her-rating");
  if (!panel) return false;
  const inside = panel.contains(document.activeElement);
  panel.remove();
  if (inside) findOptional(article, 'footer [data-act="rate"]')?.focus();
  return true;
}

/**
 * Return the open panel of a turn; open it when it is closed, and close that of any other turn.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
function openRating(stage, article) {
  const old = findOptional(article, ".her-rating");
  if (old) return old;
  for (const other of findAll(stage.elements.turns, ".her-rating")) other.remove();
  const panel = ratingPanel(stage, article);
  article.append(panel);
  panel.scrollIntoView({ block: "nearest" });
  return panel;
}

/**
 * Open the rating of the chat.
 * @param {Stage} stage
 */
export function rateChat(stage) {
  stage.rated = null;
  const close = button(word(stage, "back"), () => stage.elements.dialog.close());
  const heading = make("h2", {}, word(stage, "rate_chat"));
  openDialog(stage, heading, ratingPanel(stage, null), make("div", { class: "row end" }, close));
}

/**
 * Open the rating of a character of a scene.
 * @param {Stage} stage
 * @param {string} name
 * @param {() => void} closed called when the dialog has closed
 */
export function rateCharacter(stage, name, closed) {
  stage.rated = name;
  const close = button(word(stage, "back"), () => stage.elements.dialog.close());
  const heading = make("h2", {}, word(stage, "rate_character").replace("{name}", name));
  openDialog(stage, heading, ratingPanel(stage, null), make("div", { class: "row end" }, close));
  stage.elements.dialog.addEventListener("close", closed, { once: true });
}

/**
 * Give stars by a key: each press rates the next dimension of the rubric.
 * @param {Stage} stage
 * @param {HTMLElement} article
 * @param {number} count
 */
export function starByKey(stage, article, count) {
  const panel = openRating(stage, article);
  const dimensions = stage.boot.rubric.dimensions.map((dimension) => dimension.id);
  const at = Number(panel.dataset.next || 0) % dimensions.length;
  const rated = dimensions[at];
  const next = dimensions[(at + 1) % dimensions.length];
  if (rated === undefined) return;
  panel.dataset.next = String(at + 1);
  for (const row of findAll(panel, ".dimension"))
    row.classList.toggle("next", row.dataset.dimension === next);
  giveStars(stage, article, rated, count);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 */
function ratingPanel(stage, article) {
  const { dimensions, tags } = stage.boot.rubric;
  const group = article ? idOf(article) : "chat";
  const comment = word(stage, "comment");
  const area = make("textarea", { rows: 2, maxlength: 4000, placeholder: comment, "aria-label": comment });
  area.value = ratingOf(stage, article).comment;
  const saveComment = () => rate(stage, turnOf(area), { comment: area.value });
  const panel = make(
    "section",
    {
      class: article ? "her-rating" : "her-chat-rating",
      "aria-label": word(stage, article ? "rate" : "rate_chat"),
    },
    article ? null : chatThumbs(stage),
    make("div", { class: "dimensions" }, ...dimensions.map((dimension) => starRow(stage, dimension, group))),
    make("div", { class: "tags" }, ...tags.map((tag) => tagButton(stage, tag))),
    area,
    make(
      "div",
      { class: "row" },
      make("span", { class: "stamp", role: "status" }),
      button(word(stage, "save"), saveComment, { class: "tool wordy save-comment" }),
    ),
  );
  paintPanel(stage, panel, article);
  return panel;
}

/**
 * Return the turn that a panel belongs to now (it moves when its turn is drawn again); null for the chat's panel.
 * @param {Element} node
 * @returns {HTMLElement | null}
 */
function turnOf(node) {
  return node.closest(".turn");
}

/** @param {Stage} stage */
function chatThumbs(stage) {
  /** @type {[string, Thumb][]} */
  const thumbs = [
    ["like", 1],
    ["dislike", -1],
  ];
  const buttons = thumbs.map(([name, thumb]) => {
    const press = () => giveThumb(stage, null, thumb);
    const label = word(stage, name);
    const attributes = {
      type: "button",
      class: `tool ${name}`,
      "aria-label": label,
      title: label,
      onclick: press,
    };
    return make("button", attributes, icon("thumb", "thumb"));
  });
  return make("div", { class: "thumbs" }, ...buttons);
}

/**
 * Draw the stars of one dimension: a group of radio buttons, so that Tab stops once and the arrow keys choose.
 * @param {Stage} stage
 * @param {RubricLabel} dimension
 * @param {string} group part of the name that tells the panels apart
 */
function starRow(stage, dimension, group) {
  const stars = STARS.map((count) => star(stage, dimension.id, `stars-${group}-${dimension.id}`, count));
  return make(
    "fieldset",
    { class: "dimension", "data-dimension": dimension.id, title: dimension.hint },
    make("legend", {}, dimension.label),
    make("span", { class: "stars" }, ...stars),
  );
}

/**
 * @param {Stage} stage
 * @param {string} dimension
 * @param {string} name of the radio group
 * @param {number} count
 */
function star(stage, dimension, name, count) {
  const label = word(stage, "star").replace("{n}", String(count));
  const input = make("input", { type: "radio", name, value: count, "aria-label": label });
  const isGiven = () => ratingOf(stage, turnOf(input)).stars[dimension] === count;
  const takeBack = () => giveStars(stage, turnOf(input), dimension, null);
  // a checked radio button sends no `change` when it is chosen again, and no `click` for Space
  input.addEventListener("click", () => {
    if (isGiven()) takeBack();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== " " || !isGiven()) return;
    event.preventDefault();
    takeBack();
  });
  input.addEventListener("change", () => {
    if (input.checked) giveStars(stage, turnOf(input), dimension, count);
  });
  return make(
    "label",
    { class: "star", "data-star": count },
    input,
    make("span", { "aria-hidden": "true" }, "★"),
  );
}

/**
 * @param {Stage} stage
 * @param {RubricLabel} tag
 */
function tagButton(stage, tag) {
  /** @type {HTMLButtonElement} */
  const node = make("button", { type: "button", class: "tag", "data-tag": tag.id }, tag.label);
  node.addEventListener("click", () => toggleTag(stage, turnOf(node), tag.id));
  return node;
}
