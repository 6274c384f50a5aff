// @ts-check
// The first page: cards of the personas, with a search, and scenes from books.

import { authorDesk } from "./author.js";
import { button, hasAllWords, make, monogram } from "./dom.js";
import { missionCard } from "./missions.js";
import { openBook, openPersona } from "./openings.js";
import { word } from "./stage.js";

/**
 * @typedef {import("./openings.js").Enter} Enter
 * @typedef {import("./types.js").PersonaCard} PersonaCard
 * @typedef {import("./types.js").Stage} Stage
 */

/**
 * Draw the first page.
 * @param {Stage} stage
 * @param {Enter} enter
 */
export function paintFirstPage(stage, enter) {
  const filter = make("input", {
    type: "search",
    placeholder: word(stage, "search"),
    "aria-label": word(stage, "search"),
  });
  const cards = stage.boot.personas.map((persona) => personaCard(stage, persona, enter));
  const nobody = make("p", { class: "note", hidden: true }, word(stage, "no_match"));
  const sift = () => siftCards(stage, cards, nobody, filter.value);
  filter.addEventListener("input", sift);
  const page = make(
    "div",
    { class: "page" },
    missionCard(stage, enter),
    authorDesk(stage),
    make("h1", {}, word(stage, "welcome")),
    make("p", { class: "lead" }, word(stage, "welcome_more")),
    make("div", { class: "sift" }, filter, languageButtons(stage, sift)),
    make("div", { class: "grid" }, ...cards),
    nobody,
    bookShelf(stage, enter),
  );
  stage.elements.home.replaceChildren(page);
  sift();
}

/**
 * Show the personas of the chosen language that match a text.
 * @param {Stage} stage
 * @param {HTMLElement[]} cards in the order of the personas
 * @param {HTMLElement} nobody the note for no match
 * @param {string} text
 */
function siftCards(stage, cards, nobody, text) {
  const shelf = stage.memory.recall("shelf") || "";
  stage.boot.personas.forEach(({ id, language, name, source, tagline, tags }, index) => {
    // the id is the name in Latin letters: lin-daiyu
    const words = [name, source, tagline, ...tags, id, id.replaceAll("-", "")].join(" ");
    const card = cards[index];
    if (card) card.hidden = !((!shelf || language === shelf) && hasAllWords(words, text));
  });
  nobody.hidden = cards.some((card) => !card.hidden);
}

/**
 * @param {Stage} stage
 * @param {() => void} sift
 */
function languageButtons(stage, sift) {
  const shelves = [
    ["", word(stage, "everyone")],
    ["en", "English"],
    ["zh", "中文"],
  ];
  const chosen = stage.memory.recall("shelf") || "";
  const buttons = shelves.map(([code = "", label = ""]) => {
    const press = () => {
      stage.memory.keep("shelf", code);
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === node));
      sift();
    };
    const node = button(label, press, { "data-language": code, "aria-pressed": String(code === chosen) });
    return node;
  });
  return make("div", { class: "languages", role: "group" }, ...buttons);
}

/**
 * @param {Stage} stage
 * @param {PersonaCard} persona
 * @param {Enter} enter
 */
function personaCard(stage, persona, enter) {
  return make(
    "button",
    {
      type: "button",
      class: "card",
      lang: persona.language,
      "data-persona": persona.id,
      onclick: () => openPersona(stage, persona, enter),
    },
    monogram(persona.letters, persona.colour),
    make(
      "span",
      { class: "text" },
      make("strong", {}, persona.name),
      make("small", {}, persona.source),
      make("span", {}, persona.tagline),
    ),
  );
}

/**
 * @param {Stage} stage
 * @param {Enter} enter
 */
function bookShelf(stage, enter) {
  const { books } = stage.boot;
  if (books.length === 0) return null;
  const cards = books.map((book, index) => {
    const count = word(stage, "scene_count").replace("{n}", String(book.scenes.length));
    return make(
      "button",
      { type: "button", class: "card book", "data-book": index, onclick: () => openBook(stage, book, enter) },
      make("span", { class: "text" }, make("strong", {}, book.title), make("small", {}, count)),
    );
  });
  const heading = make("h2", {}, word(stage, "from_books"));
  return make("section", { class: "books" }, heading, make("div", { class: "grid" }, ...cards));
}
