// @ts-check
// The dialogs that begin a chat: with a persona, or in a scene of a book.

import { showAddress } from "./addresses.js";
import { button, findOptional, fragment, make, monogram } from "./dom.js";
import { openDialog } from "./menus.js";
import { ask, isRefusal, word } from "./stage.js";

/**
 * @typedef {import("./types.js").ShelvedBook} ShelvedBook
 * @typedef {import("./types.js").ShelvedScene} ShelvedScene
 * @typedef {import("./types.js").OpenedChat} OpenedChat
 * @typedef {import("./types.js").PersonaCard} PersonaCard
 * @typedef {import("./types.js").OfferedScene} OfferedScene
 * @typedef {import("./types.js").Refusal} Refusal
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {(patch: OpenedChat) => void} Enter opens the chat that a dialog has begun
 */

const LONGEST_NAME = 60;
const LONGEST_ABOUT = 300;

/**
 * Open the dialog that begins a chat with a persona.
 * @param {Stage} stage
 * @param {PersonaCard} persona
 * @param {Enter} enter
 * @param {string} [wanted] id of the scene that a link names
 */
export async function openPersona(stage, persona, enter, wanted = "") {
  const detail = await ask(stage, "persona", { persona: persona.id });
  if (!detail) return;
  const { scene, setting } = scenePicker(stage, detail.scenes, wanted);
  const name = make("input", {
    maxlength: LONGEST_NAME,
    value: stage.memory.recall("name") ?? "",
    placeholder: word(stage, "visitor"),
    autocomplete: "nickname",
  });
  const about = make("input", { maxlength: LONGEST_ABOUT });
  const submit = () => {
    stage.memory.keep("name", name.value);
    const greeting = chosenGreeting(form);
    const fields = {
      persona: persona.id,
      scene: scene.value,
      name: name.value,
      about: about.value,
      greeting,
    };
    return stage.api.act("start", fields);
  };
  const form = setupForm(
    stage,
    [
      personaHead(persona),
      make("p", { class: "profile", lang: persona.language }, detail.profile),
      field(word(stage, "scene"), scene),
      setting,
      field(word(stage, "your_name"), name),
      field(word(stage, "your_about"), about),
      greetingPicker(stage, persona, detail.greetings),
    ],
    submit,
    enter,
  );
  openDialog(stage, form);
  showAddress(stage, `#persona=${persona.id}`, persona.name);
  const left = () => {
    if (!stage.chat) showAddress(stage, "", "");
  };
  stage.elements.dialog.addEventListener("close", left, { once: true });
  name.focus();
}

/** @param {PersonaCard} persona */
function personaHead(persona) {
  const names = make(
    "div",
    {},
    make("h2", { lang: persona.language }, persona.name),
    make("small", {}, persona.source),
  );
  return make("header", {}, monogram(persona.letters, persona.colour), names);
}

/**
 * Return a choice of scenes and the paragraph that shows the setting of the chosen one.
 * @param {Stage} stage
 * @param {OfferedScene[]} scenes the ones that suit the persona first
 * @param {string} wanted id of the scene to choose, empty for the first that suits
 */
function scenePicker(stage, scenes, wanted) {
  const first = scenes.find(({ id }) => id === wanted) ?? scenes[0];
  /** @type {[string, string][]} */
  const titles = scenes.map(({ id, title }) => [id, title]);
  const scene = choice(
    [["", word(stage, "no_scene")], ...titles],
    first?.suits || wanted ? (first?.id ?? "") : "",
  );
  const setting = make("p", { class: "note setting" });
  const describe = () => {
    setting.textContent = scenes.find(({ id }) => id === scene.value)?.setting ?? "";
  };
  scene.addEventListener("change", describe);
  describe();
  return { scene, setting };
}

/**
 * @param {Stage} stage
 * @param {PersonaCard} persona
 * @param {string[]} greetings HTML of the server
 */
