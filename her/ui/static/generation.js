// @ts-check
// Start a reply, end it, and join it again when its stream falls silent.

import { giveBack, setText } from "./composer.js";
import { find, findAll, findOptional, make, markLongWords } from "./dom.js";
import { scrollToEnd } from "./follow.js";
import { ask, complain, suggest, word } from "./stage.js";
import { idOf } from "./turns.js";

/**
 * @typedef {import("./types.js").OpenedChat} OpenedChat
 * @typedef {import("./types.js").ChatPatch} ChatPatch
 * @typedef {import("./types.js").Run} Run
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {{ text: string, after: string | undefined }} Unanswered
 */

const SILENCE_MILLISECONDS = 12_000;
const CHECK_MILLISECONDS = 2_000;

/**
 * Send what is in the composer. It is drawn at once, as a turn that waits for the server.
 * @param {Stage} stage
 */
export function send(stage) {
  const text = stage.elements.box.value;
  if (!text.trim() || stage.running || !stage.chat) return;
  if (stage.voting) {
    suggest(stage, word(stage, "vote_first"));
    return;
  }
  setText(stage, "");
  stage.elements.turns.append(waitingTurn(stage.chat.visitor_name, text));
  scrollToEnd(stage);
  rememberUnanswered(stage, text);
  run(stage, "send", { chat: stage.chat.id, text });
}

/**
 * Send the visitor's own turn again with another text; its answer follows.
 * @param {Stage} stage
 * @param {string} node
 * @param {string} text
 */
export function sendEdited(stage, node, text) {
  if (!stage.chat) return;
  rememberUnanswered(stage, text);
  run(stage, "edit", { chat: stage.chat.id, node, text });
}

/**
 * Start or join a generation of the open chat.
 * @template {Run} Name
 * @param {Stage} stage
 * @param {Name} name
 * @param {import("./types.js").Runs[Name]} fields
 */
export function run(stage, name, fields) {
  complain(stage, "");
  suggest(stage, "");
  stage.later = "node" in fields ? laterTurns(stage, fields.node) : null;
  setRunning(stage, true);
  stage.lastPatch = Date.now();
  stage.directed = stage.director;
  if (name === "answer" || name === "continue" || name === "play") scrollToEnd(stage);
  stage.api.run(name, fields);
}

/**
 * @param {Stage} stage
 * @param {boolean} running
 */
export function setRunning(stage, running) {
  const { after, composer, turns } = stage.elements;
  stage.running = running;
  stage.root.classList.toggle("running", running);
  findOptional(after, ".answer")?.remove();
  find(composer, ".send").hidden = running || stage.chat?.scene?.me === "";
  find(composer, ".stop").hidden = !running;
  // whoever looks on at a scene has no text field, and needs the button that stops it
  if (stage.chat?.scene && !stage.chat.scene.me) find(composer, ".row").hidden = !running;
  if (running) return;
  for (const article of findAll(turns, ".live, .sending")) article.remove();
}

/**
 * End the running generation. The server may report the end twice (two streams); the text is given back once.
 * @param {Stage} stage
 * @param {Pick<ChatPatch, "error" | "give_back" | "hint" | "notice"> & { unreachable?: boolean }} end
 */
export function endRun(stage, end) {
  const first = stage.running;
  setRunning(stage, false);
  complain(stage, end.error || end.notice);
  if (first && end.give_back) giveBack(stage, end.give_back);
  if (!end.unreachable) forgetUnanswered(stage); // the server may have taken it: `wasTaken` finds out
  if (first) stage.ended(end);
  if (first && !end.error) offerLater(stage);
}

/**
 * Return the text that was sent and that no stored turn answers: the last turn is still the one it was sent after.
 * @param {Stage} stage
 * @param {string[]} order ids of the stored turns
 */
export function unansweredText(stage, order) {
  const sent = recallUnanswered(stage);
  return sent && order.at(-1) === sent.after ? sent.text : "";
}

/**
 * Tell whether a draft is on disk already: the server took it, was ended before its reply, and shows it now.
 * @param {Stage} stage
 * @param {string[]} order ids of the stored turns
 * @param {string} draft
 */
