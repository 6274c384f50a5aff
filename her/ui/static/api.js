// @ts-check
// Two ways to the server: `act` is answered at once, `run` by a stream of patches (main.js listens to it).

/**
 * @typedef {import("./types.js").Api} Api
 * @typedef {import("./types.js").Doors} Doors
 * @typedef {import("./types.js").Language} Language
 * @typedef {import("./types.js").Memory} Memory
 */

/**
 * @param {Doors} doors
 * @param {string} token the visitor's secret
 * @param {Language} language
 * @param {() => string} lostConnection sentence for a request that got no answer
 * @param {Memory} memory
 * @returns {Api}
 */
export function createApi(doors, token, language, lostConnection, memory) {
  return {
    async act(name, fields) {
      try {
        const answer = await doors.server.act({
          act: name,
          token,
          language,
          director: directorIn(memory, fields),
          ...fields,
        });
        // Gradio answers null for a request that never arrived
        return /** @type {any} */ (answer ?? { error: lostConnection(), again: true });
      } catch (error) {
        console.error("her: a request failed", error);
        return { error: lostConnection(), again: true };
      }
    },
    run(name, fields) {
      doors.run({ act: name, token, language, director: directorIn(memory, fields), ...fields });
    },
    leave(name, fields) {
      post({ act: name, token, language, director: directorIn(memory, fields), ...fields });
    },
  };
}

/**
 * Send a request as Gradio's client does, but so that the browser finishes it after the page is gone.
 * @param {object} request
 */
function post(request) {
  const { components } = /** @type {any} */ (window).gradio_config ?? { components: [] };
  const stage = components.find((/** @type {any} */ { props }) => props.elem_id === "stage");
  if (!stage) return;
  fetch(new URL("./gradio_api/component_server/", document.baseURI), {
    method: "POST",
    keepalive: true,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ data: request, component_id: stage.id, fn_name: "act", session_hash: "leaving" }),
  }).catch(() => {}); // what was not saved is kept, and sent when the page is opened again
}

/**
 * Return the switch of the director's view in the chat of a request, null where it was never used.
 * @param {Memory} memory
 * @param {object} fields
 */
function directorIn(memory, fields) {
  const kept = "chat" in fields && memory.recall(`director.${fields.chat}`);
  return kept ? kept === "1" : null;
}
