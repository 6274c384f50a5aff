// Record what stands on the screen, apart from the page's own recording: benchmarks/ratings_truth.py reads it as `recorder`.
// By computed styles up to the root, by boxes cut by every ancestor that clips, by Date.now, frame by frame.
(() => {
  const LAYERS = {
    system_thinking: 'aside[data-kind="system_thinking"]',
    role_thinking: 'aside[data-kind="role_thinking"]',
    role_action: "p.lines > em",
    speech: "p.lines > span",
  };
  const times = {}; // by turn and layer: { ms, changing, shown }
  const acts = {}; // by turn: what was there at its last act
  let last = Date.now();

  function chain(element) {
    const found = [];
    for (let each = element; each instanceof Element; each = each.parentElement) found.push(each);
    return found;
  }

  function isOpen(element) {
    const styles = chain(element).map((each) => getComputedStyle(each));
    return styles.every(({ display }) => display !== "none") && styles[0].visibility === "visible";
  }

  // Return how many pixels of the height are shown, and how many can be at most.
  function shownHeight(element) {
    const box = element.getBoundingClientRect();
    let [top, bottom] = [0, document.documentElement.clientHeight];
    for (const each of chain(element).slice(1)) {
      if (getComputedStyle(each).overflowY === "visible") continue;
      const frame = each.getBoundingClientRect();
      [top, bottom] = [Math.max(top, frame.top), Math.min(bottom, frame.bottom)];
    }
    return [Math.min(box.bottom, bottom) - Math.max(box.top, top), Math.min(box.height, bottom - top)];
  }

  function isInView(element) {
    if (document.visibilityState !== "visible" || !isOpen(element)) return false;
    const [shown, most] = shownHeight(element);
    return shown > 0 && 2 * shown >= most;
  }

  function look(turn) {
    const layers = {};
    for (const [name, selector] of Object.entries(LAYERS)) {
      const parts = [...turn.querySelectorAll(selector)];
      if (parts.length) layers[name] = { open: parts.some(isOpen), in_view: parts.some(isInView) };
    }
    const any = Object.values(layers).some((layer) => layer.in_view);
    layers.turn = { open: isOpen(turn), in_view: any || isInView(turn) };
    return layers;
  }

  function timeOf(id, layer) {
    times[`${id} ${layer}`] ??= { ms: 0, changing: 0, shown: false };
    return times[`${id} ${layer}`];
  }

  // Add the time since the last look to what was in view then; where it has come or gone since, the moment is not known.
  function lookAtAll() {
    const now = Date.now();
    const seen = {};
    for (const turn of document.querySelectorAll("article.turn[data-id]")) {
      for (const [layer, { in_view }] of Object.entries(look(turn))) seen[`${turn.dataset.id} ${layer}`] = in_view;
    }
    for (const key of new Set([...Object.keys(times), ...Object.keys(seen)])) {
      const time = timeOf(...key.split(" "));
      const shown = seen[key] ?? false;
      if (time.shown) time.ms += now - last;
      if (time.shown !== shown) time.changing += now - last;
      time.shown = shown;
    }
    last = now;
  }

  function record(turn) {
    lookAtAll();
    const id = turn.dataset.id;
    const layers = look(turn);
    for (const [name, layer] of Object.entries(layers)) {
      const { ms, changing } = timeOf(id, name);
      Object.assign(layer, { ms, changing });
    }
    const [place, count] = (turn.querySelector("footer .count")?.textContent ?? "1/1").split("/").map(Number);
    const layout = document.documentElement.clientWidth < 720 ? "narrow" : "wide";
    acts[id] = { layers, layout, swipe_index: place - 1, swipe_count: count };
  }

  // At the window, before the page hears of it.
  const RATES = '[data-act="like"], [data-act="dislike"], .star, .tag';
  window.addEventListener(
    "click",
    ({ target }) => target.closest?.(RATES)?.closest(".turn") && record(target.closest(".turn")),
    true,
  );
  window.addEventListener("input", ({ target }) => target.matches?.(".her-rating textarea") && record(target.closest(".turn")), true);
  window.addEventListener(
    "keydown",
    ({ key }) => key === "+" && record(document.querySelector("#stage .turn.chosen")),
    true,
  );

  const step = () => {
    lookAtAll();
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
  window.recorder = {
    last: (id) => acts[id],
    frames: async (count) => {
      for (let frame = 0; frame < count; frame++) await new Promise(requestAnimationFrame);
    },
  };
})();
