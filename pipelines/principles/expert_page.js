"use strict";
// Edits of an expert: kept in this browser until they are downloaded. Texts reach the page as textContent only.
const made = JSON.parse(document.getElementById("made").textContent);
const byId = new Map(made.principles.map((principle) => [principle.id, principle]));
const names = new Map([
  ...made.others.map((other) => [other.id, { en: other.en, zh: other.zh }]),
  ...made.principles.map((principle) => [principle.id, { en: principle.en.name, zh: principle.zh.name }]),
]);
const CHOICES = {
  level: { turn: ["one turn", "一轮"], session: ["whole conversation", "整段对话"] },
  polarity: { positive: ["quality", "优点"], negative: ["flaw", "毛病"] },
  weight: { high: ["high", "高"], normal: ["normal", "普通"], low: ["low", "低"] },
};
const FIELDS = ["name", "definition", "good", "bad"];
const KEY = `her-principles ${made.library}`;
const get = (id) => document.getElementById(id);
const say = (en, zh) => (document.documentElement.lang === "zh" ? zh : en);
const edits = new Map(stored("edits", []));

function stored(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`${KEY} ${name}`)) ?? otherwise;
  } catch {
    return otherwise; // no storage for this file, or not ours
  }
}

function store(name, value) {
  try {
    localStorage.setItem(`${KEY} ${name}`, JSON.stringify(value));
  } catch {
    // The edits are still in the page; only a reload loses them.
  }
}

/** The principle as its edit leaves it. */
function current(id) {
  const principle = byId.get(id);
  const edit = edits.get(id);
  if (edit?.action !== "edit") return principle;
  return { ...principle, ...edit, en: { ...principle.en, ...edit.en }, zh: { ...principle.zh, ...edit.zh } };
}

function nameOf(id) {
  const name = byId.has(id) ? { en: current(id).en.name, zh: current(id).zh.name } : names.get(id);
  return name ? say(name.en, name.zh) : id;
}

/** Where a chain of merges ends. The dialog offers no circle; stored edits might hold one. */
function endOf(id) {
  const seen = new Set();
  while (edits.get(id)?.action === "merge" && !seen.has(id)) {
    seen.add(id);
    id = edits.get(id).into;
  }
  return seen.has(id) ? null : id;
}

function problem() {
  for (const [id, edit] of edits) {
    if (edit.action !== "merge") continue;
    const end = endOf(id);
    if (end === null) return say(`“${nameOf(id)}” is merged in a circle`, `“${nameOf(id)}”的合并成了循环`);
    if (edits.get(end)?.action === "drop")
      return say(`“${nameOf(id)}” is merged into “${nameOf(end)}”, which is dropped`, `“${nameOf(id)}”并入了已删去的“${nameOf(end)}”`);
  }
  return "";
}

function fileText() {
  return JSON.stringify({ format: made.format, library: made.library, edits: [...edits.values()] }, null, 1);
}

function setBoth(element, en, zh) {
  const [english, chinese] = element.querySelectorAll(".t > span");
  english.textContent = en;
  chinese.textContent = zh;
}

function drawCard(card) {
  const id = card.dataset.id;
  const principle = current(id);
  const action = edits.get(id)?.action;
  for (const field of FIELDS) setBoth(card.querySelector(`[data-field="${field}"]`), principle.en[field], principle.zh[field]);
  const dimension = made.dimensions[principle.dimension];
  setBoth(card.querySelector('[data-chip="dimension"]'), dimension.en, dimension.zh);
  for (const kind of ["polarity", "level"]) setBoth(card.querySelector(`[data-chip="${kind}"]`), ...CHOICES[kind][principle[kind]]);
  card.querySelector('[data-chip="polarity"]').className = `chip ${principle.polarity}`;
  card.classList.toggle("gone", action === "drop" || action === "merge");
  card.classList.toggle("edited", action === "edit");
  const state = card.querySelector(".state");
  state.hidden = !action;
  state.textContent =
    action === "drop" ? say("dropped", "已删去")
    : action === "merge" ? say(`merged into “${nameOf(edits.get(id).into)}”`, `已并入“${nameOf(edits.get(id).into)}”`)
    : action === "edit" ? say("edited", "已修改")
    : "";
  for (const button of card.querySelectorAll("[data-act]"))
    button.hidden = button.dataset.act === "undo" ? !action : action === "drop" || action === "merge";
}

function draw() {
  document.querySelectorAll("article").forEach(drawCard);
  const count = (action) => [...edits.values()].filter((edit) => edit.action === action).length;
  const wrong = problem();
  const status = get("status");
  status.textContent =
    wrong ||
    (edits.size
      ? say(
          `${count("edit")} edited, ${count("merge")} merged, ${count("drop")} dropped.`,
          `修改 ${count("edit")} 条，合并 ${count("merge")} 条，删去 ${count("drop")} 条。`,
        )
      : say("No changes yet.", "尚无改动。"));
  status.classList.toggle("problem", Boolean(wrong));
  for (const id of ["download", "copy"]) get(id).disabled = !edits.size || Boolean(wrong);
  get("reset").disabled = !edits.size;
  for (const id of ["file-acts", "file"]) get(id).hidden = !edits.size; // a slim bar until there is something to take away
  get("json").value = wrong ? "" : fileText();
  store("edits", [...edits]);
}

