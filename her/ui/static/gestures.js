// @ts-check
// Swipe a reply with a finger: to the left for the next one (a new one at the end), to the right for the one before.

import { swipe } from "./turn_tools.js";
import { stateOf } from "./turns.js";

/** @typedef {import("./types.js").Stage} Stage */

const LEAST_PIXELS = 70;
const STEEPEST = 0.5;

/** @param {Stage} stage */
export function wireGestures(stage) {
  const { turns } = stage.elements;
  let x = 0;
  let y = 0;
  turns.addEventListener(
    "touchstart",
    (event) => {
      [x, y] =
        event.touches.length === 1
          ? [event.touches[0]?.clientX ?? 0, event.touches[0]?.clientY ?? 0]
          : [NaN, NaN];
    },
    { passive: true },
  );
  turns.addEventListener(
    "touchend",
    (event) => {
      const across = (event.changedTouches[0]?.clientX ?? x) - x;
      const down = (event.changedTouches[0]?.clientY ?? y) - y;
      if (!(Math.abs(across) > LEAST_PIXELS) || Math.abs(down) > Math.abs(across) * STEEPEST) return;
      const { target } = event;
      if (!(target instanceof Element) || target.closest("textarea, input, .her-rating, .editor")) return;
      /** @type {HTMLElement | null} */
      const article = target.closest(".turn");
      const selected = window.getSelection()?.toString();
      if (article && stateOf(article).played && !selected) swipe(stage, article, across < 0 ? 1 : -1);
    },
    { passive: true },
  );
}
