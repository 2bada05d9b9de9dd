// The keyboard. Fields keep their keys; a button that was reached by keyboard keeps Space, one that was clicked does not.

import { barSeconds, beatSeconds, meterOf } from "./axis.js";

const FIELDS = "input:not([type=checkbox]):not([type=range]), textarea, select";

const BUTTONS = "button, summary, a, input";

/** What a key means: the name of an action, or null. */
export function meaning(event, inField, onButton) {
  const { key } = event;
  if (event.ctrlKey || event.metaKey) {
    if (inField || event.altKey) return null;
    if (key === "z" || key === "Z") return event.shiftKey ? "redo" : "undo";
    return key === "y" ? "redo" : null;
  }
  if (key === "Escape") return "escape";
  if (inField || event.altKey) return null;
  if (key === " ") return onButton ? null : "play";
  if (key === "ArrowLeft") return event.shiftKey ? "bar back" : "beat back";
  if (key === "ArrowRight") return event.shiftKey ? "bar on" : "beat on";
  return { Home: "start", a: "deck A", b: "deck B", l: "loop", c: "click", h: "lanes", "?": "help" }[key] ?? null;
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
  // Space plays after a click, too: what was clicked gives the focus up, and Tab goes on from there all the same.
  window.addEventListener("click", (event) => {
    if (event.detail > 0) event.target.closest?.("button, [type=checkbox], [type=range]")?.blur();
  });
  window.addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return;
    const { target } = event;
    const range = target.matches?.("input[type=range]") && event.key.startsWith("Arrow");
    const onButton = Boolean(target.matches?.(BUTTONS));
    const action = meaning(event, Boolean(target.matches?.(FIELDS)) || range, onButton);
    if (!action || !all[action]) return;
    event.preventDefault();
    all[action]();
  });
}
