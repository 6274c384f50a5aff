// @ts-check
// Keep settings, drafts and the visitor's secret in localStorage; where that is refused, until the page is left.

/** @typedef {import("./types.js").Memory} Memory */

const PREFIX = "her.";
const SECRET_BYTES = 32;

/** What each kind of stage keeps for itself. */
const OWN = ["chat", "panels"];

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
    recall(name) {
      const key = nameOf(name);
      try {
        return localStorage.getItem(PREFIX + key) ?? page.get(key) ?? null;
      } catch {
        return page.get(key) ?? null;
      }
    },
    keep(name, value) {
      const key = nameOf(name);
      page.set(key, value);
      try {
        if (value === null) localStorage.removeItem(PREFIX + key);
        else localStorage.setItem(PREFIX + key, value);
      } catch (error) {
        // private windows and blocked cookies refuse the storage, and a full one refuses the value
        console.info("her: localStorage is refused; settings last until this page is left", error);
      }
    },
  };
}

/**
 * Return the visitor's secret: 32 random bytes in hexadecimal, made on the first visit. The server stores its hash.
 * @param {Memory} memory
 */
export function visitorToken(memory) {
  const kept = memory.recall("visitor");
  if (kept && /^[0-9a-f]{64}$/.test(kept)) return kept;
  const bytes = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  const token = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  memory.keep("visitor", token);
  return token;
}
