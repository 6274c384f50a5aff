// @ts-check
// Two replies side by side, and the vote on them. The page knows them as A, shown first, and B: who wrote which is not sent.

import { button, clock, find, findAll, fragment, make, markLongWords } from "./dom.js";
import { run } from "./generation.js";
import { apply } from "./patches.js";
import { ask, suggest, toast, word } from "./stage.js";
import { paintPeeks } from "./toggles.js";
import { seenOf } from "./turns.js";

/**
 * @typedef {import("./types.js").ChatPatch} ChatPatch
 * @typedef {import("./types.js").Place} Place
 * @typedef {import("./types.js").ShownBallot} ShownBallot
 * @typedef {import("./types.js").Stage} Stage
 * @typedef {import("./types.js").Winner} Winner
 * @typedef {{ id: string, winner: Winner | "", dimensions: Set<string>, why: Set<string>, comment: string }} Draft
 */

const ID_BYTES = 16;
/** @type {readonly [Place, Place]} */
const PLACES = ["first", "second"];
/** @type {readonly [Winner, string, string][]} */
const ANSWERS = [
  ["first", "a_better", "a"],
  ["second", "b_better", "b"],
  ["tie", "tie", "="],
  ["both_bad", "both_bad", "0"],
];
const MOST_WHY = 8;
/** Share of the window below which a turn is short. */
const SHORT = 0.3;

/** What a person has chosen and not saved, by ballot: it outlives a drawing of the page. */
/** @type {Map<string, Draft>} */
const drafts = new Map();

/**
 * Draw what the server says of the two replies; null removes them.
 * @param {Stage} stage
 * @param {ShownBallot | null} ballot
 */
export function drawBallot(stage, ballot) {
  const old = stage.root.querySelector(".her-ballot");
  stage.ballotKeys = null;
  if (!ballot) {
    old?.remove();
    return;
  }
  const section = old instanceof HTMLElement ? old : addSection(stage);
  const isSame = section.dataset.ballot === ballot.id && section.dataset.state === ballot.state;
  if (isSame && ballot.state !== "writing") {
    stage.ballotKeys = keysOf(stage, section, ballot); // it is drawn already, with what the person has opened in it
    return;
  }
  section.dataset.ballot = ballot.id;
  section.dataset.state = ballot.state;
  section.toggleAttribute("data-repeat", ballot.repeat);
  section.lang = stage.language;
  const moves = section.dataset.shown !== `${ballot.id} ${ballot.state}`;
  section.dataset.shown = `${ballot.id} ${ballot.state}`;
  drawQuestion(stage, section, ballot);
  drawSides(stage, section, ballot);
  drawAnswers(stage, section, ballot);
  if (moves && !ballot.repeat) showFromTop(stage, section);
}

/**
 * Scroll to the beginning of the two replies, with the line that they answer where it is short.
 * @param {Stage} stage
 * @param {HTMLElement} section
 */
function showFromTop(stage, section) {
  const { scroll, turns } = stage.elements;
  const last = turns.lastElementChild;
  const isShort = last && last.clientHeight < scroll.clientHeight * SHORT;
  (isShort ? last : section).scrollIntoView({ block: "start" });
  // nothing is being typed: the keys of the vote work at once, and a phone puts its keyboard away
  const { box } = stage.elements;
  if (document.activeElement === box && !box.value) section.focus({ preventScroll: true });
}

