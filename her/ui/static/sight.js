// @ts-check
// Measure what stands before the person: of each turn and each of its layers, whether it is open, whether it is in view,
// and for how long it has been since the page was loaded.
//
// In view is what has half its height, or half the height of the chat's window, within the window of a visible page. Time is
// counted by what the browser has painted, as an IntersectionObserver reports it; an act of the person is measured when it
// comes. Such a measurement changes no time: what moves before the next frame was never painted, and no report would end it.
// Another window that covers the browser's is known only where the browser reports the page as hidden.

import { findAll } from "./dom.js";

/**
 * @typedef {import("./types.js").Layer} Layer
 * @typedef {import("./types.js").LayerSight} LayerSight
 * @typedef {import("./types.js").Sights} Sights
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {object} Watch
 * @property {number} ms time in view
 * @property {number | null} since when it was last counted, while something is in view
 * @property {number} at when it was last looked at
 * @property {Set<Element>} pieces what is in view
 */

/** Classes of the parts by their kind; those of her/kinds.py. */
/** @type {[Layer, string][]} */
const PARTS = [
  ["system_thinking", ".panel.reasoning"],
  ["role_thinking", ".panel.thought"],
  ["role_action", ".lines .act"],
  ["speech", ".lines .speech"],
];
/** Steps of the share in view at which the browser reports. */
const STEPS = Array.from({ length: 101 }, (_, step) => step / 100);

/** By `turn-id layer`; kept when a turn is drawn again, swiped away, or its chat is left. */
/** @type {Map<string, Watch>} */
const watches = new Map();
/** Whose pieces an element is: the keys of its watches. */
/** @type {Map<Element, { scroll: Element, keys: string[] }>} */
const observed = new Map();
/** @type {IntersectionObserver | undefined} */
let observer;

/** What was measured at the act that is being handled now. */
/** @type {{ article: HTMLElement, sights: Sights } | null} */
let held = null;

/**
 * Measure what the person sees of a turn at an act, before the page answers it: it scrolls to a turn that is clicked.
 * @param {Stage} stage
 * @param {HTMLElement} article
 */
export function holdSights(stage, article) {
  held = { article, sights: measure(stage, article) };
  window.setTimeout(() => {
    held = null;
  }, 0);
}

/**
 * Watch the turns of a stage from now on.
 * @param {Stage} stage
 */
export function watchSights(stage) {
  const onClick = (/** @type {MouseEvent} */ { target }) => {
    /** @type {HTMLElement | null} */
    const article = target instanceof Element ? target.closest(".turn[data-id]") : null;
    if (article) holdSights(stage, article);
  };
  stage.root.addEventListener("click", onClick, true);
  if (!observer) {
    observer = new IntersectionObserver(onIntersection, { threshold: STEPS });
    document.addEventListener("visibilitychange", () => settleAll());
  }
  new MutationObserver(() => observeTurns(stage)).observe(stage.root, { childList: true, subtree: true });
}

/**
 * Return what the person sees of a turn, or of the chat when there is no turn.
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @returns {Sights}
 */
export function sightsOf(stage, article) {
  return article && held?.article === article ? held.sights : measure(stage, article);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement | null} article
 * @returns {Sights}
 */
function measure(stage, article) {
  observeTurns(stage);
  const { scroll } = stage.elements;
  const now = performance.now();
  if (!article) return { chat: sightOf(chatKey(stage), [scroll], scroll, now) };
  const pieces = piecesOf(article);
  const id = article.dataset.id ?? "";
  const turn = sightOf(`${id} turn`, [...pieces.keys()], scroll, now);
  /** @type {Sights} */
  const sights = { turn };
  for (const [layer] of PARTS) {
    const parts = [...pieces].filter(([, name]) => name === layer).map(([piece]) => piece);
    if (parts.length === 0) continue;
    const sight = sightOf(`${id} ${layer}`, parts, scroll, now);
    sights[layer] = { ...sight, ms: Math.min(sight.ms, turn.ms) };
  }
  return sights;
}

/**
 * @param {string} key
 * @param {Element[]} pieces
 * @param {Element} scroll
 * @param {number} now
 * @returns {LayerSight}
 */
function sightOf(key, pieces, scroll, now) {
  const watch = watchOf(key);
  settle(watch, now);
  const open = pieces.some(isDrawn);
  const in_view = !isAway() && pieces.some((piece) => isDrawn(piece) && isInWindow(piece, scroll));
  return { open, in_view: open && in_view, ms: Math.floor(watch.ms) };
}

// ---- look ----------------------------------------------------------------------------------------------------

/**
 * Tell whether an element is drawn: neither it nor what it stands in is folded, hidden, or off the page.
 * @param {Element} element
 */
export function isDrawn(element) {
  if (element.getClientRects().length === 0) return false;
  return getComputedStyle(element).visibility === "visible";
}

/** Tell whether the person has another tab in front. */
function isAway() {
  return document.hidden;
}

