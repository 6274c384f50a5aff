// @ts-check
// The first page of the scenes: choose a cast of personas, or a scene from a book, who you are, and who starts.

import { find, findAll, make, monogram } from "./dom.js";
import { MODES } from "./scene_bar.js";
import { isRefusal, word } from "./stage.js";

/**
 * @typedef {import("./types.js").NextSpeaker} NextSpeaker
 * @typedef {import("./types.js").OpenedChat} OpenedChat
 * @typedef {import("./types.js").PersonaCard} PersonaCard
 * @typedef {import("./types.js").Refusal} Refusal
 * @typedef {import("./types.js").ShelvedScene} ShelvedScene
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {(patch: OpenedChat, first: string) => void} EnterScene opens a scene; `first` is who starts, or empty
 * @typedef {{ next_speaker: NextSpeaker, narrator: boolean }} Rules
 */

const FEWEST = 2;
const MOST = 6;
const MYSELF = " "; // no character has this name
const LONGEST_NAME = 60;

/**
 * Draw the first page of the scenes.
 * @param {Stage} stage
 * @param {EnterScene} enter
 */
export function paintSceneHome(stage, enter) {
  const page = make(
    "div",
    { class: "page scene-setup" },
    make("h1", {}, word(stage, "scene_welcome")),
    make("p", { class: "lead" }, word(stage, "scene_welcome_more")),
    ownScene(stage, enter),
    bookScene(stage, enter),
  );
  stage.elements.home.replaceChildren(page);
}

/**
 * Return the form of a scene with personas.
 * @param {Stage} stage
 * @param {EnterScene} enter
 */
function ownScene(stage, enter) {
  const cards = stage.boot.personas.map((persona) => personaTick(persona));
  const name = make("input", {
    maxlength: LONGEST_NAME,
    value: stage.memory.recall("name") ?? "",
    placeholder: word(stage, "visitor"),
    "aria-label": word(stage, "your_name"),
    autocomplete: "nickname",
  });
  const named = field(word(stage, "your_name"), name);
  const me = make("select", {});
  const first = make("select", {});
  const place = make("select", {});
  const setting = make("p", { class: "setting note" });
  const rules = ruleFields(stage);
  const note = make("p", { class: "note" }, word(stage, "scene_own_hint"));
  const chosen = () => stage.boot.personas.filter((_, index) => isTicked(cards[index]));
  const paint = () => {
    const cast = chosen();
    const names = cast.map((persona) => persona.name);
    const others = new Set(cast.map((persona) => persona.language));
    stage.boot.personas.forEach((persona, index) => {
      const card = cards[index];
      const closed = cast.length >= MOST || (others.size > 0 && !others.has(persona.language));
      if (card) find(card, "input").toggleAttribute("disabled", closed && !isTicked(card));
    });
    repaint(me, [[MYSELF, word(stage, "i_myself")], ["", word(stage, "i_watch")], ...pairs(names)]);
    repaint(first, [["", word(stage, "whoever")], ...pairs(names)]);
    const places = stage.boot.scenes.filter(({ language }) => others.size === 0 || others.has(language));
    repaint(place, [["", word(stage, "no_scene")], ...places.map(({ id, title }) => pair(id, title))]);
    setting.textContent = places.find(({ id }) => id === place.value)?.setting ?? "";
    named.hidden = me.value !== MYSELF;
    begin.toggleAttribute("disabled", names.length + Number(me.value === MYSELF) < FEWEST);
  };
  const begin = make("button", { type: "submit", class: "primary" }, word(stage, "begin"));
  const form = setup(enter, first, () => {
    stage.memory.keep("name", name.value);
    const mine = me.value === MYSELF ? "" : me.value;
    return stage.api.act("start_scene", {
      personas: chosen().map((persona) => persona.id),
      scene: place.value,
      me: mine,
      name: me.value === MYSELF ? name.value || word(stage, "visitor") : "",
      ...rules.read(),
    });
  });
  form.append(
    make("h2", {}, word(stage, "scene_own")),
    note,
    make("div", { class: "ticks" }, ...cards),
    make(
      "div",
      { class: "two" },
      field(word(stage, "scene"), place),
      field(word(stage, "you_are"), me),
      field(word(stage, "who_starts"), first),
      named,
      ...rules.fields,
    ),
    setting,
    refusalLine(),
    make("div", { class: "row end" }, begin),
  );
  form.addEventListener("change", paint);
  paint();
  return form;
}

/**
 * Return the form of a scene from a book, or what to do when no book is open.
 * @param {Stage} stage
 * @param {EnterScene} enter
 */