function greetingPicker(stage, persona, greetings) {
  if (greetings.length === 0) return null;
  const title = word(stage, "opening_line");
  const lines = greetings.map((html, index) => {
    const radio = make("input", { type: "radio", name: "greeting", value: index, checked: index === 0 });
    return make("label", { class: "greeting", lang: persona.language }, radio, fragment(html));
  });
  return make(
    "div",
    { class: "field" },
    make("span", {}, title),
    make("div", { class: "greetings", role: "radiogroup", "aria-label": title }, ...lines),
  );
}

/** @param {HTMLFormElement} form */
function chosenGreeting(form) {
  const radio = /** @type {HTMLInputElement | null} */ (findOptional(form, "input[name=greeting]:checked"));
  return Number(radio?.value ?? 0);
}

/**
 * Open the dialog that begins a scene of a book.
 * @param {Stage} stage
 * @param {ShelvedBook} book
 * @param {Enter} enter
 */
export function openBook(stage, book, enter) {
  const [first] = book.scenes;
  if (!first) return;
  /** @type {[string, string][]} */
  const titles = book.scenes.map(({ id, title }) => [id, title]);
  const plot = choice(titles, first.id);
  const setting = make("p", { class: "setting" });
  const place = make("div", { class: "two" });
  let cast = castPicker(stage, first);
  const paint = () => {
    const scene = book.scenes.find(({ id }) => id === plot.value) ?? first;
    cast = castPicker(stage, scene);
    setting.textContent = scene.setting;
    place.replaceChildren(...cast.fields);
  };
  plot.addEventListener("change", paint);
  paint();
  const submit = () => {
    const { me, model, replay } = cast;
    const replayed = Number(replay.value);
    return stage.api.act("start_book", {
      scenario: plot.value,
      me: me.value,
      model: model.value,
      replay: replayed,
    });
  };
  const head = [make("h2", {}, book.title), field(word(stage, "plot"), plot), setting, place];
  openDialog(stage, setupForm(stage, head, submit, enter));
}

/**
 * Return the choices of a scene: the two characters, and how many turns of the book are replayed first.
 * @param {Stage} stage
 * @param {ShelvedScene} scene
 */
function castPicker(stage, scene) {
  /** @type {[string, string][]} */
  const names = scene.cast.map((name) => [name, name]);
  const [first = "", second = first] = scene.cast;
  const model = choice(names, first);
  const me = choice(names, second);
  const replay = make("input", { type: "range", min: 0, max: scene.turns, value: 0 });
  const count = make("output", {}, `0 / ${scene.turns}`);
  replay.addEventListener("input", () => {
    count.textContent = `${replay.value} / ${scene.turns}`;
  });
  const title = make("span", {}, word(stage, "replay_first"));
  const fields = [
    field(word(stage, "you_are"), me),
    field(word(stage, "model_plays"), model),
    make("label", { class: "field wide" }, title, replay, count),
  ];
  return { fields, me, model, replay };
}

/**
 * Return the form of a dialog that begins a chat. A refusal is shown in the form.
 * @param {Stage} stage
 * @param {(Node | null)[]} head
 * @param {() => Promise<OpenedChat | Refusal>} submit
 * @param {Enter} enter
 */
function setupForm(stage, head, submit, enter) {
  const refusal = make("p", { class: "her-error", role: "alert", hidden: true });
  const begin = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const answer = await submit();
    if (!isRefusal(answer)) return enter(answer);
    refusal.textContent = answer.error;
    refusal.hidden = false;
  };
  const cancel = button(word(stage, "cancel"), () => stage.elements.dialog.close());
  const start = make("button", { type: "submit", class: "primary" }, word(stage, "begin"));
  const buttons = make("div", { class: "row end" }, cancel, start);
  return make("form", { class: "setup", onsubmit: begin }, ...head, refusal, buttons);
}

/**
 * @param {string} label
 * @param {HTMLElement} control
 */
function field(label, control) {
  return make("label", { class: "field" }, make("span", {}, label), control);
}

/**
 * @param {[value: string, label: string][]} pairs
 * @param {string} chosen
 */
function choice(pairs, chosen) {
  const options = pairs.map(([value, label]) => make("option", { value, selected: value === chosen }, label));
  return make("select", {}, ...options);
}