/**
 * Tell whether enough of an element stands in the window of the chat and of the browser.
 * @param {Element} element
 * @param {Element} scroll
 */
function isInWindow(element, scroll) {
  const box = element.getBoundingClientRect();
  const { top, bottom } = windowOf(scroll);
  return isEnough(Math.min(box.bottom, bottom) - Math.max(box.top, top), box.height, bottom - top);
}

/**
 * Return the part of the browser's window that shows the chat.
 * @param {Element} scroll
 */
function windowOf(scroll) {
  const { top, bottom } = scroll.getBoundingClientRect();
  return { top: Math.max(top, 0), bottom: Math.min(bottom, window.innerHeight) };
}

/**
 * @param {number} shown pixels of the height that are shown
 * @param {number} height of the element
 * @param {number} most height of the window
 */
function isEnough(shown, height, most) {
  return shown > 0 && shown >= Math.min(height, most) / 2;
}

// ---- keep time -----------------------------------------------------------------------------------------------

/** @param {string} key */
function watchOf(key) {
  const watch = watches.get(key) ?? { ms: 0, since: null, at: 0, pieces: new Set() };
  watches.set(key, watch);
  return watch;
}

/**
 * @param {Watch} watch
 * @param {Element} element
 * @param {boolean} inView
 * @param {number} now
 */
function mark(watch, element, inView, now) {
  if (inView) watch.pieces.add(element);
  else watch.pieces.delete(element);
  settle(watch, now);
}

/**
 * Add the time since the last look, and go on only while something is in view of a visible page.
 * @param {Watch} watch
 * @param {number} now
 */
function settle(watch, now) {
  watch.at = Math.max(watch.at, now);
  if (watch.since !== null) watch.ms += watch.at - watch.since;
  watch.since = watch.pieces.size > 0 && !isAway() ? watch.at : null;
}

function settleAll() {
  const now = performance.now();
  for (const watch of watches.values()) settle(watch, now);
}

/**
 * Take what the browser reports of a frame: by its boxes and its time, since the page may have moved on.
 * @param {IntersectionObserverEntry[]} entries
 */
function onIntersection(entries) {
  for (const { target, isIntersecting, intersectionRect, boundingClientRect, time } of entries) {
    const { scroll, keys } = observed.get(target) ?? {};
    if (!scroll || !keys) continue;
    const { top, bottom } = windowOf(scroll);
    const inView =
      isIntersecting && isEnough(intersectionRect.height, boundingClientRect.height, bottom - top);
    for (const key of keys) mark(watchOf(key), target, inView, time);
  }
}

// ---- follow the drawings -------------------------------------------------------------------------------------

/**
 * Return the pieces of a turn that are measured, with their layer.
 * @param {HTMLElement} article
 * @returns {Map<Element, Layer>}
 */
function piecesOf(article) {
  /** @type {Map<Element, Layer>} */
  const pieces = new Map([[article, "turn"]]);
  for (const [layer, selector] of PARTS)
    for (const part of findAll(article, selector)) pieces.set(part, layer);
  return pieces;
}

/** @param {Stage} stage */
function chatKey(stage) {
  return `${stage.chat?.id ?? ""} chat`;
}

/**
 * Observe what was drawn since, and let go of what is gone. What takes the place of something in view counts as in view until
 * the browser reports on it, which it does with its next frame.
 * @param {Stage} stage
 */
function observeTurns(stage) {
  const { scroll } = stage.elements;
  const gone = forget(stage);
  const now = performance.now();
  for (const article of findAll(stage.root, ".turn[data-id]")) {
    const id = article.dataset.id ?? "";
    for (const [piece, layer] of piecesOf(article)) {
      if (observed.has(piece)) continue;
      observe(piece, scroll, [...new Set([`${id} turn`, `${id} ${layer}`])], gone, now);
    }
  }
  if (!observed.has(scroll)) observe(scroll, scroll, [chatKey(stage)], gone, now);
  for (const key of gone) settle(watchOf(key), now);
}

/**
 * @param {Element} piece
 * @param {Element} scroll
 * @param {string[]} keys
 * @param {Set<string>} gone keys whose pieces have left the page just now
 * @param {number} now
 */
function observe(piece, scroll, keys, gone, now) {
  observed.set(piece, { scroll, keys });
  observer?.observe(piece);
  for (const key of keys) {
    if (gone.has(key) && watchOf(key).since !== null) mark(watchOf(key), piece, true, now);
  }
}

/**
 * Let go of pieces that left the page, and of the window when it shows another chat; return the keys of their watches.
 * @param {Stage} stage
 */
function forget(stage) {
  /** @type {Set<string>} */
  const gone = new Set();
  for (const [piece, { scroll, keys }] of observed) {
    const left = piece === scroll && piece === stage.elements.scroll && keys[0] !== chatKey(stage);
    if (piece.isConnected && !left) continue;
    observed.delete(piece);
    observer?.unobserve(piece);
    for (const key of keys) {
      gone.add(key);
      watches.get(key)?.pieces.delete(piece);
    }
  }
  return gone;
}
