// The stage in the browser: draws what the server renders, sends what the person does. Nothing here decides who sees
// what or what is stored. Server text goes in as HTML only where her/ui/bubbles.py escaped it; all else is textContent.
window.HerStage = function (element, trigger, server, watch, props) {
  "use strict";
  const root = element.querySelector(".her");
  const find = (selector, from = root) => from.querySelector(selector);
  const [home, turns, before, after, scroll] = ["home", "turns", "before", "after", "scroll"].map((name) => find(".her-" + name));
  const composer = find(".her-composer"), box = find("textarea", composer), dialog = find(".her-dialog"), drawer = find(".her-drawer");
  const icon = (name, shape) => '<svg class="' + shape + '" viewBox="0 0 24 24" aria-hidden="true"><use href="#her-' + name + '"></use></svg>';
  const SILENCE = 12000;  // milliseconds
  const PANELS = ["role_thinking", "system_thinking"];
  let boot = null, words = {}, chat = null, running = false, chosen = null, opened = Date.now(), lastPatch = 0;

  // ---- what the browser remembers -------------------------------------------------------------------------------
  const memory = {};
  const keep = (key, value) => { memory[key] = value; try { value === null ? localStorage.removeItem("her." + key) : localStorage.setItem("her." + key, value); } catch (e) { console.info("her: nothing can be remembered here", e.name); } };
  const recall = (key) => { try { return localStorage.getItem("her." + key) ?? memory[key] ?? null; } catch (e) { return memory[key] ?? null; } };
  const hex = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (!/^[0-9a-f]{64}$/.test(recall("visitor") || "")) keep("visitor", hex(32));
  let language = recall("language") || ((navigator.language || "en").startsWith("zh") ? "zh" : "en");
  let shown = new Set((recall("panels") ?? "role_thinking").split(" ").filter((name) => PANELS.includes(name)));

  // ---- small tools ----------------------------------------------------------------------------------------------
  function make(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "value") node.value = value;
      else node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }
  const button = (label, act, extra = {}) => make("button", { type: "button", class: "tool wordy", onclick: act, ...extra }, label);
  function fragment(html) { const holder = document.createElement("template"); holder.innerHTML = html; return holder.content; }
  function monogram(letters, colour) {
    const holder = fragment('<svg class="monogram" viewBox="0 0 48 48" aria-hidden="true"><circle cx="24" cy="24" r="23"/><circle class="ring" cx="24" cy="24" r="20.5"/><text x="24" y="25" text-anchor="middle" dominant-baseline="central"></text></svg>');
    find("circle", holder).setAttribute("fill", colour);
    find("text", holder).textContent = letters;
    return holder.firstChild;
  }
  function toast(text) {
    const node = find(".her-toast");
    node.textContent = text; node.hidden = false;
    clearTimeout(toast.timer); toast.timer = setTimeout(() => { node.hidden = true; }, 4000);
  }
  function complain(text) { const node = find(".her-error"); node.textContent = text || ""; node.hidden = !text; }
  async function wish(act, extra) {
    const lost = { error: words.lost_connection || "The server cannot be reached." };
    // Gradio answers a request that never arrived with nothing at all
    try { return (await server.act({ act, token: recall("visitor"), language, ...extra })) || lost; }
    catch (error) { console.error("her:", error); return lost; }
  }
  async function ask(act, extra = {}) {
    // the server refuses fields that do not belong to an act; these three belong to no chat
    const about = chat && !["boot", "persona", "chats"].includes(act) ? { chat: chat.id } : {};
    const answer = await wish(act, { ...about, ...extra });
    if (!answer.error) return answer;
    chat && !dialog.open ? complain(answer.error) : toast(answer.error);
    return null;
  }
  const turnOf = (node) => node && node.closest(".turn");
  const stateOf = (article) => JSON.parse(article.dataset.state || "{}");
  const played = () => Array.from(turns.querySelectorAll(".turn")).filter((article) => stateOf(article).played);

  // ---- panels ---------------------------------------------------------------------------------------------------
  function paintPanels() {
    for (const kind of PANELS) {
      root.classList.toggle("show-" + kind, shown.has(kind));
      find('[data-act="toggle-' + kind + '"]').setAttribute("aria-pressed", shown.has(kind));
    }
  }
  function togglePanel(kind) {
    shown.has(kind) ? shown.delete(kind) : shown.add(kind);
    keep("panels", [...shown].join(" "));
    for (const article of turns.children) article.classList.remove("open-" + kind, "shut-" + kind);
    paintPanels();
  }
  function peek(article, kind) {
    const visible = (shown.has(kind) || article.classList.contains("open-" + kind)) && !article.classList.contains("shut-" + kind);
    article.classList.toggle("open-" + kind, !visible);
    article.classList.toggle("shut-" + kind, visible);
    const tool = find(".peek-" + kind, article);
    if (tool) tool.setAttribute("aria-expanded", !visible);
  }
  const carry = (from, to) => { for (const name of from.classList) if (/^(open|shut)-|^chosen$/.test(name)) to.classList.add(name); };

  // ---- patches: what the server says has changed ------------------------------------------------------------------
  const nearEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 120;
  const toEnd = () => { scroll.scrollTop = scroll.scrollHeight; };
  // The same turn drawn anew: what a person has opened, begun to write or holds the focus on stays.
  function exchange(old, fresh) {
    const active = old.contains(document.activeElement) ? document.activeElement : null, panel = find(".her-rating", old), form = find(".editor", old);
    carry(old, fresh);
    old.replaceWith(fresh);
    if (form) find(".body", fresh).replaceWith(form);
    if (panel) fresh.append(panel);
    if (active) refocus(fresh, active);
  }
  function refocus(article, active) {
    const act = active.dataset.act, same = article.contains(active) ? active : act && find('footer [data-act="' + act + '"]:not([disabled])', article);
    (same || article).focus({ preventScroll: true });
  }
  function put(id, html, where) {
    const fresh = fragment(html).firstElementChild, old = document.getElementById("t-" + id);
    if (old && turns.contains(old)) exchange(old, fresh);
    else if (where && turns.contains(where)) where.replaceWith(fresh);
    else turns.append(fresh);
    return fresh;
  }
  // Turns above the first of the order stay when that one was there before: they lead to it.
  function setOrder(order, joins) {
    const wanted = new Set(order), first = document.getElementById("t-" + order[0]);
    let early = joins && Boolean(first);
    for (const article of Array.from(turns.children)) {
      if (article === first) early = false;
      if (!early && !wanted.has(article.dataset.id)) article.remove();
    }
    let last = null;
    for (const id of order) {
      const article = document.getElementById("t-" + id);
      if (!article) return false;
      if (last && last.nextElementSibling !== article) last.after(article);
      last = article;
    }
    return true;
  }
  function apply(patch) {
    if (!patch || !chat || patch.chat !== chat.id) return;
    lastPatch = Date.now();
    const follow = nearEnd(), joins = !patch.order || Boolean(document.getElementById("t-" + patch.order[0]));
    if (patch.whole) turns.replaceChildren();
    if (patch.put) for (const draft of turns.querySelectorAll(".sending")) draft.remove();
    for (const one of patch.put || []) put(one.id, one.html);
    if (patch.live) put(patch.live.id, patch.live.html, patch.live.replaces && document.getElementById("t-" + patch.live.replaces));
    if (patch.order && !setOrder(patch.order, joins)) refresh();
    if (patch.live && !running) setRunning(true);
    if (patch.end) endRun(patch);
    if (patch.view) paintView(patch.view);
    if (follow || patch.whole) toEnd();
  }
  function endRun(patch) {
    const first = running;  // the end may be told twice, and what was written is given back once
    setRunning(false);
    complain(patch.error);
    if (first && patch.give_back) giveBack(patch.give_back);
    keep("sent." + chat.id, null);
  }
  function giveBack(text) {
    box.value = [text, box.value].filter((one) => one.trim()).join("\n");
    grow(); saveDraft();
  }
  // What was sent and has no answer yet, with the turn it followed; remembered, since the page may be left meanwhile.
  const underway = () => JSON.parse(recall("sent." + chat.id) || "null");
  const unanswered = (order) => { const sent = underway(); return sent && order.at(-1) === sent.after ? sent.text : ""; };
  const lastStored = () => Array.from(turns.children).filter((one) => !/\b(live|sending)\b/.test(one.className)).at(-1)?.dataset.id;
  async function refresh() { const patch = await ask("open", { chat: chat.id }); if (patch) apply(patch); }
  function paintView(view) {
    Object.assign(chat, view);
    root.style.setProperty("--her-persona", view.colour);
    const who = find(".her-who");
    who.replaceChildren(monogram(view.letters, view.colour), make("div", {}, make("strong", {}, view.speaker), make("small", {}, view.subtitle)));
    const meter = find(".meter");
    meter.textContent = view.meter; meter.title = view.meter_hint; meter.classList.toggle("cut", view.cut > 0);
    find('[data-act="continue"]').hidden = !view.can_continue || running;
    before.replaceChildren();
    if (view.cut_note) before.append(make("p", { class: "note" }, view.cut_note));
    const displayed = turns.children.length, older = view.total - displayed;
    if (older > 0) before.prepend(button(words.older + " (" + older + ")", loadOlder, { class: "tool wordy older" }));
    after.replaceChildren();
    if (view.replay && view.replay.shown < view.replay.total) {
      const left = view.replay.total - view.replay.shown;
      after.append(button(words.replay_next, () => replay(1)), button(words.replay_all, () => replay(left)), make("span", { class: "note" }, left + " " + words.replay_left));
    }
    if (view.can_answer && !view.live && !running) after.append(button(words.answer.replace("{name}", view.speaker), () => { if (!running) run("answer"); }, { class: "tool wordy answer" }));
    for (const article of turns.querySelectorAll(".turn")) if (!article.dataset.stamped) stamp(article);
  }
  function stamp(article) {
    article.dataset.stamped = "1";
    const at = stateOf(article).saved;
    if (at) find(".stamp", article).textContent = words.saved_at + " " + clock(at);
  }
  const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  async function loadOlder() {
    const first = turns.firstElementChild, height = scroll.scrollHeight;
    const answer = await ask("older", { node: first.dataset.id });
    if (!answer) return;
    first.before(...answer.put.map((one) => fragment(one.html).firstElementChild));
    paintView(chat);
    scroll.scrollTop += scroll.scrollHeight - height;
  }
  async function replay(count) { const patch = await ask("replay", { count }); if (patch) apply(patch); }

  // ---- running a generation ---------------------------------------------------------------------------------------
  function run(act, extra = {}) {
    complain("");
    if (extra.text) keep("sent." + chat.id, JSON.stringify({ text: extra.text, after: lastStored() }));
    setRunning(true);
    lastPatch = Date.now();
    trigger("run", { act, token: recall("visitor"), language, chat: chat.id, ...extra });
  }
  function setRunning(value) {
    running = value;
    root.classList.toggle("running", value);
    find(".answer", after)?.remove();
    find(".send").hidden = value; find(".stop").hidden = !value;
    if (!value) for (const article of turns.querySelectorAll(".live,.sending")) article.remove();
  }
  watch("value", () => { try { apply(JSON.parse(props.value)); } catch (error) { console.error("her: a patch could not be read", error); } });
  // A stream that has fallen silent is asked about: the server may have gone, or a phone may have slept through the end.
  async function wake() {
    lastPatch = Date.now();
    const asked = chat, patch = await ask("open");
    if (!running || chat !== asked) return;
    if (patch && patch.view.live) run("follow");
    else if (patch) apply({ ...patch, end: true, give_back: unanswered(patch.order) });
    else endRun({ error: find(".her-error").textContent, give_back: (underway() || { text: "" }).text });
  }
  setInterval(() => { if (running && chat && Date.now() - lastPatch > SILENCE) wake(); }, 2000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && chat && running) wake(); });

  function send() {
    const text = box.value;
    if (!text.trim() || running || !chat) return;
    box.value = ""; grow(); saveDraft();
    turns.append(make("article", { class: "turn mine sending" }, make("header", {}, make("h3", {}, chat.visitor_name)), make("div", { class: "body" }, make("p", { class: "lines" }, make("span", { class: "speech" }, text)))));
    toEnd();
    run("send", { text });
  }
  const saveDraft = () => chat && keep("draft." + chat.id, box.value || null);
  function grow() { box.style.height = "auto"; box.style.height = Math.min(box.scrollHeight, 180) + "px"; }
  box.addEventListener("input", () => { grow(); saveDraft(); });
  box.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) { event.preventDefault(); send(); } });
  composer.addEventListener("submit", (event) => { event.preventDefault(); send(); });

  // ---- what a person does to a turn -------------------------------------------------------------------------------
  function choose(article) {
    if (chosen) chosen.classList.remove("chosen");
    chosen = article;
    if (article) { article.classList.add("chosen"); article.scrollIntoView({ block: "nearest" }); }
  }
  const current = () => (chosen && turns.contains(chosen) ? chosen : played().pop());
  function seen(article) {
    const state = article ? stateOf(article) : {}, [index, count] = state.swipe || [0, 1];
    return {
      role_thinking: shown.has("role_thinking"), system_thinking: shown.has("system_thinking"),
      opened: article ? PANELS.filter((kind) => article.classList.contains("open-" + kind)) : [],
      swipe_index: index, swipe_count: count, layout: innerWidth < 720 ? "narrow" : "wide", dwell_ms: Math.max(0, Date.now() - opened),
    };
  }
  async function swipe(article, step) {
    const [index, count] = stateOf(article).swipe;
    if (running || index + step < 0 || index + step >= count) return;
    const active = article.contains(document.activeElement) ? document.activeElement : null;
    const patch = await ask("swipe", { node: article.dataset.id, step });
    if (!patch || !chat || patch.chat !== chat.id) return;
    apply(patch);
    const fresh = document.getElementById("t-" + patch.focus);
    choose(fresh);
    if (fresh && active) refocus(fresh, active);
  }
  function editTurn(article) {
    const id = article.dataset.id, mine = stateOf(article).mine, body = find(".body", article);
    ask("source", { node: id }).then((answer) => {
      if (!answer) return;
      const area = make("textarea", { class: "edit", rows: 5, value: answer.text, "aria-label": words.edit });
      const close = () => { form.replaceWith(body); };
      const form = make("form", { class: "editor", onsubmit: async (event) => {
        event.preventDefault();
        if (running) return;  // refused until the reply is there; what was written stays in the form
        if (mine) { close(); run("edit", { node: id, text: area.value }); return; }
        const patch = await ask("edit", { node: id, text: area.value });
        if (patch) { close(); apply(patch); }
      } }, area, mine ? null : make("p", { class: "note" }, words.edit_hint), make("div", { class: "row" }, button(words.cancel, close), make("button", { type: "submit", class: "primary" }, mine ? words.send : words.save)));
      area.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
      body.replaceWith(form);
      area.focus();
    });
  }
  function toolsMenu(article) {
    const id = article.dataset.id, list = [[words.edit, () => editTurn(article)], [words.branch, async () => { const patch = await ask("branch", { node: id }); if (patch) enter(patch); }],
      [words.delete, async () => { if (confirm(words.delete_sure)) { const patch = await ask("delete", { node: id }); if (patch) apply(patch); } }]];
    menu(find('[data-act="tools"]', article), list);
  }
  function menu(anchor, list) {
    find(".her-menu")?.remove();
    const close = () => { node.remove(); anchor.focus(); };
    const node = make("div", { class: "her-menu", role: "menu" }, ...list.map(([label, act]) => make("button", { type: "button", role: "menuitem", onclick: () => { close(); act(); } }, label)));
    node.addEventListener("keydown", (event) => {
      const items = Array.from(node.children), at = items.indexOf(document.activeElement);
      if (event.key === "Escape") close();
      if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); items[(at + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length].focus(); }
      event.stopPropagation();
    });
    root.append(node);
    const place = anchor.getBoundingClientRect(), mine = node.getBoundingClientRect(), frame = root.getBoundingClientRect();
    node.style.left = Math.max(8, Math.min(place.left - frame.left, frame.width - mine.width - 8)) + "px";
    node.style.top = (place.bottom - frame.top + mine.height > frame.height ? place.top - frame.top - mine.height : place.bottom - frame.top) + "px";
    node.firstChild.focus();
    setTimeout(() => document.addEventListener("click", () => node.remove(), { once: true }), 0);
  }

  // ---- rating -----------------------------------------------------------------------------------------------------
  const blank = () => ({ thumb: null, stars: {}, tags: [], comment: "" });
  const ratingOf = (article) => (article ? stateOf(article).rating : chat.rating) || blank();
  // What a person says is drawn at once and saved in order: while one save is under way the newest waits, and only the
  // stamp of a commit says "saved". Two quick keys never overwrite each other.
  const saves = new Map();
  function rate(article, change) {
    const node = article ? article.dataset.id : null, key = chat.id + " " + node;
    const save = saves.get(key) || { chat: chat.id, node, busy: false };
    saves.set(key, save);
    setRating(article, { ...ratingOf(article), ...change });
    save.next = { ...ratingOf(article), rubric: boot.rubric.id, seen: seen(article) };
    paintStamp(save, words.saving, "");
    if (!save.busy) saveRating(save);
  }
  async function saveRating(save) {
    save.busy = true;
    while (save.next) {
      const rating = save.next;
      save.next = null;
      const answer = await ask("rate", { chat: save.chat, node: save.node, rating });
      if (!save.next) paintStamp(save, answer ? words.saved_at + " " + clock(answer.saved) : words.not_saved, answer ? "saved" : "failed");
    }
    save.busy = false;
  }
  function setRating(article, rating) {
    if (article) { const state = stateOf(article); state.rating = rating; article.dataset.state = JSON.stringify(state); } else chat.rating = rating;
    if (article) {
      const star = find(".tool.rate", article), any = Object.keys(rating.stars).length > 0;
      find(".like", article).setAttribute("aria-pressed", rating.thumb === 1);
      find(".dislike", article).setAttribute("aria-pressed", rating.thumb === -1);
      star.setAttribute("aria-pressed", any); star.textContent = any ? "★" : "☆";
    }
    const panel = article ? find(".her-rating", article) : find(".her-chat-rating");
    if (panel) paintRating(panel, article);
  }
  function paintStamp(save, text, state) {
    if (!chat || chat.id !== save.chat) return;
    for (const mark of root.querySelectorAll(save.node ? "#t-" + save.node + " .stamp" : ".her-chat-rating .stamp")) { mark.textContent = text; mark.className = "stamp " + state; }
  }
  const thumb = (article, value) => rate(article, { thumb: ratingOf(article).thumb === value ? null : value });
  function star(article, name, value) {
    const stars = { ...ratingOf(article).stars };
    stars[name] === value ? delete stars[name] : (stars[name] = value);
    return rate(article, { stars });
  }
  function ratingPanel(article, name) {
    const rows = boot.rubric.dimensions.map((dimension) => make("div", { class: "dimension", "data-dimension": dimension.id, role: "radiogroup", "aria-label": dimension.label, title: dimension.hint },
      make("span", {}, dimension.label), make("span", { class: "stars" }, ...[1, 2, 3, 4, 5].map((n) => make("button", { type: "button", role: "radio", "data-star": n, "aria-label": words.star.replace("{n}", n), onclick: () => star(article, dimension.id, n) }, "★")))));
    const tags = make("div", { class: "tags" }, ...boot.rubric.tags.map((tag) => make("button", { type: "button", class: "tag", "data-tag": tag.id, onclick: () => {
      const tagged = ratingOf(article).tags;
      rate(article, { tags: tagged.includes(tag.id) ? tagged.filter((one) => one !== tag.id) : [...tagged, tag.id] });
    } }, tag.label)));
    const comment = make("textarea", { rows: 2, maxlength: 4000, placeholder: words.comment, "aria-label": words.comment });
    const foot = make("div", { class: "row" }, make("span", { class: "stamp", role: "status" }), button(words.save, () => rate(article, { comment: comment.value }), { class: "tool wordy save-comment" }));
    const thumbs = article ? null : make("div", { class: "thumbs" }, ...[["like", 1], ["dislike", -1]].map(([name, value]) => make("button", { type: "button", class: "tool " + name, "aria-label": words[name], title: words[name], onclick: () => thumb(null, value) }, fragment(icon("thumb", "thumb")))));
    const panel = make("section", { class: name, "aria-label": article ? words.rate : words.rate_chat }, thumbs, make("div", { class: "dimensions" }, ...rows), tags, comment, foot);
    comment.value = ratingOf(article).comment;
    paintRating(panel, article);
    return panel;
  }
  function paintRating(panel, article) {
    const rating = ratingOf(article);
    for (const row of panel.querySelectorAll(".dimension")) for (const one of row.querySelectorAll("[data-star]")) {
      const value = rating.stars[row.dataset.dimension] || 0;
      one.classList.toggle("on", Number(one.dataset.star) <= value); one.setAttribute("aria-checked", Number(one.dataset.star) === value);
    }
    for (const one of panel.querySelectorAll("[data-tag]")) one.setAttribute("aria-pressed", rating.tags.includes(one.dataset.tag));
    if (!article) { find(".like", panel).setAttribute("aria-pressed", rating.thumb === 1); find(".dislike", panel).setAttribute("aria-pressed", rating.thumb === -1); }
  }
  function toggleRating(article, open) {
    const old = find(".her-rating", article);
    if (old && !open) { old.remove(); return null; }
    if (old) return old;
    for (const other of turns.querySelectorAll(".her-rating")) other.remove();
    const panel = ratingPanel(article, "her-rating");
    article.append(panel);
    panel.scrollIntoView({ block: "nearest" });
    return panel;
  }
  function starByKey(article, value) {
    const panel = toggleRating(article, true), dimensions = boot.rubric.dimensions.map((one) => one.id);
    const at = Number(panel.dataset.next || 0) % dimensions.length;
    panel.dataset.next = at + 1;
    for (const row of panel.querySelectorAll(".dimension")) row.classList.toggle("next", row.dataset.dimension === dimensions[(at + 1) % dimensions.length]);
    rate(article, { stars: { ...ratingOf(article).stars, [dimensions[at]]: value } });
  }

  // ---- pages ------------------------------------------------------------------------------------------------------
  function page(name) { root.dataset.page = name; root.classList.toggle("on-stage", name === "chat"); closeDrawer(); }
  function closeDrawer() { drawer.hidden = true; find('[data-act="chats"]').setAttribute("aria-expanded", false); }
  drawer.addEventListener("keydown", (event) => { if (event.key === "Escape") { closeDrawer(); find('[data-act="chats"]').focus(); event.stopPropagation(); } });
  function enter(patch) {
    chat = { id: patch.chat }; chosen = null; opened = Date.now();
    keep("chat", chat.id);
    setRunning(false); complain(""); page("chat"); dialog.open && dialog.close();
    box.value = recall("draft." + chat.id) || "";
    apply({ ...patch, whole: true });
    if (patch.view.live) run("follow");
    else { giveBack(unanswered(patch.order)); keep("sent." + chat.id, null); }
    toEnd();
    if (matchMedia("(pointer: fine)").matches) box.focus();
  }
  async function openChat(id) { const patch = await ask("open", { chat: id }); if (patch) enter(patch); else { keep("chat", null); goHome(); } }
  function goHome() { chat = null; keep("chat", null); page("home"); paintHome(); }
  function paintHome() {
    const filter = make("input", { type: "search", placeholder: words.search, "aria-label": words.search });
    const grid = make("div", { class: "grid" }), none = make("p", { class: "note", hidden: true }, words.no_match);
    const languages = make("div", { class: "languages", role: "group" }, ...[["", words.everyone], ["en", "English"], ["zh", "中文"]].map(([code, label]) => make("button", { type: "button", class: "tool wordy", "data-language": code, "aria-pressed": code === (recall("shelf") || ""), onclick: (event) => {
      keep("shelf", code);
      for (const one of languages.children) one.setAttribute("aria-pressed", one === event.currentTarget);
      sift();
    } }, label)));
    for (const one of boot.personas) grid.append(make("button", { type: "button", class: "card", lang: one.language, "data-persona": one.id, onclick: () => prepare(one) },
      monogram(one.letters, one.colour), make("span", { class: "text" }, make("strong", {}, one.name), make("small", {}, one.source), make("span", {}, one.tagline))));
    function sift() {
      const text = filter.value.trim().toLowerCase(), shelf = recall("shelf") || "";
      let any = false;
      boot.personas.forEach((one, n) => {
        const fits = (!shelf || one.language === shelf) && [one.name, one.source, one.tagline, ...one.tags].join(" ").toLowerCase().includes(text);
        grid.children[n].hidden = !fits; any = any || fits;
      });
      none.hidden = any;
    }
    filter.addEventListener("input", sift);
    home.replaceChildren(make("div", { class: "page" }, make("h1", {}, words.welcome), make("p", { class: "lead" }, words.welcome_more), make("div", { class: "sift" }, filter, languages), grid, none, bookShelf()));
    sift();
  }
  function bookShelf() {
    if (!boot.books.length) return null;
    return make("section", { class: "books" }, make("h2", {}, words.from_books), make("div", { class: "grid" }, ...boot.books.map((book, n) => make("button", { type: "button", class: "card book", "data-book": n, onclick: () => prepareBook(book) },
      make("span", { class: "text" }, make("strong", {}, book.title), make("small", {}, words.scene_count.replace("{n}", book.scenes.length)))))));
  }
  const field = (label, control, note) => make("label", { class: "field" }, make("span", {}, label), control, note ? make("small", {}, note) : null);
  const options = (pairs, value) => make("select", {}, ...pairs.map(([key, label]) => make("option", { value: key, selected: key === value }, label)));
  function openDialog(...children) { dialog.replaceChildren(...children); dialog.setAttribute("aria-label", find("h2", dialog).textContent); dialog.showModal(); }
  async function prepare(one) {
    const detail = await ask("persona", { persona: one.id });
    if (!detail) return;
    const scene = options([["", words.no_scene], ...detail.scenes.map((entry) => [entry.id, entry.title])], detail.scenes.length && detail.scenes[0].suits ? detail.scenes[0].id : "");
    const setting = make("p", { class: "note setting" }), name = make("input", { maxlength: 60, value: recall("name") || "", placeholder: words.visitor, autocomplete: "nickname" }), about = make("input", { maxlength: 300 });
    const describe = () => { setting.textContent = (detail.scenes.find((entry) => entry.id === scene.value) || {}).setting || ""; };
    scene.addEventListener("change", describe); describe();
    const greetings = make("div", { class: "greetings", role: "radiogroup", "aria-label": words.opening_line }, ...detail.greetings.map((html, n) => make("label", { class: "greeting", lang: one.language }, make("input", { type: "radio", name: "greeting", value: n, checked: n === 0 }), fragment(html))));
    const error = make("p", { class: "her-error", role: "alert", hidden: true });
    const form = make("form", { class: "setup", onsubmit: async (event) => {
      event.preventDefault();
      keep("name", name.value);
      const greeting = Number((find("input[name=greeting]:checked", form) || { value: 0 }).value);
      await start(error, "start", { persona: one.id, scene: scene.value, name: name.value, about: about.value, greeting });
    } },
      make("header", {}, monogram(one.letters, one.colour), make("div", {}, make("h2", { lang: one.language }, one.name), make("small", {}, one.source))),
      make("p", { class: "profile", lang: one.language }, detail.profile),
      field(words.scene, scene), setting, field(words.your_name, name), field(words.your_about, about), detail.greetings.length ? make("div", { class: "field" }, make("span", {}, words.opening_line), greetings) : null, error,
      make("div", { class: "row end" }, button(words.cancel, () => dialog.close()), make("button", { type: "submit", class: "primary" }, words.begin)));
    openDialog(form);
    name.focus();
  }
  async function start(error, act, extra) {
    const answer = await wish(act, extra);
    if (answer.error) { error.textContent = answer.error; error.hidden = false; return; }
    boot.chats = null;
    enter(answer);
  }
  function prepareBook(book) {
    const plot = options(book.scenes.map((scene) => [scene.id, scene.title])), cast = make("div", { class: "two" }), setting = make("p", { class: "setting" });
    const error = make("p", { class: "her-error", role: "alert", hidden: true });
    let me, model, first;
    const paint = () => {
      const scene = book.scenes.find((one) => one.id === plot.value) || book.scenes[0];
      model = options(scene.cast.map((name) => [name, name]), scene.cast[0]);
      me = options([...scene.cast.map((name) => [name, name])], scene.cast[1] || scene.cast[0]);
      first = make("input", { type: "range", min: 0, max: scene.turns, value: 0 });
      const count = make("output", {}, "0 / " + scene.turns);
      first.addEventListener("input", () => { count.textContent = first.value + " / " + scene.turns; });
      setting.textContent = scene.setting;
      cast.replaceChildren(field(words.you_are, me), field(words.model_plays, model), make("label", { class: "field wide" }, make("span", {}, words.replay_first), first, count));
    };
    plot.addEventListener("change", paint); paint();
    openDialog(make("form", { class: "setup", onsubmit: async (event) => {
      event.preventDefault();
      await start(error, "start_book", { scenario: plot.value, me: me.value, model: model.value, replay: Number(first.value) });
    } }, make("h2", {}, book.title), field(words.plot, plot), setting, cast, error, make("div", { class: "row end" }, button(words.cancel, () => dialog.close()), make("button", { type: "submit", class: "primary" }, words.begin))));
  }
  async function toggleDrawer() {
    drawer.hidden = !drawer.hidden;
    find('[data-act="chats"]').setAttribute("aria-expanded", !drawer.hidden);
    if (drawer.hidden) return;
    const answer = await ask("chats");
    if (!answer) return;
    drawer.replaceChildren(make("h2", {}, words.chats), answer.chats.length ? make("ul", {}, ...answer.chats.map((one) => make("li", { class: chat && chat.id === one.id ? "here" : null },
      make("button", { type: "button", class: "entry", "data-chat": one.id, onclick: () => openChat(one.id) }, monogram(one.letters, one.colour), make("span", { class: "text" }, make("strong", {}, one.title), make("small", {}, one.when))),
      make("button", { type: "button", class: "tool", "aria-label": words.delete, title: words.delete, onclick: async () => {
        if (!confirm(words.delete_chat_sure)) return;
        if (await ask("delete_chat", { chat: one.id })) { if (chat && chat.id === one.id) goHome(); drawer.hidden = true; toggleDrawer(); }
      } }, "×")))) : make("p", { class: "note" }, words.no_chats));
    find("button", drawer)?.focus();
  }
  function chatMenu(anchor) {
    const formats = ["jsonl", "markdown", "sharegpt"].map((format) => [words.export + " · " + format, async () => {
      const answer = await ask("export", { format });
      if (!answer) return;
      const link = make("a", { href: URL.createObjectURL(new Blob([answer.text], { type: "text/plain" })), download: answer.name });
      link.click(); URL.revokeObjectURL(link.href); toast(words.copied);
    }]);
    const rename = [words.rename, async () => { const text = prompt(words.rename, chat.title); if (text && text.trim()) { const patch = await ask("rename", { text }); if (patch) apply(patch); } }];
    const other = [language === "en" ? "中文" : "English", () => { keep("language", language === "en" ? "zh" : "en"); location.reload(); }];
    menu(anchor, [...(chat ? [...formats, rename] : []), [words.shortcuts, shortcuts], other]);
  }
  const shortcuts = () => openDialog(make("h2", {}, words.shortcuts), make("ul", { class: "keys" }, ...words.shortcut_lines.split(" · ").map((one) => make("li", {}, one))), make("div", { class: "row end" }, button(words.cancel, () => dialog.close())));
  function rateChat() {
    openDialog(make("h2", {}, words.rate_chat), ratingPanel(null, "her-chat-rating"), make("div", { class: "row end" }, button(words.back, () => dialog.close())));
  }

  // ---- clicks and keys --------------------------------------------------------------------------------------------
  const onTurn = {
    "peek-role_thinking": (article) => peek(article, "role_thinking"), "peek-system_thinking": (article) => peek(article, "system_thinking"),
    "swipe-back": (article) => swipe(article, -1), "swipe-forth": (article) => swipe(article, 1),
    regenerate: (article) => { if (!running) run("regenerate", { node: article.dataset.id }); },
    keep: async (article) => { const patch = await ask("keep", { node: article.dataset.id, seen: seen(article) }); if (patch) { apply(patch); const mark = find(".stamp", document.getElementById(article.id)); if (mark) { mark.textContent = words.saved_at + " " + clock(patch.saved); mark.classList.add("saved"); } } },
    like: (article) => thumb(article, 1), dislike: (article) => thumb(article, -1), rate: (article) => toggleRating(article), tools: toolsMenu,
  };
  const anywhere = {
    home: goHome, chats: toggleDrawer, menu: chatMenu,
    "toggle-role_thinking": () => togglePanel("role_thinking"), "toggle-system_thinking": () => togglePanel("system_thinking"),
    stop: () => ask("stop"), continue: () => { if (!running) run("continue"); }, "rate-chat": rateChat,
  };
  root.addEventListener("click", (event) => {
    const tool = event.target.closest("[data-act]"), article = turnOf(event.target);
    if (article && turns.contains(article)) choose(article);
    if (!tool) return;
    const act = tool.dataset.act;
    if (article && onTurn[act]) onTurn[act](article); else if (anywhere[act]) anywhere[act](tool);
  });
  const typing = (node) => node && (node.isContentEditable || /^(input|textarea|select)$/i.test(node.tagName));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || root.dataset.page !== "chat" || !root.offsetParent) return;
    if (typing(event.target)) { if (event.key === "Escape") event.target.blur(); return; }
    if (dialog.open) return;
    const article = current(), list = played(), step = (at) => { choose(list[at]); list[at]?.focus({ preventScroll: true }); };
    const keys = {
      t: () => togglePanel("role_thinking"), r: () => togglePanel("system_thinking"), "/": () => box.focus(),
      ArrowLeft: () => article && stateOf(article).played && swipe(article, -1), ArrowRight: () => article && stateOf(article).played && swipe(article, 1),
      ArrowUp: () => step(Math.max(0, list.indexOf(article) - 1)), ArrowDown: () => step(Math.min(list.length - 1, list.indexOf(article) + 1)),
      "+": () => article && thumb(article, 1), "-": () => article && thumb(article, -1), Escape: () => { closeDrawer(); article && find(".her-rating", article)?.remove(); },
    };
    const act = /^[1-5]$/.test(event.key) ? () => article && stateOf(article).played && starByKey(article, Number(event.key)) : keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  const toConnect = () => document.querySelector('[role="tab"][data-tab-id="connect-tab"]')?.click();

  // ---- begin ------------------------------------------------------------------------------------------------------
  async function begin() {
    paintPanels();
    boot = await ask("boot");
    if (!boot) { home.textContent = "HER: the server cannot be reached; reload the page."; return; }
    words = boot.words;
    boot.personas.sort((one, other) => (one.language !== language) - (other.language !== language));
    root.lang = language;
    for (const node of root.querySelectorAll("[data-word]")) node.textContent = words[node.dataset.word];
    for (const kind of PANELS) { const node = find('[data-act="toggle-' + kind + '"]'); node.title = words["toggle_" + kind]; node.setAttribute("aria-label", words[kind]); }
    box.placeholder = words.say; box.setAttribute("aria-label", words.say);
    find(".send").textContent = words.send; find(".stop").textContent = words.stop;
    find('[data-act="continue"]').textContent = words.continue; find('[data-act="rate-chat"]').textContent = words.rate_chat;
    find('[data-act="chats"]').setAttribute("aria-label", words.chats);
    find('[data-act="menu"]').setAttribute("aria-label", words.more);
    const badge = find(".her-badge");
    badge.replaceChildren(make("button", { type: "button", class: "connect", onclick: toConnect }, boot.badge), boot.notice ? make("span", {}, boot.notice) : "");
    badge.hidden = !(boot.scripted || boot.notice);
    root.dataset.ready = "1";
    const last = recall("chat");
    if (last) await openChat(last); else goHome();
  }
  begin();
};