function bookScene(stage, enter) {
  const heading = make("h2", {}, word(stage, "scene_from_book"));
  const { books } = stage.boot;
  const [firstBook] = books;
  if (!firstBook) {
    return make(
      "section",
      { class: "setup books" },
      heading,
      make("p", { class: "note" }, word(stage, "no_books")),
    );
  }
  const book = make(
    "select",
    {},
    ...books.map(({ title }, index) => make("option", { value: index }, title)),
  );
  const plot = make("select", {});
  const setting = make("p", { class: "setting note" });
  const ticks = make("div", { class: "ticks names" });
  const me = make("select", {});
  const first = make("select", {});
  const replay = make("input", { type: "range", min: 0, value: 0 });
  const shown = make("output", {});
  const rules = ruleFields(stage);
  const begin = make("button", { type: "submit", class: "primary" }, word(stage, "begin"));
  const scenes = () => (books[Number(book.value)] ?? firstBook).scenes;
  const scene = () => scenes().find(({ id }) => id === plot.value) ?? scenes()[0];
  const names = () => findAll(ticks, "input").flatMap((box) => (isChecked(box) ? [boxValue(box)] : []));
  const paintNames = () => {
    repaint(me, [["", word(stage, "i_watch")], ...pairs(names())]);
    repaint(first, [["", word(stage, "whoever")], ...pairs(names())]);
    const full = names().length >= MOST;
    for (const box of findAll(ticks, "input")) box.toggleAttribute("disabled", full && !isChecked(box));
    begin.toggleAttribute("disabled", names().length < FEWEST);
    shown.textContent = `${replay.value} / ${replay.max}`;
  };
  const paintScene = () => {
    const now = scene();
    setting.textContent = now?.setting ?? "";
    replay.max = String(now?.turns ?? 0);
    replay.value = "0";
    ticks.replaceChildren(...(now?.cast ?? []).map((name, index) => nameTick(name, index < MOST)));
    paintNames();
  };
  const paintBook = () => {
    repaint(
      plot,
      scenes().map(({ id, title }) => [id, title]),
    );
    paintScene();
  };
  const form = setup(enter, first, () =>
    stage.api.act("start_book_scene", {
      scenario: plot.value,
      names: names(),
      me: me.value,
      replay: Number(replay.value),
      ...rules.read(),
    }),
  );
  form.classList.add("books");
  book.addEventListener("change", paintBook);
  plot.addEventListener("change", paintScene);
  form.addEventListener("input", paintNames);
  form.append(
    heading,
    make("div", { class: "two" }, field(word(stage, "from_books"), book), field(word(stage, "plot"), plot)),
    setting,
    ticks,
    make(
      "div",
      { class: "two" },
      field(word(stage, "you_are"), me),
      field(word(stage, "who_starts"), first),
      ...rules.fields,
      make("label", { class: "field wide" }, make("span", {}, word(stage, "replay_first")), replay, shown),
    ),
    refusalLine(),
    make("div", { class: "row end" }, begin),
  );
  paintBook();
  return form;
}

/**
 * Return an empty form that begins a scene; a refusal is shown in it.
 * @param {EnterScene} enter
 * @param {HTMLSelectElement} first
 * @param {() => Promise<OpenedChat | Refusal>} submit
 */
function setup(enter, first, submit) {
  const begin = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const answer = await submit();
    const line = find(form, ".her-error");
    line.hidden = !isRefusal(answer);
    if (isRefusal(answer)) line.textContent = answer.error;
    else enter(answer, first.value);
  };
  const form = make("form", { class: "setup", onsubmit: begin });
  return form;
}

/**
 * Return the fields that say how the next speaker is chosen, and a function that reads them.
 * @param {Stage} stage
 */
function ruleFields(stage) {
  const mode = make(
    "select",
    {},
    ...MODES.map((name) => make("option", { value: name }, word(stage, `next_${name}`))),
  );
  const narrator = make("input", { type: "checkbox" });
  /** @returns {Rules} */
  const read = () => ({ next_speaker: /** @type {NextSpeaker} */ (mode.value), narrator: narrator.checked });
  const check = make("label", { class: "check" }, narrator, word(stage, "narrator"));
  return { fields: [field(word(stage, "who_next"), mode), check], read };
}

/** @param {PersonaCard} persona */
function personaTick(persona) {
  return make(
    "label",
    { class: "tick", lang: persona.language, title: persona.tagline },
    make("input", { type: "checkbox", value: persona.id }),
    monogram(persona.letters, persona.colour),
    make("span", {}, make("strong", {}, persona.name), make("small", {}, persona.source)),
  );
}

/**
 * @param {string} name
 * @param {boolean} checked
 */
function nameTick(name, checked) {
  return make(
    "label",
    { class: "tick" },
    make("input", { type: "checkbox", value: name, checked }),
    make("strong", {}, name),
  );
}

/** @param {HTMLElement | undefined} card */
function isTicked(card) {
  return card !== undefined && isChecked(find(card, "input"));
}

/** @param {HTMLElement} box */
function isChecked(box) {
  return /** @type {HTMLInputElement} */ (box).checked;
}

/** @param {HTMLElement} box */
function boxValue(box) {
  return /** @type {HTMLInputElement} */ (box).value;
}

function refusalLine() {
  return make("p", { class: "her-error", role: "alert", hidden: true });
}

/**
 * @param {string[]} names
 * @returns {[string, string][]}
 */
function pairs(names) {
  return names.map((name) => [name, name]);
}

/**
 * @param {string} value
 * @param {string} label
 * @returns {[string, string]}
 */
function pair(value, label) {
  return [value, label];
}

/**
 * Draw the options of a choice again; what was chosen stays chosen where it is still there.
 * @param {HTMLSelectElement} select
 * @param {[value: string, label: string][]} options
 */
function repaint(select, options) {
  const kept = select.options.length > 0 ? select.value : options[0]?.[0];
  select.replaceChildren(
    ...options.map(([value, label]) => make("option", { value, selected: value === kept }, label)),
  );
}

/**
 * @param {string} label
 * @param {HTMLElement} control
 */
function field(label, control) {
  return make("label", { class: "field" }, make("span", {}, label), control);
}
