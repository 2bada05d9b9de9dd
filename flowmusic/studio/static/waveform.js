// The waveform of a deck on the time axis; a part is selected by dragging over it.

import * as api from "./api.js";
import { withAdoptedStyles } from "./adopted-styles.js";
import { barsAndBeats, clamp, clock, meterOf } from "./axis.js";
import { attempt, h, iconButton } from "./dom.js";
import { onAxis } from "./timeline.js";
import Hover from "./vendor/wavesurfer/hover.esm.js";
import Regions from "./vendor/wavesurfer/regions.esm.js";
import TimelinePlugin from "./vendor/wavesurfer/timeline.esm.js";
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";

const HEIGHT = 64;
const PEAKS = 60; // in a second, so that a long song can be looked at closely

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Waveform {
  /** @param {"A" | "B"} deck */
  constructor(deck, { store, player, timeline }) {
    Object.assign(this, { deck, store, player, timeline });
    this.holder = h("div", { className: "wave" });
    this.kept = h("div", { className: "kept-layer", "aria-hidden": "true" });
    this.body = h("div", { className: "lane-body wave-body" }, this.holder, this.kept);
    let pressed = 0;
    this.body.addEventListener("pointerdown", (event) => { pressed = event.clientX; }); // prettier-ignore
    this.body.addEventListener("click", (event) => {
      if (Math.abs(event.clientX - pressed) < 4) player.seek(timeline.timeAt(event, this.body)); // not after a drag
    });
    this.letter = h("button", {
      type: "button", className: `deck-letter ${deck}`, "aria-pressed": "false", title: `Hear ${deck} (key ${deck.toLowerCase()})`,
      "aria-label": `Hear deck ${deck}`, onclick: () => player.activate(deck),
    }, deck); // prettier-ignore
    this.name = h("span", { className: "take-name" });
    this.note = h("span", { className: "take-note" });
    const off = deck === "B" ? iconButton("close", "Take the take off deck B", () => store.ui({ deckB: null })) : null;
    this.head = h("div", { className: "head wave-head" }, h("div", { className: "head-line" }, this.letter, this.name, off), this.note);
    this.element = h("section", { className: "row wave-row", "aria-label": `Deck ${deck}`, hidden: true }, this.head, this.body);
    player.addEventListener("state", () => this.#showActive());
    store.watch((state) => [this.#take(state)], ([take], before) => this.#show(take, before?.[0]));
    store.watch((state) => [state.ui.selection], ([selection]) => this.#showSelection(selection));
    store.watch((state) => [state.ui.theme], () => this.surfer?.setOptions(this.#colours()));
  }

  #take(state) {
    const id = this.deck === "A" ? state.session.selected : state.ui.deckB;
    return state.session.takes.find((take) => take.id === id && !take.deleted) ?? null;
  }

  async #show(take, before) {
    this.element.hidden = !take;
    this.player.load(this.deck, take);
    if (take) {
      this.name.textContent = take.name;
      this.note.textContent = `seed ${take.seed} · ${clock(take.duration)}`;
      this.kept.replaceChildren(...take.kept.map(([from, to]) => onAxis(h("div", { className: "kept", title: "Kept as it was" }), from, to - from)));
      onAxis(this.holder, 0, take.duration);
    }
    this.#showActive();
    if (take?.id === before?.id) return;
    this.surfer?.destroy();
    this.surfer = null;
    if (take) await this.#draw(take);
  }

  async #draw(take) {
    const peaks = await attempt(() => api.peaks(take.id, Math.round(clamp(take.duration * PEAKS, 2000, 20_000))));
    if (!peaks || this.player.takes[this.deck]?.id !== take.id || this.surfer) return;
    this.regions = Regions.create();
    const place = (seconds) => `${barsAndBeats(seconds, meterOf(this.store.state.session))} · ${seconds.toFixed(2)} s`;
    this.surfer = withAdoptedStyles(() => WaveSurfer.create({
      container: this.holder, media: this.player.decks[this.deck], duration: take.duration, height: HEIGHT,
      peaks: [peaks.map(([, high]) => high), peaks.map(([low]) => -low)], normalize: true, cursorWidth: 0,
      interact: false, hideScrollbar: true, autoScroll: false, ...this.#colours(),
      plugins: [
        this.regions,
        Hover.create({ lineColor: colour("--muted"), lineWidth: 1, labelSize: 11, labelColor: colour("--ink"),
          labelBackground: colour("--raised"), formatTimeCallback: place }),
        TimelinePlugin.create({ height: 20, timeInterval: take.duration > 60 ? 5 : 1, primaryLabelInterval: take.duration > 60 ? 30 : 5,
          secondaryLabelInterval: 0, formatTimeCallback: (seconds) => `${seconds} s` }),
      ],
    })); // prettier-ignore
    this.surfer.on("error", (error) => console.warn(`The waveform of ${take.name}: ${error.message}`));
    this.regions.enableDragSelection({ color: colour("--selection") });
    this.regions.on("region-created", (region) => {
      if (region.id === "selection") return;
      const { start, end } = region;
      region.remove();
      this.timeline.selectPart(start, end);
      this.#showSelection(this.store.state.ui.selection);
    });
    this.regions.on("region-updated", (region) => this.timeline.selectPart(region.start, region.end));
    this.surfer.on("ready", () => this.#showSelection(this.store.state.ui.selection));
  }

  #colours() {
    return { waveColor: colour(`--wave-${this.deck}`), progressColor: colour(`--wave-${this.deck}-played`) };
  }

  #showSelection(selection) {
    if (!this.surfer) return;
    const there = this.regions.getRegions().find((region) => region.id === "selection");
    if (!selection) return there?.remove();
    const [start, end] = selection;
    if (there) return there.setOptions({ start, end });
    return this.regions.addRegion({ id: "selection", start, end, color: colour("--selection"), drag: true, resize: true });
  }

  #showActive() {
    const active = this.player.active === this.deck;
    this.element.classList.toggle("active", active);
    this.letter.setAttribute("aria-pressed", String(active));
  }
}
