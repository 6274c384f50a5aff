// @ts-check
// The rating of a turn or of a chat. It is drawn at once and saved in order: while one save is in flight only the
// newest rating waits, and only an answer of the server shows "saved". Two quick keys never overwrite each other.

import { clock, find, findAll, findOptional } from "./dom.js";
import { ask, word } from "./stage.js";
import { idOf, seenOf, stateOf } from "./turns.js";

/**
 * @typedef {import("./types.js").Rating} Rating
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {import("./types.js").Thumb} Thumb
 * @typedef {import("./types.js").SentRating} SentRating
 * @typedef {import("./types.js").SceneCharacter} SceneCharacter
 * @typedef {{ chat: string, node: string | null, character: string | null, busy: boolean, next: SentRating | null }} Save
 */

/** @type {Rating} */
const UNRATED = { thumb: null, stars: {}, tags: [], comment: "" };
/** @type {Map<string, Save>} */
const saves = new Map();

/**
 * Return the rating of a turn, or of the open chat when there is no turn.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @returns {Rating}
 */
export function ratingOf(stage, article) {
  return (article ? stateOf(article).rating : (ratedCharacter(stage) ?? stage.chat)?.rating) ?? UNRATED;
}

/**
 * Return the character of a scene whose rating is open, or undefined when it is that of the whole chat.
 * @param {Stage} stage
 * @returns {SceneCharacter | undefined}
 */
function ratedCharacter(stage) {
  return stage.chat?.scene?.cast.find(({ name }) => name === stage.rated);
}

// ---- save ----------------------------------------------------------------------------------------------------

/**
 * Change a rating, draw it and save it.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @param {Partial<Rating>} change
 */
export function rate(stage, article, change) {
  if (!stage.chat) return;
  const rating = { ...ratingOf(stage, article), ...change };
  const character = article ? null : (ratedCharacter(stage)?.name ?? null);
  const save = saveOf(stage.chat.id, article ? idOf(article) : null, character);
  paintChange(stage, article, rating);
  save.next = { ...rating, rubric: stage.boot.rubric.id, seen: seenOf(stage, article) };
  paintStamp(stage, save, word(stage, "saving"), "");
  if (!save.busy) saveRating(stage, save);
}

/**
 * @param {string} chat
 * @param {string | null} node
 * @param {string | null} character
 * @returns {Save}
 */
function saveOf(chat, node, character) {
  const key = `${chat} ${node} ${character}`;
  const save = saves.get(key) ?? { chat, node, character, busy: false, next: null };
  saves.set(key, save);
  return save;
}

/**
 * @param {Stage} stage
 * @param {Save} save
 */
async function saveRating(stage, save) {
  save.busy = true;
  while (save.next) {
    const { chat, node, character, next: rating } = save;
    save.next = null;
    const answer = character
      ? await ask(stage, "rate_character", { chat, character, rating })
      : await ask(stage, "rate", { chat, node, rating });
    if (save.next) continue; // a newer rating is drawn already
    if (answer) paintStamp(stage, save, `${word(stage, "saved_at")} ${clock(answer.saved)}`, "saved");
    else paintStamp(stage, save, word(stage, "not_saved"), "failed");
  }
  save.busy = false;
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
 * Write a rating on its turn or on the chat, and draw it.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @param {Rating} rating
 */
function paintChange(stage, article, rating) {
  if (article) {
    article.dataset.state = JSON.stringify({ ...stateOf(article), rating });
    paintFooter(article, rating);
  } else if (stage.chat) Object.assign(ratedCharacter(stage) ?? stage.chat, { rating });
  const panel = article ? findOptional(article, ".her-rating") : findOptional(stage.root, ".her-chat-rating");
  if (panel) paintPanel(stage, panel, article);
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
 * Draw a rating on its panel.
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
  if (!article) paintThumbs(panel, rating);
}

/**
 * Draw the state of a save, beside the turn and in its panel, or in the panel of the chat.
 * @param {Stage} stage
 * @param {Save} save
 * @param {string} sentence
 * @param {string} state class of the stamp
 */
function paintStamp(stage, save, sentence, state) {
  if (stage.chat?.id !== save.chat) return;
  const place = save.node ? `#t-${CSS.escape(save.node)} .stamp` : ".her-chat-rating .stamp";
  for (const stamp of findAll(stage.root, place)) {
    stamp.textContent = sentence;
    stamp.className = `stamp ${state}`;
  }
}
