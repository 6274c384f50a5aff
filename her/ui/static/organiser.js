// @ts-check
/**
 * The organiser's page: the secret leaves the address, tiles and comments are asked for again, the buttons are sent as JSON.
 * The page works without this file, except for these.
 */

const EVERY_MS = 10_000;

/** Take the secret of the link out of the address and the history; it has been used. */
function forgetKey() {
  const address = new URL(location.href);
  if (address.searchParams.has("key")) {
    address.searchParams.delete("key");
    history.replaceState(null, "", address);
  }
}

/** Follow the system's theme, as the playground does. */
function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => document.documentElement.classList.toggle("dark", dark.matches);
  dark.addEventListener("change", apply);
  apply();
}

/**
 * Ask for tiles and comments again while the page is looked at. The answer is HTML of the server, in which everything is escaped.
 * @param {HTMLElement} live
 */
function keepLive(live) {
  setInterval(async () => {
    if (document.hidden || live.contains(document.activeElement)) return;
    try {
      const answer = await fetch(live.dataset.live ?? "", { headers: { accept: "text/html" } });
      if (answer.ok) live.innerHTML = await answer.text();
    } catch {
      // The server is away for a moment; the next round asks again.
    }
  }, EVERY_MS);
}

/**
 * Send an act and show what it did.
 * @param {HTMLButtonElement} button
 */
async function post(button) {
  button.disabled = true;
  const answer = await fetch(`${document.body.dataset.root ?? ""}/organiser/${button.dataset.post}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  if (answer.ok) {
    const said = document.createElement("p");
    said.className = "lead alone";
    said.setAttribute("role", "status");
    said.textContent = button.dataset.after ?? "";
    document.body.replaceChildren(said);
  } else {
    button.disabled = false;
  }
}

forgetKey();
followTheme();
const live = document.getElementById("live");
if (live) keepLive(live);
for (const button of document.querySelectorAll("button[data-post]")) {
  if (button instanceof HTMLButtonElement) button.addEventListener("click", () => void post(button));
}
