// @ts-check
// Two ways to the server: `act` is answered at once, `run` by a stream of patches (main.js listens to it).

/**
 * @typedef {import("./types.js").Api} Api
 * @typedef {import("./types.js").Doors} Doors
 * @typedef {import("./types.js").Language} Language
 */

/**
 * @param {Doors} doors
 * @param {string} token the visitor's secret
 * @param {Language} language
 * @param {() => string} lostConnection sentence for a request that got no answer
 * @returns {Api}
 */
export function createApi(doors, token, language, lostConnection) {
  return {
    async act(name, fields) {
      try {
        const answer = await doors.server.act({ act: name, token, language, ...fields });
        // Gradio answers null for a request that never arrived
        return /** @type {any} */ (answer ?? { error: lostConnection() });
      } catch (error) {
        console.error("her: a request failed", error);
        return { error: lostConnection() };
      }
    },
    run(name, fields) {
      doors.run({ act: name, token, language, ...fields });
    },
  };
}