export function wasTaken(stage, order, draft) {
  const sent = recallUnanswered(stage);
  return sent !== null && draft === sent.text && order.length > 1 && order.at(-2) === sent.after;
}

/**
 * Return the turns below one that is to be played anew; null when there are none.
 * @param {Stage} stage
 * @param {string} node
 */
export function laterTurns(stage, node) {
  const turns = findAll(stage.elements.turns, ".turn:not(.live, .sending)").map(idOf);
  const at = turns.indexOf(node);
  const below = at < 0 ? [] : turns.slice(at + 1);
  // the answer to an edited line is replaced by a new one, so it alone is nothing that went away
  return below.length > 1 ? { count: below.length, last: below.at(-1) ?? "" } : null;
}

/**
 * Say where the turns went that stood below a turn that was played anew, with the way back to them.
 * @param {Stage} stage
 */
export function offerLater(stage) {
  const { chat, later } = stage;
  stage.later = null;
  if (!chat || !later) return;
  const sentence = word(stage, "later_turns").replace("{n}", String(later.count));
  suggest(stage, sentence, { label: word(stage, "show_them"), act: () => stage.show(later.last) });
}

/** @param {Stage} stage */
export function forgetUnanswered(stage) {
  if (stage.chat) stage.memory.keep(`sent.${stage.chat.id}`, null);
}

/**
 * Ask about a running generation whose stream is silent: the server may have stopped, or a phone may have slept through
 * the end.
 * @param {Stage} stage
 * @param {(patch: ChatPatch) => void} apply
 */
export function watchSilence(stage, apply) {
  window.setInterval(() => {
    if (Date.now() - stage.lastPatch > SILENCE_MILLISECONDS) rejoin(stage, apply);
  }, CHECK_MILLISECONDS);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) rejoin(stage, apply);
  });
}

/**
 * @param {Stage} stage
 * @param {(patch: ChatPatch) => void} apply
 */
async function rejoin(stage, apply) {
  const { chat } = stage;
  if (!chat || !stage.running) return;
  stage.lastPatch = Date.now();
  const patch = await ask(stage, "open", { chat: chat.id });
  if (!stage.running || stage.chat !== chat) return; // ended or left while the server answered
  if (!patch) endRun(stage, unreachable(stage));
  else if (patch.view.live) run(stage, "follow", { chat: chat.id });
  else apply({ ...patch, end: true, give_back: unansweredText(stage, patch.order) });
}

/**
 * Return the end of a generation whose server does not answer; `ask` has shown why.
 * @param {Stage} stage
 */
function unreachable(stage) {
  // without the word on the button behind it
  const sentence = find(stage.elements.composer, ".her-error").firstChild?.textContent ?? "";
  return { error: sentence, give_back: recallUnanswered(stage)?.text ?? "", unreachable: true };
}

/**
 * @param {string} speaker
 * @param {string} text
 */
function waitingTurn(speaker, text) {
  const line = make("p", { class: "lines" }, make("span", { class: "speech" }, text));
  const article = make(
    "article",
    { class: "turn mine sending" },
    make("header", {}, make("h3", {}, speaker)),
    make("div", { class: "body" }, line),
  );
  markLongWords(article, text);
  return article;
}

/**
 * Remember a text until it is answered, with the turn it followed: the page may be left meanwhile.
 * @param {Stage} stage
 * @param {string} text
 */
function rememberUnanswered(stage, text) {
  const stored = findAll(stage.elements.turns, ".turn:not(.live, .sending)").at(-1);
  /** @type {Unanswered} */
  const unanswered = { text, after: stored && idOf(stored) };
  if (stage.chat) stage.memory.keep(`sent.${stage.chat.id}`, JSON.stringify(unanswered));
}

/**
 * @param {Stage} stage
 * @returns {Unanswered | null}
 */
function recallUnanswered(stage) {
  return stage.chat && JSON.parse(stage.memory.recall(`sent.${stage.chat.id}`) || "null");
}
