// @ts-check
// Light, dark, or as the system has it. Gradio reads the class `dark` of the body, and so do the styles of the stage.

/**
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {"system" | "light" | "dark"} Theme
 */

/** @type {readonly Theme[]} */
export const THEMES = ["system", "light", "dark"];

/**
 * Return the theme that the person chose.
 * @param {Stage} stage
 * @returns {Theme}
 */
export function chosenTheme(stage) {
  const kept = stage.memory.recall("theme");
  return THEMES.find((theme) => theme === kept) ?? "system";
}

/**
 * @param {Stage} stage
 * @param {Theme} theme
 */
export function chooseTheme(stage, theme) {
  stage.memory.keep("theme", theme === "system" ? null : theme);
  paintTheme(stage);
}

/**
 * Show the chosen theme, and follow the system where that was chosen.
 * @param {Stage} stage
 */
export function watchTheme(stage) {
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paintTheme(stage));
  if (chosenTheme(stage) !== "system") paintTheme(stage);
}

/** @param {Stage} stage */
function paintTheme(stage) {
  const theme = chosenTheme(stage);
  const system = window.matchMedia("(prefers-color-scheme: dark)").matches;
  document.body.classList.toggle("dark", theme === "dark" || (theme === "system" && system));
}
