// @ts-check
// Create the state that the modules share, and show what the server refuses.

import { createApi } from "./api.js";
import { button, find, make } from "./dom.js";
import { createMemory, visitorToken } from "./memory.js";

/**
 * @typedef {import("./types.js").Act} Act
 * @typedef {import("./types.js").Boot} Boot
 * @typedef {import("./types.js").Doors} Doors
 * @typedef {import("./types.js").Elements} Elements
 * @typedef {import("./types.js").Language} Language
 * @typedef {import("./types.js").Memory} Memory
 * @typedef {import("./types.js").PanelKind} PanelKind
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {import("./types.js").StageKind} StageKind
 * @typedef {{ label: string, act: () => unknown }} Offer what may be done, and its word
 */

/** @type {readonly PanelKind[]} */
export const PANELS = ["role_thinking", "system_thinking"];
/** Acts that change a chat; the other tabs are told of them. */
/** @type {ReadonlySet<string>} */
const CHANGES = new Set(
  "say move swipe keep edit delete rename replay select restore delete_chat restore_chat".split(" "),
);
const TOAST_MILLISECONDS = 4000;
const OFFER_MILLISECONDS = 12_000;
const UNREACHABLE = "The server cannot be reached."; // until the words of the interface are there
/** @type {Boot} */
const BEFORE_BOOT = {
  words: {},
  rubric: { id: "", dimensions: [], tags: [] },
  personas: [],
  books: [],
  scenes: [],
  badge: "",
  scripted: false,
  notice: "",
  safety: null,
  rater: "",
  playtest: null,
  author: false,
};

/**
 * Create the shared state of a page.
 * @param {HTMLElement} element the element that Gradio drew stage.html in
 * @param {Doors} doors
 * @param {StageKind} kind
 * @returns {Stage}
 */
export function createStage(element, doors, kind) {
  const root = find(element, ".her");
  const memory = createMemory(kind);
  const language = preferredLanguage(memory);
  const lostConnection = () => stage.words.lost_connection ?? UNREACHABLE;
  /** @type {Stage} */
  const stage = {
    root,
    kind,
    elements: elementsOf(root),
    memory,
    api: createApi(doors, visitorToken(memory), language, lostConnection, memory),
    language,
    boot: BEFORE_BOOT,
    words: {},
    panels: rememberedPanels(memory),
    chat: null,
    running: false,
    director: true,
    directed: true,
    auto: 0,
    rated: null,
    following: true,
    tell: () => {},
    reload: () => {},
    later: null,
    show: () => {},
    ended: () => {},
    drawn: () => {},
    chosen: null,
    ballot: null,
    voting: false,
    ballotKeys: null,
    lastPatch: 0,
  };
  return stage;
}

/**
 * @param {HTMLElement} root
 * @returns {Elements}
 */
function elementsOf(root) {
  return {
    home: find(root, ".her-home"),
    turns: find(root, ".her-turns"),
    before: find(root, ".her-before"),
    after: find(root, ".her-after"),
    scroll: find(root, ".her-scroll"),
    drawer: find(root, ".her-drawer"),
    box: /** @type {HTMLTextAreaElement} */ (find(root, ".her-composer textarea")),
    composer: /** @type {HTMLFormElement} */ (find(root, ".her-composer")),
    dialog: /** @type {HTMLDialogElement} */ (find(root, ".her-dialog")),
  };
}

/**
 * @param {Memory} memory
 * @returns {Language}
 */
function preferredLanguage(memory) {
  const kept = memory.recall("language");
  if (kept === "en" || kept === "zh") return kept;
  return (navigator.language || "en").startsWith("zh") ? "zh" : "en";
}

/** @param {Memory} memory */
function rememberedPanels(memory) {
  const kept = (memory.recall("panels") ?? "role_thinking").split(" ");
  return new Set(PANELS.filter((kind) => kept.includes(kind)));
}

/**
 * Return a word of the interface.
 * @param {Stage} stage
 * @param {string} name key of her/ui/words.py
 */
export function word(stage, name) {
  return stage.words[name] ?? name;
}

/**
 * Ask the server. Return its answer, or null after its refusal was shown.
 * @template {Act} Name
 * @param {Stage} stage
 * @param {Name} name
 * @param {import("./types.js").Fields<Name>} fields
 * @returns {Promise<import("./types.js").Answer<Name> | null>}
 */
export async function ask(stage, name, fields) {
  const answer = await stage.api.act(name, fields);
  if (!isRefusal(answer)) {
    if ("chat" in fields && CHANGES.has(name)) stage.tell(String(fields.chat));
    return answer;
  }
  // an open dialog covers the line above the composer
  if (stage.chat && !stage.elements.dialog.open) complain(stage, answer.error);
  else toast(stage, answer.error);
  return null;
}

/**
 * Return true for a refusal: an answer with a sentence that says why.
 * @param {object} answer
 * @returns {answer is import("./types.js").Refusal}
 */
export function isRefusal(answer) {
  return "error" in answer && Boolean(answer.error);
}

/**
 * Show a sentence above the composer; an empty one removes it.
 * @param {Stage} stage
 * @param {string | undefined} sentence
 */
export function complain(stage, sentence) {
  const line = find(stage.elements.composer, ".her-error");
  const lost = sentence && sentence === stage.words.lost_connection;
  const retry = lost ? [" ", offerButton(line, { label: word(stage, "retry"), act: stage.reload })] : [];
  line.replaceChildren(sentence ?? "", ...retry);
  line.hidden = !sentence;
}

/**
 * Show above the composer what a person may do next, with a button for it; an empty sentence removes it.
 * @param {Stage} stage
 * @param {string} sentence
 * @param {Offer | null} [offer]
 */
export function suggest(stage, sentence, offer = null) {
  const line = find(stage.elements.composer, ".her-hint");
  line.replaceChildren(sentence, ...(offer ? [" ", offerButton(line, offer)] : []));
  line.hidden = !sentence;
}

/**
 * @param {HTMLElement} line that goes when the button is pressed
 * @param {Offer} offer
 */
function offerButton(line, { label, act }) {
  return button(label, () => {
    line.hidden = true;
    act();
  });
}

/**
 * Return true while the thoughts of others are closed to the person: in a scene, without the director's view.
 * @param {Stage} stage
 */
export function hidesThoughts(stage) {
  return Boolean(stage.chat?.scene) && !stage.director;
}

/**
 * Return true when a layer is shown on every turn.
 * @param {Stage} stage
 * @param {PanelKind} kind
 */
export function showsPanel(stage, kind) {
  return stage.panels.has(kind) && !hidesThoughts(stage);
}

let toastTimer = 0;

/**
 * Show a sentence for some seconds, with a button for what may be done about it.
 * @param {Stage} stage
 * @param {string} sentence
 * @param {Offer | null} [offer]
 */
export function toast(stage, sentence, offer = null) {
  const line = find(stage.root, ".her-toast");
  line.replaceChildren(sentence, ...(offer ? [" ", offerButton(line, offer)] : []));
  line.hidden = false;
  window.clearTimeout(toastTimer);
  toastTimer = window.setTimeout(
    () => {
      line.hidden = true;
    },
    offer ? OFFER_MILLISECONDS : TOAST_MILLISECONDS,
  );
}

/**
 * Save a file of the server's to the visitor's disk.
 * @param {Stage} stage
 * @param {import("./types.js").ExportedFile} file
 */
export function saveFile(stage, file) {
  const address = URL.createObjectURL(new Blob([file.text], { type: "text/plain" }));
  make("a", { href: address, download: file.name }).click();
  URL.revokeObjectURL(address);
  toast(stage, word(stage, "copied"));
}
