// @ts-check
// Tell the other tabs of this browser that a chat has changed, and look again where another tab, or another device, may
// have changed the open one. The message holds the chat's id alone.

import { run } from "./generation.js";
import { apply } from "./patches.js";

/** @typedef {import("./types.js").Stage} Stage */

const REST_MILLISECONDS = 3_000;

/**
 * Listen to the other tabs, and look again when this one comes into view.
 * @param {Stage} stage
 */
export function watchOtherTabs(stage) {
  let looked = Date.now();
  const look = async () => {
    const { chat } = stage;
    if (!chat || stage.running) return;
    looked = Date.now();
    const patch = await stage.api.act("open", { chat: chat.id });
    if ("error" in patch || stage.running || stage.chat !== chat) return;
    apply(stage, patch);
    if (patch.view.live) run(stage, "follow", { chat: chat.id });
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - looked > REST_MILLISECONDS) look();
  });
  if (typeof BroadcastChannel === "undefined") return;
  const channel = new BroadcastChannel("her-chats");
  channel.addEventListener("message", ({ data }) => {
    if (data === stage.chat?.id) look();
  });
  stage.tell = (id) => channel.postMessage(id);
}