function change(id, edit) {
  if (edit) edits.set(id, edit);
  else edits.delete(id);
  draw();
}

function fillSelect(select, options, chosen) {
  select.replaceChildren(
    ...options.map(([value, label]) => {
      const option = new Option(label, value);
      option.selected = value === chosen;
      return option;
    }),
  );
}

/** Show a dialog; run `save` with its form when it is saved, and give the focus back. */
function ask(dialog, button, save) {
  const form = dialog.querySelector("form");
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue === "save") save(form.elements);
    const card = button.closest("article");
    (button.hidden ? card.querySelector('[data-act="undo"]') : button).focus();
  };
  dialog.showModal();
}

function edit(id, button) {
  const principle = current(id);
  const elements = get("editor").querySelector("form").elements;
  fillSelect(elements.dimension, Object.entries(made.dimensions).map(([name, words]) => [name, say(words.en, words.zh)]), principle.dimension);
  for (const [name, options] of Object.entries(CHOICES))
    fillSelect(elements[name], Object.entries(options).map(([value, words]) => [value, say(...words)]), principle[name]);
  for (const language of ["en", "zh"])
    for (const field of FIELDS) {
      const input = elements[`${language}.${field}`];
      input.value = principle[language][field];
      input.setCustomValidity("");
    }
  ask(get("editor"), button, (saved) => {
    const first = byId.get(id);
    const changed = { id, action: "edit" };
    for (const name of ["dimension", ...Object.keys(CHOICES)]) if (saved[name].value !== first[name]) changed[name] = saved[name].value;
    for (const language of ["en", "zh"]) {
      const texts = FIELDS.map((field) => [field, saved[`${language}.${field}`].value.trim()]).filter(([field, text]) => text !== first[language][field]);
      if (texts.length) changed[language] = Object.fromEntries(texts);
    }
    change(id, Object.keys(changed).length > 2 ? changed : null);
  });
}

function merge(id, button) {
  const select = get("merger").querySelector("select");
  const stays = (other) => other !== id && endOf(other) !== id && endOf(other) !== null && edits.get(endOf(other))?.action !== "drop";
  const groups = [
    [say("Of this run", "本次提炼"), made.principles.map((principle) => principle.id).filter(stays)],
    ...Object.entries(made.dimensions).map(([name, words]) => [
      say(words.en, words.zh),
      made.others.filter((other) => other.dimension === name).map((other) => other.id),
    ]),
  ];
  select.replaceChildren(
    ...groups
      .filter(([, ids]) => ids.length)
      .map(([label, ids]) => {
        const group = document.createElement("optgroup");
        group.label = label;
        group.append(...ids.map((other) => new Option(nameOf(other), other)));
        return group;
      }),
  );
  select.value = button.closest("article").dataset.near ?? "";
  ask(get("merger"), button, (saved) => saved.into.value && change(id, { id, action: "merge", into: saved.into.value }));
}

const ACTS = {
  edit,
  merge,
  drop: (id) => change(id, { id, action: "drop" }),
  undo: (id) => change(id, null),
};

document.querySelector("main").addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (!button) return;
  const card = button.closest("article");
  ACTS[button.dataset.act](card.dataset.id, button);
  if (button.hidden) card.querySelector("[data-act]:not([hidden])").focus();
});

// Spaces alone are no text.
get("editor").addEventListener("input", (event) => {
  const blank = event.target.required && !event.target.value.trim();
  event.target.setCustomValidity(blank ? say("Write it, or drop the principle.", "请填写，或删去这条原则。") : "");
});

get("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([fileText()], { type: "application/json" }));
  link.download = "edits.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});

get("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(fileText());
    get("status").textContent = say("Copied.", "已复制。");
  } catch {
    get("file").open = true; // no clipboard here: the text is shown and selected instead
    get("json").select();
  }
});

get("reset").addEventListener("click", () => {
  edits.clear();
  draw();
  document.querySelector("[data-act]:not([hidden])")?.focus();
});

function setLanguage(language) {
  document.documentElement.lang = language;
  get("language").textContent = language === "zh" ? "English" : "中文";
  get("language").lang = language === "zh" ? "en" : "zh";
  store("language", language);
  draw();
}

get("language").addEventListener("click", () => setLanguage(say("zh", "en")));
for (const [id, action] of [...edits]) if (!byId.has(id) || !action?.action) edits.delete(id);
setLanguage(stored("language", navigator.language.startsWith("zh") ? "zh" : "en"));
