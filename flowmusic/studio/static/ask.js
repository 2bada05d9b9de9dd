// The Ask panel: words, length, tempo, metre, files, presets, advanced settings, and the button.

import { barSeconds, barsIn, beatSeconds, meterOf, round, stretch } from "./axis.js";
import { h } from "./dom.js";
import { ROLES } from "./roles.js";
import { Settings } from "./settings.js";
import { newSeed } from "./takes.js";
import { Uploads } from "./uploads.js";

/**
 * The patch for another tempo or metre of music that is counted in bars: its bars stay, so its length and its
 * lanes are stretched. A lane that was extracted from a recording keeps its times.
 */
export function tempoPatch(session, bpm, beatsPerBar) {
  const before = meterOf(session);
  const after = { bpm, beatsPerBar };
  const bars = session.duration / barSeconds(before);
  const free = ROLES.filter((role) => !session.use?.[role]?.source && session.lanes[role]?.length);
  const lanes = Object.fromEntries(free.map((role) => [role, session.lanes[role]]));
  const factor = beatSeconds(after) / beatSeconds(before);
  const patch = { bpm, beats_per_bar: beatsPerBar, duration: round(bars * barSeconds(after)) };
  if (factor === 1 || !free.length) return patch;
  const spans = free.filter((role) => session.use?.[role]?.span);
  const use = spans.map((role) => [role, { span: session.use[role].span.map((edge) => round(edge * factor)) }]);
  return { ...patch, lanes: stretch(lanes, factor), ...(use.length ? { use: Object.fromEntries(use) } : {}) };
}

export class Ask {
  constructor({ store, startJob }) {
    Object.assign(this, { store, startJob });
    this.text = h("textarea", { id: "text", rows: 3, placeholder: "a mellow jazz trio with electric piano, relaxed",
      onchange: () => store.edit({ request: { text: this.text.value.trim() || null } }, "text"),
      onkeydown: (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          this.text.blur();
          this.generate();
        }
      } }); // prettier-ignore
    this.unit = h("select", { "aria-label": "Unit of the length", onchange: () => this.#show() },
      h("option", { value: "bars" }, "bars"), h("option", { value: "seconds" }, "sec")); // prettier-ignore
    this.length = h("input", { id: "length", type: "number", min: 0.5, step: "any", onchange: () => this.#setLength() });
    this.bpm = h("input", { id: "bpm", type: "number", min: 10, max: 400, step: "any", onchange: () => this.#setMeter() });
    this.beats = h("input", { id: "beats", type: "number", min: 1, max: 32, step: "any", onchange: () => this.#setMeter() });
    this.taps = [];
    const tap = h("button", { type: "button", className: "chip", title: "Tap the tempo", onclick: () => this.#tap() }, "Tap");
    this.count = h("select", { id: "count", "aria-label": "Takes to make" },
      ...[1, 2, 3, 4, 6, 8].map((n) => h("option", { value: n }, n === 1 ? "1 take" : `${n} takes`))); // prettier-ignore
    this.best = h("input", { type: "checkbox", id: "best" });
    this.lock = h("input", { type: "checkbox", id: "lock" });
    this.button = h("button", { type: "button", className: "generate", onclick: () => this.generate() }, "Generate");
    const presets = store.state.about.presets ?? [];
    const field = (label, id, ...inputs) => h("div", { className: "field" }, h("label", { htmlFor: id, for: id }, label), ...inputs);
    this.element = h("section", { className: "panel ask", "aria-label": "Ask" },
      h("div", { className: "panel-head" }, h("h2", {}, "Ask"), this.#presets(presets)),
      field("What should it sound like?", "text", this.text),
      h("div", { className: "fields" },
        field("Length", "length", h("div", { className: "joined" }, this.length, this.unit)),
        field("Tempo", "bpm", h("div", { className: "joined" }, this.bpm, tap)),
        field("Beats/bar", "beats", this.beats)),
      h("h3", { className: "section" }, "Follow"),
      new Uploads({ store, startJob }).element,
      new Settings({ store }).element,
      h("div", { className: "generate-bar" },
        h("div", { className: "generate-options" }, this.count,
          h("label", { title: "Of several takes, keep only the one that follows the lanes best" }, this.best, " keep the best"),
          h("label", { title: "The seed of the advanced settings, not another each time" }, this.lock, " fixed seed")),
        this.button)); // prettier-ignore
    this.count.addEventListener("change", () => this.#several());
    this.#several();
    store.watch((state) => ["duration", "bpm", "beats_per_bar"].map((key) => state.session[key]), () => this.#show());
    store.watch((state) => [state.session.request.text], ([text]) => {
      if (document.activeElement !== this.text) this.text.value = text ?? "";
    }); // prettier-ignore
  }

  async generate() {
    const { request } = this.store.state.session;
    const n = Number(this.count.value);
    const first = this.lock.checked ? (request.seed ?? 0) : newSeed();
    const seeds = Array.from({ length: n }, (_, i) => first + i);
    await this.startJob({ kind: "generate", seeds, best: n > 1 && this.best.checked });
  }

  #several() {
    this.best.disabled = this.count.value === "1";
  }

  #presets(presets) {
    if (!presets.length) return null;
    const choice = h("select", { "aria-label": "Presets", className: "presets", onchange: () => {
      const preset = presets[Number(choice.value)];
      if (preset) this.store.edit(preset.session, `preset ${preset.name}`);
      choice.value = "";
    } }, h("option", { value: "" }, "Presets…"), ...presets.map(({ name }, i) => h("option", { value: i }, name))); // prettier-ignore
    return choice;
  }

  #show() {
    const { session } = this.store.state;
    const shown = (value) => String(Math.round(value * 1000) / 1000);
    this.length.value = shown(this.unit.value === "bars" ? barsIn(session.duration, meterOf(session)) : session.duration);
    this.bpm.value = shown(session.bpm ?? 120);
    this.beats.value = shown(session.beats_per_bar ?? 4);
  }

  #setLength() {
    const { session } = this.store.state;
    const value = Number(this.length.value); // whether it can be is the server's to say
    const duration = round(this.unit.value === "bars" ? value * barSeconds(meterOf(session)) : value);
    return this.store.edit({ duration }, "length");
  }

  #setMeter() {
    const { session } = this.store.state;
    const [bpm, beats] = [Number(this.bpm.value), Number(this.beats.value)];
    const stretches = this.unit.value === "bars" && bpm > 0 && beats > 0;
    const patch = stretches ? tempoPatch(session, bpm, beats) : { bpm, beats_per_bar: beats };
    return this.store.edit(patch, "tempo");
  }

  #tap() {
    const now = performance.now();
    if (now - (this.taps.at(-1) ?? 0) > 2000) this.taps = [];
    this.taps.push(now);
    if (this.taps.length < 3) return;
    this.taps = this.taps.slice(-8);
    this.bpm.value = Math.round((60000 * (this.taps.length - 1)) / (now - this.taps[0]));
    this.#setMeter();
  }
}
