// @ts-check
// The address of what is shown: #chat=ID (#cast=ID for a scene of several), #persona=ID. Back, Forward, titles and new
// tabs work by it. links.js reads the other names: persona, scene, mission.

/** @typedef {import("./types.js").Stage} Stage */

const BASE_TITLE = "HER";

/**
 * Return the address of a chat on this stage.
 * @param {Stage} stage
 * @param {string} id
 */
export function chatAddress(stage, id) {
  return `#${fieldOf(stage)}=${id}`;
}

/**
 * Put what is shown into the address and the title; an address that stands there already makes no step in the history.
 * @param {Stage} stage
 * @param {string} hash of `chatAddress`, of a persona, or empty for the first page
 * @param {string} title
 */
export function showAddress(stage, hash, title) {
  if (!isShown(stage)) return;
  document.title = title ? `${title} · ${BASE_TITLE}` : BASE_TITLE;
  if (window.location.hash === hash) return;
  window.history.pushState(null, "", window.location.pathname + window.location.search + hash);
}

/**
 * Return the id of the chat in the address; empty when it names none of this stage.
 * @param {Stage} stage
 */
export function chatInAddress(stage) {
  const found = /^#(\w+)=([\w.-]{1,200})$/.exec(window.location.hash);
  return found?.[1] === fieldOf(stage) ? (found[2] ?? "") : "";
}

/**
 * Show what the address says after Back and Forward.
 * @param {Stage} stage
 * @param {{ open(id: string): unknown, home(): unknown }} doors
 */
export function watchAddress(stage, doors) {
  window.addEventListener("popstate", () => {
    const id = chatInAddress(stage);
    if (id) openTab(stage);
    if (id && id !== stage.chat?.id) doors.open(id);
    else if (!window.location.hash && isShown(stage)) {
      stage.elements.dialog.close();
      if (stage.chat) doors.home();
    }
  });
}

/**
 * Open the tab of Gradio that holds this stage.
 * @param {Stage} stage
 */
export function openTab(stage) {
  if (isShown(stage)) return;
  /** @type {HTMLElement | null} */
  const tab = document.querySelector(`[role="tab"][data-tab-id="${stage.kind}-tab"]`);
  tab?.click();
}

/** @param {Stage} stage */
function fieldOf(stage) {
  return stage.kind === "scene" ? "cast" : "chat";
}

/** @param {Stage} stage */
function isShown(stage) {
  return stage.root.offsetParent !== null;
}
