// @ts-check
// Keep settings, drafts and the visitor's secret in localStorage; where that is refused, until the page is left.

/** @typedef {import("./types.js").Memory} Memory */

const PREFIX = "her.";
const SECRET_BYTES = 32;
const CODE_FIELD = "#her=";

/** What each kind of stage keeps for itself. */
const OWN = ["chat", "panels"];
/** What each tab of the browser keeps for itself. */
const OF_TAB = ["chat", "scene.chat"];

/**
 * @param {import("./types.js").StageKind} kind
 * @returns {Memory}
 */
export function createMemory(kind) {
  /** @type {Map<string, string | null>} */
  const page = new Map();
  const nameOf = (/** @type {string} */ key) =>
    kind === "scene" && OWN.includes(key) ? `scene.${key}` : key;
  return {
    names(start) {
      const keys = new Set(page.keys());
      try {
        for (const key of Object.keys(localStorage))
          if (key.startsWith(PREFIX)) keys.add(key.slice(PREFIX.length));
      } catch {
        // what this page kept is all there is
      }
      return [...keys].filter((key) => key.startsWith(start) && this.recall(key) !== null);
    },
    recall(name) {
      const key = nameOf(name);
      try {
        return storageOf(key).getItem(PREFIX + key) ?? page.get(key) ?? null;
      } catch {
        return page.get(key) ?? null;
      }
    },
    keep(name, value) {
      const key = nameOf(name);
      page.set(key, value);
      try {
        if (value === null) storageOf(key).removeItem(PREFIX + key);
        else storageOf(key).setItem(PREFIX + key, value);
      } catch (error) {
        // private windows and blocked cookies refuse the storage, and a full one refuses the value
        console.info("her: localStorage is refused; settings last until this page is left", error);
      }
    },
    forget() {
      page.clear();
      try {
        const names = Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));
        for (const name of names) if (name !== `${PREFIX}language`) localStorage.removeItem(name);
      } catch (error) {
        console.info("her: localStorage is refused; there is nothing to forget", error);
      }
    },
  };
}

/** @param {string} key */
function storageOf(key) {
  return OF_TAB.includes(key) ? sessionStorage : localStorage;
}

const BROWSER_BYTES = 8;
let browser = "";
let lastAct = 0;

/**
 * Return the name of this browser and the number of the next act in it. Two tabs count together, so that the server can
 * tell which of two ratings is newer; a clock could be set back.
 * @param {Memory} memory
 */
export function nextAct(memory) {
  browser = memory.recall("browser") || browser;
  if (!/^[0-9a-f]{16}$/.test(browser)) browser = randomHex(BROWSER_BYTES);
  lastAct = Math.max(lastAct, Number.parseInt(memory.recall("act") ?? "", 10) || 0) + 1;
  memory.keep("browser", browser);
  memory.keep("act", String(lastAct));
  return { browser, act: lastAct };
}

/** @param {number} count of bytes */
function randomHex(count) {
  const bytes = crypto.getRandomValues(new Uint8Array(count));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The secret of this page, where the storage keeps none: both stages of the page are one visitor. */
let drawn = "";

/**
 * Tell whether this browser keeps what a page stores: a private window or a frame with blocked cookies does not.
 * @returns {boolean}
 */
export function isDurable() {
  try {
    localStorage.setItem(`${PREFIX}probe`, "1");
    localStorage.removeItem(`${PREFIX}probe`);
    return true;
  } catch {
    return false;
  }
}

/**
 * Return the visitor's secret: 32 random bytes in hexadecimal, made on the first visit. The server stores its hash.
 * @param {Memory} memory
 */
export function visitorToken(memory) {
  drawn = codeInAddress(memory) || drawn || memory.recall("visitor") || "";
  if (!isCode(drawn)) drawn = randomHex(SECRET_BYTES);
  memory.keep("visitor", drawn);
  // the tab that connects a model reads it, since it may not read the storage
  Object.assign(window, { herVisitor: drawn });
  return drawn;
}

/** @param {string} text */
export function isCode(text) {
  return /^[0-9a-f]{64}$/.test(text);
}

/**
 * Open the page again as the visitor of this code, also where the storage is refused: the browser sends no fragment.
 * @param {Memory} memory
 * @param {string} code
 */
export function becomeVisitor(memory, code) {
  memory.keep("visitor", code);
  memory.keep("chat", null);
  window.location.hash = `${CODE_FIELD}${code}`;
  window.location.reload();
}

/**
 * Return the code in the address, and take it out of there: addresses are shared, and kept in histories.
 * @param {Memory} memory
 */
function codeInAddress(memory) {
  const code = window.location.hash.startsWith(CODE_FIELD)
    ? window.location.hash.slice(CODE_FIELD.length)
    : "";
  if (!code) return "";
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  if (!isCode(code)) return "";
  memory.keep("chat", null);
  return code;
}
