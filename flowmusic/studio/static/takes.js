// The takes: hear one on deck A or B, star, rename, delete, make more of its kind, take it home.

import * as api from "./api.js";
import { clock } from "./axis.js";
import { attempt, h, icon, iconButton, place, say } from "./dom.js";
import { extensionPatch } from "./extension.js";
import { scoreText } from "./lane.js";
import { ROLES } from "./roles.js";

/** Takes that are there, those with a star first, then the newest. */
export const shown = (takes) =>
  takes.filter((take) => !take.deleted).sort((a, b) => b.star - a.star || b.created - a.created);

export const newSeed = () => Math.floor(Math.random() * 2 ** 31);

/** Seconds that a take took, of all its parts. */
export const totalSeconds = (seconds) =>
  typeof seconds === "number" ? seconds : Object.values(seconds ?? {}).reduce((sum, part) => sum + part, 0);

export class Takes {
  constructor({ store, player, startJob }) {
    Object.assign(this, { store, player, startJob });
    this.rows = new Map();
    this.list = h("ul", { className: "takes", "aria-label": "Takes" });
    this.count = h("span", { className: "count" });
    this.empty = h("p", { className: "hint" }, "Nothing yet: say what you want to hear, and press Generate.");
    this.element = h("section", { className: "panel takes-panel", "aria-label": "Takes" },
      h("div", { className: "panel-head" }, h("h2", {}, "Takes"), this.count), this.empty, this.list); // prettier-ignore
    store.watch((state) => [state.session.takes, state.session.selected, state.ui.deckB], () => this.#draw());
  }

  #draw() {
    const { session, ui } = this.store.state;
    const takes = shown(session.takes);
    this.empty.hidden = takes.length > 0;
    this.count.textContent = takes.length ? String(takes.length) : "";
    for (const [id, row] of this.rows) {
      if (takes.some((take) => take.id === id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    takes.forEach((take, index) => {
      const row = this.rows.get(take.id) ?? this.#row(take);
      this.rows.set(take.id, row);
      row.show(take, session.selected === take.id, ui.deckB === take.id);
      if (this.list.children[index] !== row.element) this.list.insertBefore(row.element, this.list.children[index] ?? null);
    });
  }

  #row(first) {
    const { id } = first;
    const current = () => this.store.state.session.takes.find((take) => take.id === id);
    const deck = (letter, onclick) => h("button", { type: "button", className: `deck-letter ${letter}`, onclick,
      "aria-label": `Put on deck ${letter}`, "aria-pressed": "false", title: `Put on deck ${letter}` }, letter); // prettier-ignore
    const onA = deck("A", () => this.choose(id));
    const onB = deck("B", () => this.store.ui({ deckB: this.store.state.ui.deckB === id ? null : id }));
    const star = iconButton("star", "Star", () => this.#change(id, { star: !current().star }), { "aria-pressed": "false" });
    const name = h("input", { type: "text", className: "plain-input take-title", "aria-label": "Name of the take", maxLength: 200,
      onchange: () => this.#change(id, { name: name.value.trim() || current().name }),
      onkeydown: (event) => event.key === "Enter" && name.blur() }); // prettier-ignore
    const facts = h("span", { className: "facts" });
    const scores = ROLES.map((role) => h("span", { className: `take-score ${role}` }));
    const canvas = h("canvas", { className: "thumb", width: 240, height: 32, "aria-hidden": "true" });
    const button = (text, title, onclick) => h("button", { type: "button", className: "chip", title, onclick }, text);
    const element = h("li", { className: "take", dataset: { id } },
      h("div", { className: "take-decks" }, onA, onB),
      h("div", { className: "take-main" }, h("div", { className: "take-line" }, star, name), facts),
      h("button", { type: "button", className: "thumb-button", "aria-label": "Play the take", title: "Play", onclick: () => this.#play(id) }, canvas),
      h("div", { className: "take-scores", role: "group", "aria-label": "Scores" }, ...scores),
      h("div", { className: "take-buttons" },
        this.#has("vary") && button("Vary", "More like this: the same, partly made anew", () => this.startJob({ kind: "generate", vary: id, seeds: [newSeed()] })),
        button("Another seed", "The lanes as they are now, with another seed", () => this.startJob({ kind: "generate", seeds: [newSeed()] })),
        this.#longer(id), this.#home(id), iconButton("trash", "Delete the take", () => this.remove(current()))),
    ); // prettier-ignore
    this.#thumb(id, canvas);
    const show = (take, isA, isB) => {
      element.classList.toggle("on-a", isA);
      element.classList.toggle("on-b", isB);
      onA.setAttribute("aria-pressed", String(isA));
      onB.setAttribute("aria-pressed", String(isB));
      star.setAttribute("aria-pressed", String(take.star));
      if (document.activeElement !== name) name.value = take.name;
      const took = totalSeconds(take.seconds);
      facts.textContent = `seed ${take.seed} · ${clock(take.duration)}${took ? ` · made in ${took.toFixed(1)} s` : ""}`;
      ROLES.forEach((role, i) => {
        const score = take.scores?.[role];
        scores[i].hidden = typeof score !== "number";
        scores[i].textContent = scoreText(score);
        scores[i].title = `${role}: ${scoreText(score)} of 1`;
        place(scores[i], { "--share": String(score ?? 0) });
      });
    };
    return { element, show };
  }

  /** Whether the model has what a field of a request asks for. */
  #has(field) {
    return !this.store.state.about.model.lacks.includes(field);
  }

  /** Puts a take on deck A. */
  choose(id) {
    this.store.note({ selected: id });
    this.player.activate("A");
  }

  #play(id) {
    if (this.store.state.session.selected !== id) this.choose(id);
    this.player.activate("A");
    this.player.toggle();
  }

  #change(id, patch) {
    return attempt(() => api.changeTake(id, patch));
  }

  /** Deletes a take; the message and undo bring it back. */
  async remove(take) {
    if ((await attempt(() => api.deleteTake(take.id))) === undefined) return;
    const restore = () => attempt(() => api.restoreTake(take.id));
    const again = () => attempt(() => api.deleteTake(take.id));
    this.store.command({ label: `deletion of ${take.name}`, undo: restore, redo: again });
    say(`${take.name} is deleted.`, { action: "Undo", onaction: restore });
  }

  #menu(label, sign, ...items) {
    return h("details", { className: "menu" }, h("summary", { "aria-label": label, title: label }, sign), h("div", { className: "menu-body right" }, ...items));
  }

  #longer(id) {
    const seconds = () => {
      const { duration, bpm, beats_per_bar: beats } = this.store.state.session;
      return Math.min(duration, (4 * beats * 60) / bpm);
    };
    const item = (text, job) => h("button", { type: "button", onclick: () => this.startJob({ kind: "generate", seeds: [newSeed()], ...job() }) }, text);
    return this.#menu("More of this take", icon("plus"),
      item("Continue for four bars", () => ({ of: id, extend: this.#lengthen(id, seconds(), false) })),
      item("Begin four bars earlier", () => ({ of: id, before: this.#lengthen(id, seconds(), true) })),
      this.#has("vary") && this.#has("loop") && item("A loop of this kind", () => ({ vary: id, loop: true })),
      h("button", { type: "button", onclick: () => this.#useLanes(id) }, "Edit the lanes that it follows"),
    ); // prettier-ignore
  }

  /** Lengthens the session with the take, if it is as long as that; answers the seconds. */
  #lengthen(id, seconds, before) {
    const { session } = this.store.state;
    const take = session.takes.find((other) => other.id === id);
    const together = Math.abs(take.duration - session.duration) < 0.05;
    if (together) this.store.edit(extensionPatch(session, seconds, before), before ? "earlier start" : "continuation");
    return seconds;
  }

  /** Puts what a take follows into the lanes: of a text alone that is what was composed for it. */
  async #useLanes(id) {
    const lanes = await attempt(() => api.asked(id));
    if (!lanes || !Object.keys(lanes).length) return;
    const use = Object.fromEntries(Object.keys(lanes).map((role) => [role, { source: null, origin: null }]));
    this.store.edit({ lanes, use }, "lanes of a take");
  }

  #home(id) {
    const link = (text, what) => h("a", { href: api.takeUrl(id, what), download: "" }, text);
    const copy = (text, key) => h("button", { type: "button", onclick: () => this.#copy(id, key) }, text);
    return this.#menu("Take home", icon("down"),
      ...["wav", "flac", "ogg"].map((format) => link(format.toUpperCase(), `audio?format=${format}&download`)),
      link("MIDI as asked", "midi?of=asked"), link("MIDI as found in the take", "midi?of=heard"), link("Chord chart", "chart"),
      link("Settings (JSON)", "sidecar?download"), h("a", { href: api.takeUrl(id, "plot"), target: "_blank", rel: "noopener" }, "Plot"),
      copy("Copy as command", "command"), copy("Copy as Python", "python"),
    ); // prettier-ignore
  }

  async #copy(id, key) {
    const texts = await attempt(() => api.command(id));
    if (!texts) return;
    await attempt(() => navigator.clipboard.writeText(texts[key]));
    say(key === "python" ? "The Python lines are copied." : "The command is copied.");
  }

  async #thumb(id, canvas) {
    const peaks = await api.peaks(id, 120).catch(() => []);
    const context = canvas.getContext("2d");
    context.fillStyle = "#8b93a7";
    const top = Math.max(0.05, ...peaks.map(([low, high]) => Math.max(-low, high)));
    peaks.forEach(([low, high], i) => {
      const half = Math.max(0.5, (Math.max(-low, high) / top) * 15);
      context.fillRect(i * 2, 16 - half, 1.4, half * 2);
    });
  }
}
