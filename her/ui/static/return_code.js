// @ts-check
// The code of a visitor: to come back where the browser keeps nothing, and to go on at another device.

import { button, make } from "./dom.js";
import { becomeVisitor, isCode, visitorToken } from "./memory.js";
import { openDialog } from "./menus.js";
import { word } from "./stage.js";

/** @typedef {import("./types.js").Stage} Stage */

/**
 * Show the code of this visitor, and take the code of another device.
 * @param {Stage} stage
 */
export function showCode(stage) {
  const own = make("textarea", { readonly: true, rows: 2, class: "code" });
  own.value = visitorToken(stage.memory);
  own.addEventListener("focus", () => own.select());
  const other = make("input", { class: "code", autocomplete: "off", spellcheck: "false" });
  const wrong = make("p", { class: "her-error", role: "alert", hidden: true });
  const go = (/** @type {Event} */ event) => {
    event.preventDefault();
    const code = other.value.trim().toLowerCase();
    wrong.hidden = isCode(code);
    wrong.textContent = word(stage, "bad_code");
    if (isCode(code)) becomeVisitor(stage.memory, code);
  };
  const buttons = make(
    "div",
    { class: "row end" },
    button(word(stage, "cancel"), () => stage.elements.dialog.close()),
    make("button", { type: "submit", class: "primary" }, word(stage, "use_code")),
  );
  openDialog(
    stage,
    make("h2", {}, word(stage, "other_device")),
    make("p", { class: "setting" }, word(stage, "code_help")),
    field(word(stage, "your_code"), own),
    make("form", { onsubmit: go }, field(word(stage, "other_code"), other), wrong, buttons),
  );
}

/**
 * @param {string} label
 * @param {HTMLElement} input
 */
function field(label, input) {
  return make("label", { class: "field" }, make("span", {}, label), input);
}
