// The keyboard. Fields keep their keys; buttons keep Enter and Space.

import { barSeconds, beatSeconds, meterOf } from "./axis.js";

const FIELDS = "input:not([type=checkbox]):not([type=range]), textarea, select";

/** What a key means: the name of an action, or null. */
export function meaning(event, inField, onButton) {
  const { key } = event;
  if (event.ctrlKey || event.metaKey) {
    if (inField || event.altKey) return null;
    if (key === "z" || key === "Z") return event.shiftKey ? "redo" : "undo";
    return key === "y" ? "redo" : null;
  }
  if (inField || event.altKey) return null;
  if (key === " ") return onButton ? null : "play";
  if (key === "ArrowLeft") return event.shiftKey ? "bar back" : "beat back";
  if (key === "ArrowRight") return event.shiftKey ? "bar on" : "beat on";
  return { Home: "start", a: "deck A", b: "deck B", l: "loop", h: "lanes", Escape: "escape", "?": "help" }[key] ?? null;
}

export function listen({ store, player, actions }) {
  const meter = () => meterOf(store.state.session);
  const all = {
    ...actions,
    "beat back": () => player.seek(player.time - beatSeconds(meter())),
    "beat on": () => player.seek(player.time + beatSeconds(meter())),
    "bar back": () => player.seek(player.time - barSeconds(meter())),
    "bar on": () => player.seek(player.time + barSeconds(meter())),
    start: () => player.seek(0),
    "deck A": () => player.activate("A"),
    "deck B": () => player.activate("B"),
  };
  window.addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return;
    const { target } = event;
    const range = target.matches?.("input[type=range]") && event.key.startsWith("Arrow");
    const action = meaning(event, Boolean(target.matches?.(FIELDS)) || range, Boolean(target.closest?.("button, summary, a, input, [role=button]")));
    if (!action || !all[action]) return;
    event.preventDefault();
    all[action]();
  });
}
