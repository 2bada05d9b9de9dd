// Small helpers to build elements. No inline style ever: positions go through `place`.

/** An element: properties by name, `on…` listeners, `aria-…`/`data-…`/`role` as attributes, then children. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && !key.includes("-") && typeof value !== "object" && key !== "list") element[key] = value;
    else if (key === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Custom properties of an element, in pixels where they are numbers. */
export function place(element, properties) {
  for (const [key, value] of Object.entries(properties)) {
    element.style.setProperty(key, typeof value === "number" ? `${value}px` : value);
  }
  return element;
}

const ICONS = {
  play: "M7 4.5v15l12.5-7.5z",
  pause: "M7 4h4v16H7zM13 4h4v16h-4z",
  start: "M5 4h2.5v16H5zM19.5 4.5v15L8.5 12z",
  loop: "M7 7h9V4l5 4.5L16 13v-3H7a2.5 2.5 0 0 0 0 5h1v3H7A5.5 5.5 0 0 1 7 7z",
  undo: "M8 5 3 9.5 8 14v-3h6a3.5 3.5 0 0 1 0 7H8v3h6a6.5 6.5 0 0 0 0-13H8z",
  redo: "M16 5l5 4.5-5 4.5v-3h-6a3.5 3.5 0 0 0 0 7h6v3h-6a6.5 6.5 0 0 1 0-13h6z",
  theme: "M12 3a9 9 0 1 0 0 18zM12 5.5v13a6.5 6.5 0 0 0 0-13z",
  star: "M12 3.5l2.6 5.6 6 .8-4.4 4.2 1.1 6L12 17.2l-5.3 2.9 1.1-6L3.4 9.9l6-.8z",
  close: "M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6l5.6-5.6L5 6.4z",
  trash: "M9 3h6l1 2h4v2H4V5h4zM6 8h12l-1 13H7z",
  mic: "M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11h2a4 4 0 0 0 8 0h2a6 6 0 0 1-5 5.9V21h-2v-4.1A6 6 0 0 1 6 11z",
  speaker: "M4 9h4l5-4.5v15L8 15H4zM16 8a5 5 0 0 1 0 8zM16 4.5a8.5 8.5 0 0 1 0 15v-2a6.5 6.5 0 0 0 0-11z",
  down: "M11 3h2v9.5l3.5-3.5 1.4 1.4L12 16.3l-5.9-5.9L7.5 9l3.5 3.5zM4 18h16v2.5H4z",
  more: "M4 10h4v4H4zM10 10h4v4h-4zM16 10h4v4h-4z",
  plus: "M11 4h2v7h7v2h-7v7h-2v-7H4v-2h7z",
  minus: "M4 11h16v2H4z",
  fit: "M3 4h2v16H3zM19 4h2v16h-2zM10 7v3h4V7l5 5-5 5v-3h-4v3l-5-5z",
};

/** A picture of 24 units that takes the colour of its text. */
export const icon = (name) =>
  svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: ICONS[name], fill: "currentColor" })); // prettier-ignore

/** A button with a picture and a name for screen readers. */
export const iconButton = (name, label, onclick, extra = {}) =>
  h("button", { type: "button", className: "icon-button", "aria-label": label, title: label, onclick, ...extra }, icon(name));

/**
 * Follows a pointer from its press on: `move(event, dx, dy)` and `end(event, moved)`. Escape ends it with
 * `moved` null, which means: forget it.
 */
export function drag(event, { move, end }) {
  const target = event.currentTarget;
  const [x, y] = [event.clientX, event.clientY];
  let moved = false;
  target.setPointerCapture?.(event.pointerId);
  const onMove = (next) => {
    const [dx, dy] = [next.clientX - x, next.clientY - y];
    if (!moved && Math.hypot(dx, dy) < 3) return;
    moved = true;
    move?.(next, dx, dy);
  };
  const finish = (last, result) => {
    target.removeEventListener("pointermove", onMove);
    target.removeEventListener("pointerup", onUp);
    target.removeEventListener("pointercancel", onCancel);
    window.removeEventListener("keydown", onKey, true);
    end?.(last, result);
  };
  const onUp = (last) => finish(last, moved);
  const onCancel = (last) => finish(last, null);
  const onKey = (key) => {
    if (key.key !== "Escape") return;
    key.stopPropagation();
    finish(key, null);
  };
  target.addEventListener("pointermove", onMove);
  target.addEventListener("pointerup", onUp);
  target.addEventListener("pointercancel", onCancel);
  window.addEventListener("keydown", onKey, true);
}

/** Says something to screen readers and, briefly, on the page; with a button where there is a way back. */
export function say(text, { bad = false, action = null, onaction = null } = {}) {
  const holder = document.getElementById("messages");
  const message = h("div", { className: bad ? "message bad" : "message", role: bad ? "alert" : "status" }, h("span", {}, text));
  const close = () => message.remove();
  if (action) {
    message.append(h("button", { type: "button", className: "button", onclick: () => { close(); onaction(); } }, action));
  }
  message.append(iconButton("close", "Close the message", close));
  holder.append(message);
  while (holder.children.length > 4) holder.firstChild.remove();
  setTimeout(close, bad ? 12000 : 7000);
}

/** Runs something that may be refused; the refusal is said, and the answer is undefined. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(error.message, { bad: true });
    return undefined;
  }
}
