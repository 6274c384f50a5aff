// @ts-check
// Everything that is stored about the visitor: to download, and to delete.

import { button, make } from "./dom.js";
import { openDialog } from "./menus.js";
import { ask, saveFile, word } from "./stage.js";

/** @typedef {import("./types.js").Stage} Stage */

/**
 * Show what a person may do with what is stored about them.
 * @param {Stage} stage
 */
export function showMyRows(stage) {
  const download = button(word(stage, "download"), async () => {
    const file = await ask(stage, "my_rows", {});
    if (file) saveFile(stage, file);
  });
  const remove = button(word(stage, "delete_all"), () => deleteAll(stage), { class: "tool wordy danger" });
  openDialog(
    stage,
    make("h2", {}, word(stage, "my_rows")),
    make("p", { class: "setting" }, word(stage, "my_rows_help").replace("{name}", stage.boot.rater)),
    make("div", { class: "row" }, download, remove),
    make(
      "div",
      { class: "row end" },
      button(word(stage, "cancel"), () => stage.elements.dialog.close()),
    ),
  );
}

/**
 * Delete everything, and begin anew as another visitor.
 * @param {Stage} stage
 */
async function deleteAll(stage) {
  if (!window.confirm(word(stage, "delete_all_sure"))) return;
  if (!(await ask(stage, "delete_everything", {}))) return;
  stage.memory.forget();
  window.location.reload();
}
