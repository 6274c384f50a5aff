// @ts-check
// The line that says how far chats and ratings are kept outside the server's machine.

import { find, make } from "./dom.js";
import { isRefusal, word } from "./stage.js";

/**
 * @typedef {import("./types.js").ShownSafety} ShownSafety
 * @typedef {import("./types.js").Stage} Stage
 */

const EVERY_MILLISECONDS = 15_000;

/**
 * Show the line and keep it up to date; without effect where nothing is kept outside.
 * @param {Stage} stage
 * @param {number} asked when the page asked for its first answer (ms since 1970)
 */
export function watchSafety(stage, asked) {
  const { safety } = stage.boot;
  if (!safety) return;
  const line = make("p", { class: "safe" });
  const badge = find(stage.root, ".her-badge");
  badge.append(line);
  badge.hidden = false;
  paintSafety(stage, line, safety, asked);
  const timer = setInterval(async () => {
    if (!stage.root.isConnected) clearInterval(timer);
    if (document.hidden || !stage.root.offsetParent) return;
    const now = Date.now();
    const answer = await stage.api.act("safety", {});
    // no answer, no news: the time in the line stays what it was
    if (!isRefusal(answer) && answer.safety) paintSafety(stage, line, answer.safety, now);
  }, EVERY_MILLISECONDS);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} line
 * @param {ShownSafety} safety
 * @param {number} asked
 */
function paintSafety(stage, line, { waiting, age, alarm }, asked) {
  // By the browser's clock, since that of the server may be wrong; from the question on, since the answer took its time.
  const time = new Date(asked - age * 1000).toLocaleTimeString(stage.language);
  const name = alarm ? `unsafe_${alarm}` : waiting ? "safe" : "safe_all";
  line.textContent = word(stage, name).replace("{time}", time);
  line.classList.toggle("alarm", alarm !== "");
  line.setAttribute("role", alarm ? "alert" : "note");
}
