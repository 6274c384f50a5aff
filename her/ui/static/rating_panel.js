// @ts-check
// The panel in which a person rates a turn or a chat: stars, tags and a comment.

import { button, findAll, findOptional, icon, make } from "./dom.js";
import { openDialog } from "./menus.js";
import { giveStars, giveThumb, paintPanel, paintRating, rate, ratingOf, toggleTag } from "./rating.js";
import { flushRatings } from "./rating_saves.js";
import { holdSights } from "./sight.js";
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
  flushRatings();
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
  paintRating(stage, article);
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
  stage.elements.dialog.addEventListener("close", flushRatings, { once: true });
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
  const leave = () => {
    flushRatings();
    closed();
  };
  stage.elements.dialog.addEventListener("close", leave, { once: true });
}

/**
 * Give stars by a key: each press rates the next dimension of the rubric.
 * @param {Stage} stage
 * @param {HTMLElement} article
 * @param {number} count
 */
export function starByKey(stage, article, count) {
  holdSights(stage, article);
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
 * Draw the one form of a rating. All of it is saved as it is given; the Tab key stops once at each scale, once at the tags,
 * and at the comment.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 */
function ratingPanel(stage, article) {
  const { dimensions, tags } = stage.boot.rubric;
  const group = article ? idOf(article) : "chat";
  const comment = word(stage, "comment");
  const area = make("textarea", { rows: 2, maxlength: 4000, placeholder: comment, "aria-label": comment });
  area.value = ratingOf(stage, article).comment;
  area.addEventListener("input", () => rate(stage, turnOf(area), { comment: area.value }, { typing: true }));
  area.addEventListener("blur", flushRatings);
  const panel = make(
    "section",
    {
      class: article ? "her-rating" : "her-chat-rating",
      "aria-label": word(stage, article ? "rate" : "rate_chat"),
      onkeydown: keepArrows,
    },
    article ? null : chatThumbs(stage),
    make("div", { class: "dimensions" }, ...dimensions.map((dimension) => starRow(stage, dimension, group))),
    tagGroup(stage, tags),
    area,
    make("span", { class: "stamp", role: "status" }),
  );
  paintPanel(stage, panel, article);
  return panel;
}

/**
 * Keep the arrow keys within the form: elsewhere on the page they swipe replies and choose turns.
 * @param {KeyboardEvent} event
 */
function keepArrows(event) {
  if (event.key.startsWith("Arrow")) event.stopPropagation();
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
 * Draw the stars of one dimension: a group of radio buttons, so that Tab stops once and the arrow keys choose. What it means
 * and what its ends are called stands there to be read: a touch screen shows no tooltip.
 * @param {Stage} stage
 * @param {RubricLabel} dimension
 * @param {string} group part of the name that tells the panels apart
 */
function starRow(stage, dimension, group) {
  const name = `stars-${group}-${dimension.id}`;
  const stars = STARS.map((count) => star(stage, dimension, name, count));
  const ends = word(stage, "scale").replace("{low}", dimension.low).replace("{high}", dimension.high);
  return make(
    "fieldset",
    { class: "dimension", "data-dimension": dimension.id, "aria-describedby": `${name}-hint` },
    make("legend", {}, dimension.label),
    make("span", { class: "stars" }, ...stars),
    make(
      "small",
      { class: "hint", id: `${name}-hint` },
      dimension.hint,
      make("span", { class: "ends" }, ends),
    ),
  );
}

/**
 * @param {Stage} stage
 * @param {RubricLabel} label
 * @param {string} name of the radio group
 * @param {number} count
 */
function star(stage, { id: dimension, low, high }, name, count) {
  const end = { 1: low, 5: high }[count];
  const label = word(stage, "star").replace("{n}", String(count)) + (end ? `: ${end}` : "");
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
  return make("label", { class: "star", "data-star": count }, input, make("span", { "aria-hidden": "true" }));
}

/**
 * Draw the tags as one group: Tab stops once, the arrow keys move in it (WAI-ARIA APG, "roving tabindex").
 * @param {Stage} stage
 * @param {RubricLabel[]} tags
 */
function tagGroup(stage, tags) {
  const buttons = tags.map((tag, place) => tagButton(stage, tag, place === 0 ? 0 : -1));
  const group = make("div", { class: "tags", role: "group", "aria-label": word(stage, "tags") }, ...buttons);
  group.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
    const next = nextPlace(event.key, at, buttons.length);
    if (next === null) return;
    event.preventDefault();
    buttons[next]?.focus();
  });
  group.addEventListener("focusin", ({ target }) => {
    for (const each of buttons) each.tabIndex = each === target ? 0 : -1;
  });
  return group;
}

/**
 * Return where a key moves to in a group; null for a key that does not move.
 * @param {string} key
 * @param {number} at
 * @param {number} count
 */
function nextPlace(key, at, count) {
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (key === "ArrowRight" || key === "ArrowDown") return (at + 1) % count;
  return key === "ArrowLeft" || key === "ArrowUp" ? (at + count - 1) % count : null;
}

/**
 * @param {Stage} stage
 * @param {RubricLabel} tag
 * @param {number} tabindex
 */
function tagButton(stage, tag, tabindex) {
  /** @type {HTMLButtonElement} */
  const node = make("button", { type: "button", class: "tag", "data-tag": tag.id, tabindex }, tag.label);
  node.addEventListener("click", () => toggleTag(stage, turnOf(node), tag.id));
  return node;
}
