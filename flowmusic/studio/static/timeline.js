// The ruler, the playhead, the zoom and the selected part: what all lanes and waveforms have in common.

import { barsAndBeats, barsBetweenNumbers, barSeconds, beatSeconds, clamp, drawnPart, meterOf, snap } from "./axis.js";
import { drag, h, place } from "./dom.js";

/** Puts an element on the time axis: `start` and `length` in seconds, which the style sheet turns into pixels. */
export function onAxis(element, start, length) {
  return place(element, { "--at": String(start), "--long": String(length) });
}

/** Seconds that the axis shows: those of the session, or of a longer take on a deck. */
export function axisLength({ session, ui }) {
  const decks = session.takes.filter(({ id, deleted }) => !deleted && (id === session.selected || id === ui.deckB));
  return Math.max(session.duration, ...decks.map(({ duration }) => duration));
}

export class Timeline {
  constructor(store, player) {
    this.store = store;
    this.player = player;
    this.tracks = h("div", { className: "tracks" });
    this.ruler = h("div", {
      className: "ruler-body", tabIndex: 0, role: "slider", "aria-label": "Playhead",
      "aria-valuemin": 0, onpointerdown: (event) => this.#select(event), onkeydown: (event) => this.#key(event),
    }); // prettier-ignore
    this.selection = h("div", { className: "selection", hidden: true });
    this.playhead = h("div", { className: "playhead", "aria-hidden": "true" });
    const corner = h("div", { className: "head ruler-head" }, h("span", {}, "Bars"));
    this.inner = h("div", { className: "tracks-inner" },
      h("div", { className: "row ruler" }, corner, this.ruler), this.tracks, this.playhead); // prettier-ignore
    this.scroller = h("div", { className: "scroller", tabIndex: 0, role: "region", "aria-label": "Timeline" }, this.inner);
    this.element = this.scroller;

    store.watch((state) => [axisLength(state), state.session.bpm, state.session.beats_per_bar, state.ui.zoom], () => this.#layout());
    store.watch((state) => [state.ui.selection], () => this.#showSelection());
    new ResizeObserver(() => this.#layout()).observe(this.scroller);
    this.scroller.addEventListener("scroll", () => this.#showPart(), { passive: true });
    player.addEventListener("time", () => this.#showTime());
  }

  get length() {
    return axisLength(this.store.state);
  }

  get meter() {
    return meterOf(this.store.state.session);
  }

  /** Seconds under a pointer, by the left edge of a lane's body. */
  timeAt(event, body = this.ruler) {
    return clamp((event.clientX - body.getBoundingClientRect().left) / this.pixelsPerSecond, 0, this.length);
  }

  zoom(factor) {
    const fit = this.#fitting();
    const zoom = clamp((this.store.state.ui.zoom ?? 1) * factor, 1, Math.max(1, 400 / fit));
    this.store.ui({ zoom });
  }

  #fitting() {
    const head = this.inner.querySelector(".ruler-head")?.offsetWidth ?? 0;
    const stacked = getComputedStyle(this.inner).getPropertyValue("--stacked").trim() === "1";
    const room = this.scroller.clientWidth - (stacked ? 0 : head) - 12;
    const fit = Math.max(room, 120) / Math.max(this.length, 0.5);
    return stacked ? Math.max(fit, 28) : fit;
  }

  #layout() {
    const { ui } = this.store.state;
    this.pixelsPerSecond = this.#fitting() * (ui.zoom ?? 1);
    const meter = this.meter;
    place(this.inner, {
      "--pps": this.pixelsPerSecond,
      "--duration": String(this.length),
      "--beat": String(beatSeconds(meter)),
      "--bar": String(barSeconds(meter)),
    });
    const step = barsBetweenNumbers(meter, this.pixelsPerSecond);
    const numbers = [];
    for (let bar = 0; bar * barSeconds(meter) < this.length - 1e-6; bar += step) {
      numbers.push(onAxis(h("span", { className: "bar-number" }, String(bar + 1)), bar * barSeconds(meter), 0));
    }
    this.ruler.replaceChildren(this.selection, ...numbers);
    this.ruler.setAttribute("aria-valuemax", this.length.toFixed(2));
    this.player.duration = this.store.state.session.duration;
    this.#showTime();
    this.#showPart();
  }

  /** What lanes draw: of a long song only what is near the view. */
  #showPart() {
    const left = this.scroller.scrollLeft / this.pixelsPerSecond;
    const part = drawnPart(left, left + this.scroller.clientWidth / this.pixelsPerSecond);
    const before = this.store.state.ui.part;
    if (before?.[0] !== part[0] || before?.[1] !== part[1]) this.store.ui({ part });
  }

  #showTime() {
    const time = this.player.time;
    place(this.playhead, { "--at": String(time) });
    this.ruler.setAttribute("aria-valuenow", time.toFixed(2));
    this.ruler.setAttribute("aria-valuetext", `bar ${barsAndBeats(time, this.meter)}`);
    if (this.player.playing) this.#keepInView(time);
  }

  #keepInView(time) {
    const head = this.inner.querySelector(".ruler-head").offsetWidth;
    const x = time * this.pixelsPerSecond - this.scroller.scrollLeft;
    const room = this.scroller.clientWidth - head;
    if (x > room * 0.95 || x < 0) this.scroller.scrollLeft = time * this.pixelsPerSecond - room * 0.1;
  }

  #showSelection() {
    const { selection } = this.store.state.ui;
    this.selection.hidden = !selection;
    if (selection) onAxis(this.selection, selection[0], selection[1] - selection[0]);
  }

  /** A press on the ruler moves the playhead; a drag selects whole beats. */
  #select(event) {
    if (event.button) return;
    const from = this.timeAt(event);
    drag(event, {
      move: (next) => this.store.ui({ selection: this.#snapped(from, this.timeAt(next)) }),
      end: (_, moved) => {
        if (moved === false) this.player.seek(from);
      },
    });
  }

  #snapped(a, b) {
    const beat = beatSeconds(this.meter);
    const [low, high] = [snap(Math.min(a, b), this.meter), snap(Math.max(a, b), this.meter)];
    const duration = this.length;
    return [Math.min(low, Math.max(0, duration - beat)), Math.min(Math.max(high, low + beat), duration)];
  }

  /** A part of the axis, in whole beats. */
  selectPart(a, b) {
    this.store.ui({ selection: this.#snapped(a, b) });
  }

  #key(event) {
    if (!event.shiftKey || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    const beat = beatSeconds(this.meter) * (event.key === "ArrowLeft" ? -1 : 1);
    const [from, to] = this.store.state.ui.selection ?? [snap(this.player.time, this.meter), snap(this.player.time, this.meter)];
    this.store.ui({ selection: this.#snapped(from, Math.max(from, to + beat)) });
  }
}
