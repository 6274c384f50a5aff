// @ts-check
// The rating of a turn or of a chat, as it is drawn: at once, and again when the server or another tab has a newer one.

import { clock, find, findAll, findOptional } from "./dom.js";
import { keepRating, lastKept, saveOf, watchSaves } from "./rating_saves.js";
import { word } from "./stage.js";
import { idOf, seenOf, stateOf, turnById } from "./turns.js";

/**
 * @typedef {import("./rating_saves.js").Save} Save
 * @typedef {import("./types.js").Rating} Rating
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {import("./types.js").Thumb} Thumb
 * @typedef {import("./types.js").SceneCharacter} SceneCharacter
 */

/** @type {Rating} */
const UNRATED = { thumb: null, stars: {}, tags: [], comment: "" };

/**
 * Return the rating of a turn, or of the open chat when there is no turn: the newest that this browser knows.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @returns {Rating}
 */
export function ratingOf(stage, article) {
  if (!stage.chat) return UNRATED;
  const save = saveOf(stage.chat.id, article ? idOf(article) : null, characterOf(stage, article));
  const drawn = article ? stateOf(article) : { ...(ratedCharacter(stage) ?? stage.chat), saved: 0 };
  return lastKept(save, drawn.saved ?? 0) ?? drawn.rating ?? UNRATED;
}

/**
 * Return the character of a scene whose rating is open, or undefined when it is that of the whole chat.
 * @param {Stage} stage
 * @returns {SceneCharacter | undefined}
 */
function ratedCharacter(stage) {
  return stage.chat?.scene?.cast.find(({ name }) => name === stage.rated);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 */
function characterOf(stage, article) {
  return article ? null : (ratedCharacter(stage)?.name ?? null);
}

// ---- change --------------------------------------------------------------------------------------------------

/**
 * Change a rating, draw it and save it; `typing` waits for the next key.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @param {Partial<Rating>} change
 * @param {{ typing?: boolean }} [how]
 */
export function rate(stage, article, change, { typing = false } = {}) {
  if (!stage.chat) return;
  const { thumb, stars, tags, comment } = { ...ratingOf(stage, article), ...change };
  const rating = {
    thumb,
    stars,
    tags,
    comment,
    rubric: stage.boot.rubric.id,
    seen: seenOf(stage, article),
  };
  const save = saveOf(stage.chat.id, article ? idOf(article) : null, characterOf(stage, article));
  if (!article)
    Object.assign(ratedCharacter(stage) ?? stage.chat, { rating: { thumb, stars, tags, comment } });
  keepRating(stage, save, rating, typing);
}

/**
 * Give a thumb, or take it back when it was given.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @param {Thumb} thumb
 */
export function giveThumb(stage, article, thumb) {
  rate(stage, article, { thumb: ratingOf(stage, article).thumb === thumb ? null : thumb });
}

/**
 * Give stars in one dimension; null takes them back.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @param {string} dimension
 * @param {number | null} count
 */
export function giveStars(stage, article, dimension, count) {
  const { [dimension]: _, ...others } = ratingOf(stage, article).stars;
  rate(stage, article, { stars: count === null ? others : { ...others, [dimension]: count } });
}

/**
 * Set a tag, or take it away when it was set.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @param {string} tag
 */
export function toggleTag(stage, article, tag) {
  const { tags } = ratingOf(stage, article);
  rate(stage, article, { tags: tags.includes(tag) ? tags.filter((name) => name !== tag) : [...tags, tag] });
}

// ---- draw ----------------------------------------------------------------------------------------------------

/**
 * Draw ratings from now on whenever one changes, and send those that an earlier page could not save.
 * @param {Stage} stage
 */
export function watchRatings(stage) {
  watchSaves(stage, (save) => paintSave(stage, save));
}

/**
 * Draw the rating of a turn that the server has just drawn, where this browser knows a newer one, and its stamp.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export function paintRating(stage, article) {
  if (!stage.chat || !stateOf(article).played) return;
  const { saved } = stateOf(article);
  if (saved) stamp(article, `${word(stage, "saved_at")} ${clock(saved)}`, "");
  const save = saveOf(stage.chat.id, idOf(article), null);
  if (save.waiting || save.last) paintSave(stage, save);
}

/**
 * Draw a rating and the state of its save where it stands on the page.
 * @param {Stage} stage
 * @param {Save} save
 */
function paintSave(stage, save) {
  if (stage.chat?.id !== save.chat) return;
  const article = save.node ? turnById(save.node) : null;
  if (save.node && (!article || !stage.root.contains(article))) return;
  if (save.character !== characterOf(stage, article)) return;
  const place = article ?? findOptional(stage.root, ".her-chat-rating");
  if (article) paintFooter(article, ratingOf(stage, article));
  const panel = article ? findOptional(article, ".her-rating") : place;
  // what was refused stays on the panel, so that a comment can be copied
  if (panel && !save.refused) paintPanel(stage, panel, article);
  if (place) stamp(place, ...sentenceOf(stage, save));
}

/**
 * @param {Stage} stage
 * @param {Save} save
 * @returns {[sentence: string, state: string]}
 */
function sentenceOf(stage, save) {
  if (save.refused) return [save.refused, "failed"];
  if (save.waiting) return save.tries ? [word(stage, "not_saved"), "failed"] : [word(stage, "saving"), ""];
  return [`${word(stage, "saved_at")} ${clock(save.saved)}`, "saved"];
}

/**
 * @param {HTMLElement} place
 * @param {string} sentence
 * @param {string} state class of the stamp
 */
function stamp(place, sentence, state) {
  for (const line of findAll(place, ".stamp")) {
    line.textContent = sentence;
    line.className = `stamp ${state}`;
  }
}

/**
 * @param {HTMLElement} article
 * @param {Rating} rating
 */
function paintFooter(article, rating) {
  const starred = Object.keys(rating.stars).length > 0;
  const rateButton = find(article, ".tool.rate");
  paintThumbs(article, rating);
  rateButton.setAttribute("aria-pressed", String(starred));
  rateButton.textContent = starred ? "★" : "☆";
}

/**
 * @param {HTMLElement} from
 * @param {Rating} rating
 */
function paintThumbs(from, rating) {
  find(from, ".like").setAttribute("aria-pressed", String(rating.thumb === 1));
  find(from, ".dislike").setAttribute("aria-pressed", String(rating.thumb === -1));
}

/**
 * Draw a rating on its panel. A comment that is being written is left alone.
 * @param {Stage} stage
 * @param {HTMLElement} panel
 * @param {HTMLElement | null} article
 */
export function paintPanel(stage, panel, article) {
  const rating = ratingOf(stage, article);
  for (const row of findAll(panel, ".dimension")) {
    const given = rating.stars[row.dataset.dimension ?? ""] ?? 0;
    for (const label of findAll(row, ".star")) {
      const count = Number(label.dataset.star);
      label.classList.toggle("on", count <= given);
      /** @type {HTMLInputElement} */ (find(label, "input")).checked = count === given;
    }
  }
  for (const tag of findAll(panel, ".tag")) {
    tag.setAttribute("aria-pressed", String(rating.tags.includes(tag.dataset.tag ?? "")));
  }
  const area = /** @type {HTMLTextAreaElement} */ (find(panel, "textarea"));
  if (area !== document.activeElement && area.value !== rating.comment) area.value = rating.comment;
  if (!article) paintThumbs(panel, rating);
}
