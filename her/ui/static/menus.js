// @ts-check
// Pop-up menus with the keys of a menu button (WAI-ARIA APG, "Menu Button Pattern"), and the modal dialog.

import { find, make } from "./dom.js";

/**
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {[label: string, choose: () => unknown, chosen?: boolean]} MenuItem `chosen` is given for one of several choices
 */

const MENU_ID = "her-menu";
const MARGIN_PIXELS = 8;

/** @type {{ anchor: HTMLElement, close: () => void } | null} */
let open = null;

/**
 * Open a menu at its button, or close it when it is open there.
 * @param {Stage} stage
 * @param {HTMLElement} anchor
 * @param {MenuItem[]} items
 */
export function toggleMenu(stage, anchor, items) {
  const again = open?.anchor === anchor;
  open?.close();
  if (!again) openMenu(stage, anchor, items);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} anchor
 * @param {MenuItem[]} items
 */
function openMenu(stage, anchor, items) {
  const listening = new AbortController();
  const close = () => {
    listening.abort();
    menu.remove();
    anchor.setAttribute("aria-expanded", "false");
    anchor.removeAttribute("aria-controls");
    open = null;
  };
  const leave = () => {
    close();
    anchor.focus();
  };
  const entries = items.map(([label, choose, chosen]) => {
    const press = () => {
      leave();
      choose();
    };
    const radio = chosen !== undefined;
    const role = radio ? "menuitemradio" : "menuitem";
    const checked = radio ? String(chosen) : null;
    const attributes = { type: "button", role, "aria-checked": checked, tabindex: -1, onclick: press };
    return make("button", attributes, label);
  });
  const label = anchor.getAttribute("aria-label");
  const menu = make("div", { class: "her-menu", id: MENU_ID, role: "menu", "aria-label": label }, ...entries);
  menu.addEventListener("keydown", (event) => moveInMenu(event, entries, leave));
  // the click that opened the menu is still on its way to the document
  window.setTimeout(() => document.addEventListener("click", close, listening), 0);
  open = { anchor, close };
  anchor.setAttribute("aria-expanded", "true");
  anchor.setAttribute("aria-controls", MENU_ID);
  stage.root.append(menu);
  placeMenu(stage.root, anchor, menu);
  entries[0]?.focus();
}

/**
 * @param {KeyboardEvent} event
 * @param {HTMLElement[]} entries
 * @param {() => void} leave
 */
function moveInMenu(event, entries, leave) {
  event.stopPropagation(); // the keys of the page rest while a menu is open
  const at = entries.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  /** @type {Record<string, number>} */
  const steps = { ArrowDown: at + 1, ArrowUp: at - 1 + entries.length, Home: 0, End: entries.length - 1 };
  const step = steps[event.key];
  if (event.key === "Escape" || event.key === "Tab") leave();
  if (step === undefined) return;
  event.preventDefault();
  entries[step % entries.length]?.focus();
}

/**
 * Place the menu below its button, or above it where the page ends; never past the left or right edge.
 * @param {HTMLElement} root
 * @param {HTMLElement} anchor
 * @param {HTMLElement} menu
 */
function placeMenu(root, anchor, menu) {
  const frame = root.getBoundingClientRect();
  const button = anchor.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const rightmost = frame.width - width - MARGIN_PIXELS;
  const left = Math.max(MARGIN_PIXELS, Math.min(button.left - frame.left, rightmost));
  const below = button.bottom - frame.top;
  const top = below + height > frame.height ? button.top - frame.top - height : below;
  menu.style.left = `${left}px`;
  menu.style.top = `${top}px`;
}

/**
 * Open the dialog; its heading names it.
 * @param {Stage} stage
 * @param {...HTMLElement} children
 */
export function openDialog(stage, ...children) {
  const { dialog } = stage.elements;
  dialog.replaceChildren(...children);
  dialog.setAttribute("aria-label", find(dialog, "h2").textContent ?? "");
  dialog.showModal();
}