/** @param {Stage} stage */
function addSection(stage) {
  const title = make("p", { class: "ask", role: "status" });
  const [first, second] = ["a", "b"].map((letter) =>
    make(
      "div",
      { class: "place", role: "group", "aria-label": word(stage, `reply_${letter}`) },
      make("div", { class: "letter", "aria-hidden": "true" }, letter.toUpperCase()),
      make("div", { class: "reply" }),
    ),
  );
  const section = make(
    "section",
    { class: "her-ballot", tabindex: -1 },
    title,
    make("blockquote", { class: "asked", hidden: true }),
    make("div", { class: "sides" }, first, second),
    make("div", { class: "answers" }),
  );
  stage.elements.after.before(section);
  document.addEventListener("visibilitychange", () => {
    // another tab may have voted meanwhile
    if (!document.hidden && section.isConnected && stage.voting) drawAnew(stage);
  });
  return section;
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 */
function drawQuestion(stage, section, ballot) {
  const name = {
    writing: "pair_writing",
    vote: ballot.repeat ? "pair_again" : "pair_ask",
    choice: "pair_choose",
  };
  const title = find(section, ".ask");
  if (title.textContent !== word(stage, name[ballot.state]))
    title.textContent = word(stage, name[ballot.state]);
  section.setAttribute("aria-label", word(stage, name[ballot.state]));
  const asked = find(section, ".asked");
  asked.hidden = !ballot.question;
  asked.replaceChildren();
  if (ballot.question) asked.append(make("b", {}, ballot.question.speaker), ` ${ballot.question.text}`);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 */
function drawSides(stage, section, ballot) {
  findAll(section, ".reply").forEach((holder, index) => {
    const fresh = /** @type {HTMLElement} */ (fragment(ballot.sides[index] ?? "").firstElementChild);
    const old = holder.firstElementChild;
    const opened = old ? Array.from(old.classList).filter((name) => /^(open|shut)-/.test(name)) : [];
    fresh.classList.add(...opened);
    if (ballot.id) fresh.dataset.id = `${ballot.id}-${PLACES[index]}`;
    markLongWords(fresh, fresh.textContent ?? "");
    holder.replaceChildren(fresh);
  });
  if (ballot.state === "writing") return;
  for (const side of findAll(section, ".side")) paintPeeks(stage, side);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 */
function drawAnswers(stage, section, ballot) {
  const answers = find(section, ".answers");
  answers.replaceChildren();
  if (ballot.state === "vote")
    answers.append(verdicts(stage, section, ballot), reasons(stage, section, ballot));
  if (ballot.state === "choice") answers.append(choices(stage, section, ballot, true));
  stage.ballotKeys = keysOf(stage, section, ballot);
  paintDraft(section, draftOf(ballot));
}

// ---- the vote ------------------------------------------------------------------------------------------------

/**
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 */
function verdicts(stage, section, ballot) {
  const buttons = ANSWERS.map(([winner, name, key]) =>
    button(word(stage, name), () => choose(section, ballot, winner), {
      class: "verdict",
      "data-winner": winner,
      "aria-pressed": "false",
      "aria-keyshortcuts": key,
    }),
  );
  const skip = button(word(stage, "skip_vote"), () => skipVote(stage, section, ballot), {
    class: "tool wordy skip",
    "aria-keyshortcuts": "s",
  });
  return make("div", { class: "verdicts", role: "group", title: word(stage, "vote_keys") }, ...buttons, skip);
}

/**
 * Draw what may be said of a vote, and the button that saves it.
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 */
function reasons(stage, section, ballot) {
  const draft = draftOf(ballot);
  const { dimensions } = stage.boot.rubric;
  const chips = dimensions.map(({ id, label, hint }) => chip(label, hint, draft.dimensions, id));
  const more = make("details", { class: "more" }, make("summary", {}, word(stage, "more_reasons")));
  more.addEventListener("toggle", () => more.open && fillReasons(stage, more, draft), { once: true });
  const note = word(stage, "comment");
  const comment = make("textarea", { rows: 1, "aria-label": note, placeholder: note, value: draft.comment });
  comment.addEventListener("input", () => {
    draft.comment = comment.value;
  });
  const save = button(word(stage, "vote_save"), () => saveVote(stage, section, ballot), {
    class: "primary save",
  });
  return make(
    "div",
    { class: "why", hidden: true },
    make("p", { class: "note" }, word(stage, "vote_why")),
    make("div", { class: "tags dimensions" }, ...chips),
    more,
    comment,
    save,
  );
}

/**
 * @param {string} label
 * @param {string} hint
 * @param {Set<string>} chosen
 * @param {string} id
 * @param {number} [most]
 */
function chip(label, hint, chosen, id, most = Number.POSITIVE_INFINITY) {
  const tag = button(
    label,
    () => {
      if (!chosen.delete(id) && chosen.size < most) chosen.add(id);
      tag.setAttribute("aria-pressed", String(chosen.has(id)));
    },
    { class: "tag", title: hint, "aria-pressed": String(chosen.has(id)) },
  );
  return tag;
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} more
 * @param {Draft} draft
 */
async function fillReasons(stage, more, draft) {
  const answer = await ask(stage, "reasons", {});
  for (const { label, chips } of answer?.groups ?? []) {
    const tags = chips.map(({ id, label: name, hint }) => chip(name, hint, draft.why, id, MOST_WHY));
    more.append(make("h4", {}, label), make("div", { class: "tags" }, ...tags));
  }
}

/**
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 * @param {Winner} winner
 */
function choose(section, ballot, winner) {
  const draft = draftOf(ballot);
  draft.winner = winner;
  paintDraft(section, draft);
  find(section, ".why .save").focus({ preventScroll: true });
  find(section, ".why").scrollIntoView({ block: "nearest" });
}

/**
 * @param {HTMLElement} section
 * @param {Draft} draft
 */
function paintDraft(section, draft) {
  for (const verdict of findAll(section, ".verdict"))
    verdict.setAttribute("aria-pressed", String(verdict.dataset.winner === draft.winner));
  if (draft.winner) section.dataset.winner = draft.winner;
  else delete section.dataset.winner;
  for (const why of findAll(section, ".why")) why.hidden = !draft.winner;
  // a dimension is decided by who is better in it
  const decides = draft.winner === "first" || draft.winner === "second";
  for (const chips of findAll(section, ".why .dimensions")) chips.hidden = !decides;
}

/**
 * Save the vote. A request that is sent again has the same id, so that it is one vote.
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 */
async function saveVote(stage, section, ballot) {
  const draft = draftOf(ballot);
  const { winner } = draft;
  if (!stage.chat || !winner || section.classList.contains("saving")) return;
  const decided = winner === "first" || winner === "second" ? winner : null;
  const dimensions = decided ? Object.fromEntries([...draft.dimensions].map((name) => [name, decided])) : {};
  const [first, second] = findAll(section, ".side").map((side) => seenOf(stage, side));
  if (!first || !second) return;
  section.classList.add("saving");
  const vote = { id: draft.id, winner, dimensions, why: [...draft.why], comment: draft.comment };
  const patch = await ask(stage, "vote", {
    chat: stage.chat.id,
    ballot: ballot.id,
    vote: { ...vote, seen: [first, second] },
  });
  section.classList.remove("saving");
  if (patch) finish(stage, patch, `${word(stage, "vote_saved")} ${clock(patch.saved)}`);
  else await drawAnew(stage); // another tab may have voted
}

// ---- go on without a vote ------------------------------------------------------------------------------------

/**
 * Skip the vote: the person chooses what the chat goes on with. A pair that is shown once more just goes away.
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 */
function skipVote(stage, section, ballot) {
  if (ballot.repeat) {
    goOn(stage, ballot, null);
    return;
  }
  const answers = find(section, ".answers");
  answers.replaceChildren(choices(stage, section, ballot, false));
  find(section, ".ask").textContent = word(stage, "pair_choose");
  stage.ballotKeys = { a: () => goOn(stage, ballot, "first"), b: () => goOn(stage, ballot, "second") };
  find(answers, "button").focus({ preventScroll: true });
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 * @param {boolean} orAnother
 */
function choices(stage, section, ballot, orAnother) {
  const row = make(
    "div",
    { class: "verdicts", role: "group", "aria-label": word(stage, "pair_choose") },
    button(word(stage, "go_on_a"), () => goOn(stage, ballot, "first"), { class: "verdict" }),
    button(word(stage, "go_on_b"), () => goOn(stage, ballot, "second"), { class: "verdict" }),
  );
  if (orAnother) row.append(button(word(stage, "regenerate"), () => another(stage, section)));
  else row.append(button(word(stage, "back"), () => drawAnswersAgain(stage, section, ballot)));
  return row;
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 */
function drawAnswersAgain(stage, section, ballot) {
  drawQuestion(stage, section, ballot);
  drawAnswers(stage, section, ballot);
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} section
 */
function another(stage, section) {
  if (!stage.chat || stage.running) return;
  section.remove();
  stage.voting = false;
  run(stage, "answer", { chat: stage.chat.id });
}

/**
 * @param {Stage} stage
 * @param {ShownBallot} ballot
 * @param {Place | null} side
 */
async function goOn(stage, ballot, side) {
  if (!stage.chat) return;
  const patch = await ask(stage, "go_on", { chat: stage.chat.id, ballot: ballot.id, side });
  if (patch) finish(stage, patch, "");
  else await drawAnew(stage);
}

/**
 * @param {Stage} stage
 * @param {ChatPatch} patch
 * @param {string} said
 */
function finish(stage, patch, said) {
  suggest(stage, "");
  apply(stage, patch);
  const sentence = [said, patch.told].filter(Boolean).join(" · ");
  if (sentence) toast(stage, sentence);
  if (!stage.voting) stage.elements.box.focus({ preventScroll: true });
}

/** @param {Stage} stage */
async function drawAnew(stage) {
  if (stage.chat) apply(stage, await ask(stage, "open", { chat: stage.chat.id }));
}

// ---- state ---------------------------------------------------------------------------------------------------

/**
 * @param {ShownBallot} ballot
 * @returns {Draft}
 */
function draftOf(ballot) {
  const bytes = crypto.getRandomValues(new Uint8Array(ID_BYTES));
  const id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  /** @type {Draft} */
  const draft = drafts.get(ballot.id) ?? {
    id,
    winner: "",
    dimensions: new Set(),
    why: new Set(),
    comment: "",
  };
  drafts.set(ballot.id, draft);
  return draft;
}

/**
 * Return what the keys do while a vote is asked for.
 * @param {Stage} stage
 * @param {HTMLElement} section
 * @param {ShownBallot} ballot
 * @returns {Record<string, () => unknown> | null}
 */
function keysOf(stage, section, ballot) {
  if (ballot.state === "writing") return null;
  if (ballot.state === "choice")
    return { a: () => goOn(stage, ballot, "first"), b: () => goOn(stage, ballot, "second") };
  const keys = ANSWERS.map(([winner, , key]) => [key, () => choose(section, ballot, winner)]);
  return { ...Object.fromEntries(keys), s: () => skipVote(stage, section, ballot) };
}
