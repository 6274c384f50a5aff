// @ts-check
// The text of a playtest, before anything is stored. The server refuses every other request until a person agrees to it.

import { button, find, make } from "./dom.js";
import { ask, word } from "./stage.js";

/** @typedef {import("./types.js").Stage} Stage */

const AGREED = "her-agreed";

/**
 * Show the text of the playtest and return when the person has agreed to it; at once where there is none to agree to.
 * @param {Stage} stage
 * @returns {Promise<void>}
 */
export async function askConsent(stage) {
  const { playtest } = stage.boot;
  if (!playtest?.consent) return;
  stage.root.classList.add("asks-consent");
  await new Promise((agreed) => {
    // both stages of the page ask; one answer is enough
    document.addEventListener(AGREED, () => agreed(null), { once: true });
    stage.elements.home.replaceChildren(consentPage(stage, playtest));
    stage.root.dataset.ready = "1";
  });
  stage.root.classList.remove("asks-consent");
}

/**
 * @param {Stage} stage
 * @param {import("./types.js").ShownPlaytest} playtest
 */
function consentPage(stage, playtest) {
  const said = make("p", { class: "note", role: "status", hidden: true }, word(stage, "disagreed"));
  const agree = button(word(stage, "agree"), () => sayYes(stage, playtest.version), {
    class: "primary agree",
  });
  const disagree = button(word(stage, "disagree"), () => {
    said.hidden = false;
  });
  const paragraphs = playtest.consent.split(/\n+/).map((line) => make("p", {}, line));
  return make(
    "section",
    { class: "page consent", "aria-label": playtest.name },
    make("div", { class: "row end" }, languageSwitch(stage)),
    make("h1", {}, playtest.name),
    make("div", { class: "text" }, ...paragraphs),
    make("div", { class: "row" }, agree, disagree),
    said,
  );
}

/** @param {Stage} stage */
function languageSwitch(stage) {
  const other = stage.language === "en" ? "zh" : "en";
  const press = () => {
    stage.memory.keep("language", other);
    window.location.reload();
  };
  return button(other === "zh" ? "中文" : "English", press, { lang: other });
}

/**
 * @param {Stage} stage
 * @param {string} version
 */
async function sayYes(stage, version) {
  if (!(await ask(stage, "agree", { version }))) return;
  document.dispatchEvent(new CustomEvent(AGREED));
  find(stage.root, ".her-home").scrollTop = 0;
}
