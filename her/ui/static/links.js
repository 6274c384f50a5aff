// @ts-check
// Links that open a persona, a scene or a mission: #persona=ID, #scene=ID, #mission=ID.

import { enterChat, goHome, openChat } from "./chats.js";
import { fetchMission } from "./missions.js";
import { openPersona } from "./openings.js";
import { toast, word } from "./stage.js";

/** @typedef {import("./types.js").Stage} Stage */

const LINK = /^#(persona|scene|mission)=([\w.-]{1,200})$/;

/**
 * Follow the link in the address. Return true when the page shows what it names.
 * @param {Stage} stage
 */
export async function followLink(stage) {
  if (stage.kind !== "stage") return false;
  window.addEventListener("hashchange", () => follow(stage));
  return follow(stage);
}

/** @param {Stage} stage */
async function follow(stage) {
  const [, what = "", id = ""] = LINK.exec(decodedHash()) ?? [];
  if (!what) return false;
  // taken out, so that a reload shows what the person was at
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
  if (what === "mission") {
    const mission = await fetchMission(stage, id);
    if (mission?.chat) await openChat(stage, mission.chat);
    else goHome(stage);
    return true;
  }
  const scene = stage.boot.scenes.find((each) => each.id === id);
  const host = what === "persona" ? id : scene?.personas[0];
  const persona = stage.boot.personas.find((each) => each.id === host);
  goHome(stage);
  if (!persona) toast(stage, word(stage, "link_unknown"));
  else await openPersona(stage, persona, (patch) => enterChat(stage, patch), what === "scene" ? id : "");
  return true;
}

function decodedHash() {
  try {
    return decodeURIComponent(window.location.hash);
  } catch {
    return "";
  }
}
