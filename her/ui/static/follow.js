// @ts-check
// Keep the reply in view, by what the person did: whoever sent something or pressed "latest" is shown the end as it
// grows; whoever scrolled up stays where they are. Heights change long after a patch was drawn (fonts, panels, a keyboard
// that opens, turns that are laid out late), so the end is kept by observing sizes.

import { find, findAll } from "./dom.js";

/** @typedef {import("./types.js").Stage} Stage */

const END_PIXELS = 4;
const UP_KEYS = ["PageUp", "Home", "ArrowUp"];

/**
 * Show the end of the chat, and keep it in view until the person scrolls up.
 * @param {Stage} stage
 */
export function scrollToEnd(stage) {
  stage.following = true;
  keepEnd(stage);
}

/**
 * Stop following: the person looks at something above the end.
 * @param {Stage} stage
 */
export function stayHere(stage) {
  stage.following = false;
  paintLatest(stage);
}

/**
 * Listen to what the person does with the transcript, and keep its end in view while it is followed.
 * @param {Stage} stage
 */
export function watchScrolling(stage) {
  const { after, before, scroll, turns } = stage.elements;
  let touched = 0;
  let dragging = false;
  let last = 0;
  scroll.addEventListener("wheel", (event) => event.deltaY < 0 && canScroll(scroll) && stayHere(stage), {
    passive: true,
  });
  scroll.addEventListener(
    "touchstart",
    (event) => {
      touched = event.touches[0]?.clientY ?? 0;
    },
    { passive: true },
  );
  scroll.addEventListener(
    "touchmove",
    (event) => {
      const y = event.touches[0]?.clientY ?? touched;
      if (y > touched + END_PIXELS && canScroll(scroll)) stayHere(stage);
      touched = y;
    },
    { passive: true },
  );
  scroll.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.matches("input, textarea, select");
    if (UP_KEYS.includes(event.key) && !typing) stayHere(stage);
  });
  // a press on the scroll bar itself, not on what is in the region
  scroll.addEventListener("pointerdown", (event) => {
    dragging = event.target === scroll && event.offsetX >= scroll.clientWidth;
  });
  window.addEventListener("pointerup", () => {
    dragging = false;
  });
  scroll.addEventListener(
    "scroll",
    () => {
      if (dragging && scroll.scrollTop < last) stage.following = false;
      else if (scroll.scrollTop > last && isAtEnd(scroll)) stage.following = true; // they came back to the end
      last = scroll.scrollTop;
      paintLatest(stage);
    },
    { passive: true },
  );
  const sizes = new ResizeObserver(() => {
    if (stage.following) keepEnd(stage);
    else paintLatest(stage);
  });
  for (const node of [scroll, before, turns, after]) sizes.observe(node);
}

/**
 * Change what is shown and keep the turn that is being read where it is; at the end, keep the end.
 * @param {Stage} stage
 * @param {() => void} change
 */
export function keepPlace(stage, change) {
  const { scroll } = stage.elements;
  if (stage.following && isAtEnd(scroll)) {
    change();
    keepEnd(stage);
    return;
  }
  const anchor = anchorOf(stage);
  const top = anchor?.getBoundingClientRect().top ?? 0;
  // the browser's own anchoring would correct a second time
  scroll.style.setProperty("overflow-anchor", "none");
  change();
  if (anchor) scroll.scrollTop += anchor.getBoundingClientRect().top - top;
  window.requestAnimationFrame(() => scroll.style.removeProperty("overflow-anchor"));
  paintLatest(stage);
}

/**
 * Return what is read now: the first line of speech or header that begins in view, which no toggle hides.
 * @param {Stage} stage
 */
function anchorOf(stage) {
  const { scroll, turns } = stage.elements;
  const { top, bottom } = scroll.getBoundingClientRect();
  const middle = top + (bottom - top) / 3;
  let best = null;
  let nearest = Number.POSITIVE_INFINITY;
  for (const article of findAll(turns, ".turn")) {
    const frame = article.getBoundingClientRect();
    if (frame.bottom < top || frame.top > bottom) continue;
    for (const line of findAll(article, ":scope > header, .lines")) {
      const place = line.getBoundingClientRect();
      const distance = place.top <= middle && place.bottom >= middle ? 0 : Math.abs(place.top - middle);
      if (place.height > 0 && distance < nearest) [best, nearest] = [line, distance];
    }
  }
  return best;
}

/** @param {Stage} stage */
function keepEnd(stage) {
  const { scroll } = stage.elements;
  scroll.scrollTop = scroll.scrollHeight;
  paintLatest(stage);
}

/** @param {Stage} stage */
function paintLatest(stage) {
  find(stage.root, ".latest").hidden = stage.following || isAtEnd(stage.elements.scroll);
}

/** @param {HTMLElement} scroll */
function canScroll(scroll) {
  return scroll.scrollHeight > scroll.clientHeight + END_PIXELS;
}

/** @param {HTMLElement} scroll */
function isAtEnd(scroll) {
  return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight <= END_PIXELS;
}
