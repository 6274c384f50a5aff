// @ts-check
// Make and find elements. Server text is inserted as HTML only by `fragment`; all other text is set as text.

/** @typedef {string | number | boolean | null | undefined | ((event: any) => unknown)} AttributeValue */

export const LONG_WORD = 1000;
const MONOGRAM =
  '<svg class="monogram" viewBox="0 0 48 48" aria-hidden="true"><circle cx="24" cy="24" r="23"/>' +
  '<circle class="ring" cx="24" cy="24" r="20.5"/>' +
  '<text x="24" y="25" text-anchor="middle" dominant-baseline="central"></text></svg>';

/**
 * Return the first match; throw when there is none.
 * @param {ParentNode} from
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function find(from, selector) {
  const node = findOptional(from, selector);
  if (!node) throw new Error(`her: the page has no '${selector}'`);
  return node;
}

/**
 * Return the first match or null.
 * @param {ParentNode} from
 * @param {string} selector
 * @returns {HTMLElement | null}
 */
export function findOptional(from, selector) {
  return from.querySelector(selector);
}

/**
 * Return all matches.
 * @param {ParentNode} from
 * @param {string} selector
 * @returns {HTMLElement[]}
 */
export function findAll(from, selector) {
  return Array.from(from.querySelectorAll(selector));
}

/**
 * Create an element. A function under `on...` listens to that event; null, undefined and false set nothing.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, AttributeValue>} [attributes]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) setAttribute(node, key, value);
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}

/**
 * @param {HTMLElement} node
 * @param {string} key
 * @param {AttributeValue} value
 */
function setAttribute(node, key, value) {
  if (value === null || value === undefined || value === false) return;
  if (typeof value === "function") node.addEventListener(key.slice("on".length), value);
  // the attribute `value` sets only the default of a textarea and of a field that was touched
  else if (key === "value") Object.assign(node, { value: String(value) });
  else node.setAttribute(key, value === true ? "" : String(value));
}

/**
 * Create a button with a word on it.
 * @param {string} label
 * @param {(event: MouseEvent) => unknown} press
 * @param {Record<string, AttributeValue>} [attributes]
 */
export function button(label, press, attributes = {}) {
  return make("button", { type: "button", class: "tool wordy", onclick: press, ...attributes }, label);
}

/**
 * Parse HTML that is safe to insert: constant markup of these modules, or what the server escaped.
 * @param {string} html
 * @returns {DocumentFragment}
 */
export function fragment(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content;
}

/**
 * Draw a symbol of the sprite in stage.html.
 * @param {string} name
 * @param {string} shape class of the drawing
 */
export function icon(name, shape) {
  return fragment(
    `<svg class="${shape}" viewBox="0 0 24 24" aria-hidden="true"><use href="#her-${name}"></use></svg>`,
  );
}

/**
 * Draw the monogram of a persona.
 * @param {string} letters
 * @param {string} colour
 * @returns {Element}
 */
export function monogram(letters, colour) {
  const drawing = /** @type {Element} */ (fragment(MONOGRAM).firstElementChild);
  drawing.querySelector("circle")?.setAttribute("fill", colour);
  /** @type {Element} */ (drawing.querySelector("text")).textContent = letters;
  return drawing;
}

/**
 * Return the time of day of a Unix time in milliseconds.
 * @param {number} time
 */
export function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/**
 * Mark a node whose text has a word of LONG_WORD letters or more; base.css sets it without kerning. Where kerning joins
 * all letters of a word, Chromium cannot cut it into lines without shaping it again from its start: 30,000 letters take
 * 5 s with it and 12 ms without.
 * @param {Element} node
 * @param {string} text
 */
export function markLongWords(node, text) {
  // split is linear in the text; /\S{1000}/ starts again at each letter
  node.classList.toggle("long-word", text.length >= LONG_WORD && text.split(/\s/).some(isLong));
}

/**
 * Tell whether a text has all words of a search, in any order and in any form of upper and lower case.
 * @param {string} text
 * @param {string} wanted
 */
export function hasAllWords(text, wanted) {
  const all = text.toLowerCase();
  return wanted
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

/** @param {string} word */
function isLong(word) {
  return word.length >= LONG_WORD;
}
