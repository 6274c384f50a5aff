// @ts-check
// Write personas (`her play --author`): the files that are faulty, and a form with a preview that writes the YAML.

import { button, fragment, make, monogram } from "./dom.js";
import { openDialog } from "./menus.js";
import { ask, isRefusal, word } from "./stage.js";

/**
 * @typedef {import("./types.js").FaultyFile} FaultyFile
 * @typedef {import("./types.js").PersonaDraft} PersonaDraft
 * @typedef {import("./types.js").PersonaFields} PersonaFields
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Control
 */

const PAUSE_MILLISECONDS = 350;
const LINES = /** @type {const} */ (["name", "source", "tagline", "tags"]);
const TEXTS = /** @type {const} */ (["profile", "background", "voice", "motivation", "greetings"]);

/**
 * Return the desk of the first page; null where the playground was not started for a writer.
 * @param {Stage} stage
 */
export function authorDesk(stage) {
  if (!stage.boot.author) return null;
  const options = stage.boot.personas.map(({ id, name }) => make("option", { value: id }, name));
  const chosen = make("select", { "aria-label": word(stage, "author") }, ...options);
  const faults = make("div", { class: "faults", "aria-live": "polite" });
  ask(stage, "author", { persona: "" }).then((page) =>
    faults.replaceChildren(...faultList(stage, page?.faults ?? [])),
  );
  const row = make(
    "div",
    { class: "row" },
    button(word(stage, "author_new"), () => openForm(stage, ""), { class: "primary" }),
    chosen,
    button(word(stage, "author_edit"), () => openForm(stage, chosen.value)),
  );
  return make("section", { class: "author-desk" }, make("h2", {}, word(stage, "author")), row, faults);
}

/**
 * @param {Stage} stage
 * @param {FaultyFile[]} faults
 */
function faultList(stage, faults) {
  if (!faults.length) return [];
  const lines = faults.map(({ file, problem }) => make("li", { "data-file": file }, problem));
  return [make("p", {}, word(stage, "author_faults")), make("ul", {}, ...lines)];
}

/**
 * Open the form.
 * @param {Stage} stage
 * @param {string} persona id; empty for a new one
 */
async function openForm(stage, persona) {
  const page = await ask(stage, "author", { persona });
  if (!page) return;
  const controls = controlsOf(persona ? page.fields : { ...page.fields, language: stage.language });
  const preview = make("div", { class: "preview", "aria-live": "polite" });
  const refusal = make("p", { class: "her-error", role: "alert", hidden: true });
  const draft = async () => {
    const fields = fieldsIn(controls);
    const answer = await stage.api.act("draft_persona", { persona, fields });
    if (!isRefusal(answer)) preview.replaceChildren(...previewOf(stage, answer, fields));
    refusal.textContent = isRefusal(answer) ? answer.error : "";
    refusal.hidden = !isRefusal(answer);
  };
  let timer = 0;
  const later = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(draft, PAUSE_MILLISECONDS);
  };
  const save = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const fields = fieldsIn(controls);
    const answer = await stage.api.act("save_persona", { persona, fields, replace: Boolean(persona) });
    if (!isRefusal(answer)) return window.location.reload();
    refusal.textContent = answer.error;
    refusal.hidden = false;
  };
  const buttons = make(
    "div",
    { class: "row end" },
    button(word(stage, "cancel"), () => stage.elements.dialog.close()),
    make("button", { type: "submit", class: "primary" }, word(stage, "save")),
  );
  const lines = [...controls].map(([name, control]) => field(word(stage, `field_${name}`), control));
  const form = make(
    "form",
    { class: "author-form", oninput: later, onsubmit: save },
    make("div", { class: "fields" }, ...lines),
    preview,
    refusal,
    buttons,
  );
  openDialog(stage, make("h2", {}, persona || word(stage, "author_new")), form);
  draft();
}

/**
 * Return the controls of the form by field.
 * @param {PersonaFields} fields
 * @returns {Map<string, Control>}
 */
function controlsOf(fields) {
  /** @type {Map<string, Control>} */
  const controls = new Map();
  for (const name of LINES) {
    const value = name === "tags" ? fields.tags.join(", ") : fields[name];
    controls.set(name, make("input", { name, value, autocomplete: "off" }));
  }
  const languages = [
    make("option", { value: "en", selected: fields.language === "en" }, "English"),
    make("option", { value: "zh", selected: fields.language === "zh" }, "中文"),
  ];
  controls.set("language", make("select", { name: "language" }, ...languages));
  controls.set("colour", make("input", { name: "colour", type: "color", value: fields.colour || "#5b4a6b" }));
  for (const name of TEXTS) {
    const value = name === "greetings" ? fields.greetings.join("\n\n") : fields[name];
    controls.set(name, make("textarea", { name, value: value.trim(), rows: name === "voice" ? 2 : 4 }));
  }
  return controls;
}

/**
 * @param {Map<string, Control>} controls
 * @returns {PersonaFields}
 */
function fieldsIn(controls) {
  const value = (/** @type {string} */ name) => controls.get(name)?.value ?? "";
  return {
    name: value("name"),
    source: value("source"),
    language: value("language") === "zh" ? "zh" : "en",
    tagline: value("tagline"),
    colour: value("colour"),
    tags: value("tags").split(/[,，、]/),
    profile: value("profile"),
    background: value("background"),
    voice: value("voice"),
    motivation: value("motivation"),
    greetings: value("greetings").split(/\n[ \t]*\n/),
  };
}

/**
 * @param {Stage} stage
 * @param {PersonaDraft} draft
 * @param {PersonaFields} fields
 */
function previewOf(stage, draft, fields) {
  const names = make(
    "span",
    { class: "text" },
    make("strong", {}, fields.name),
    make("small", {}, fields.source),
  );
  names.append(make("span", {}, fields.tagline));
  const card = make(
    "div",
    { class: "card", lang: fields.language },
    monogram(draft.letters, fields.colour),
    names,
  );
  const greetings = draft.greetings.map((html) =>
    make("div", { class: "greeting", lang: fields.language }, fragment(html)),
  );
  const problems = draft.problems.map((problem) => make("li", {}, problem));
  const verdict = problems.length
    ? make("ul", { class: "problems", role: "alert" }, ...problems)
    : make("p", { class: "right", role: "status" }, word(stage, "author_right"));
  const file = make("details", {}, make("summary", {}, `${word(stage, "author_file")} ${draft.id}.yaml`));
  file.append(make("pre", {}, draft.yaml));
  return [make("h3", {}, word(stage, "author_preview")), card, ...greetings, verdict, file];
}

/**
 * @param {string} label
 * @param {HTMLElement} control
 */
function field(label, control) {
  return make("label", { class: "field" }, make("span", {}, label), control);
}
