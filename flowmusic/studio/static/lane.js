// What every lane has: its head with mute, preview, span, strength and score, and its body on the time axis.

import { barsAndBeats, meterOf, snap } from "./axis.js";
import { drag, h, icon, say } from "./dom.js";
import { axisLength, onAxis } from "./timeline.js";

/** ".88", "1.0" */
export const scoreText = (score) => (typeof score === "number" ? score.toFixed(2).replace(/^0/, "") : "–");

export class Lane {
  /**
   * @param {string} role "chords", "melody" or "drums"
   * @param {object} page {store, player, timeline, hear}
   * @param {(Node|string)[]} tools buttons of the lane's menu
   */
  constructor(role, title, page, help, tools) {
    Object.assign(this, page, { role });
    this.items = h("div", { className: "items" });
    this.heard = h("div", { className: "heard-layer", "aria-hidden": "true" });
    this.shades = [h("div", { className: "shade" }), h("div", { className: "shade" })];
    this.handles = ["start", "end"].map((side, i) =>
      h("div", { className: `span-handle ${side}`, hidden: true, title: "Drag: where this lane counts",
        onpointerdown: (event) => this.#dragSpan(event, i) })); // prettier-ignore
    this.body = h("div", {
      className: `lane-body ${role}-body`, tabIndex: 0, role: "group", "aria-label": `${title}. ${help}`,
    }, this.heard, this.items, ...this.shades, ...this.handles); // prettier-ignore
    this.score = h("span", { className: "score", hidden: true });
    this.mute = this.#toggle("Mute", `Mute ${role}: the clip is free of them`, () => this.#use({ mute: !this.use.mute }, `mute of ${role}`));
    this.only = this.#toggle("Only here", `${title} only in the selected part`, () => this.#toggleSpan());
    this.listen = h("button", { type: "button", className: "chip listen", title: `Hear the ${role} by a plain synthesizer`,
      "aria-label": `Hear the ${role}`, onclick: () => this.hear([role]) }, icon("speaker")); // prettier-ignore
    this.strength = h("input", {
      type: "range", min: 0, max: this.store.state.about.max_strength, step: 0.25, "aria-label": `Strength of ${role}`,
      onchange: () => this.#use({ strength: Number(this.strength.value) }, `strength of ${role}`),
      oninput: () => this.#showStrength(Number(this.strength.value)),
      ondblclick: () => this.#use({ strength: null }, `strength of ${role}`),
    }); // prettier-ignore
    this.strengthText = h("button", { type: "button", className: "strength-text", title: "Back to the model's own strength",
      onclick: () => this.#use({ strength: null }, `strength of ${role}`) }); // prettier-ignore
    this.head = h("div", { className: "head" },
      h("div", { className: "head-line" }, h("span", { className: "dot" }), h("h3", {}, title), this.score,
        h("details", { className: "menu" }, h("summary", { "aria-label": `Tools for ${role}`, title: "Tools" }, icon("more")),
          h("div", { className: "menu-body" }, ...tools))),
      h("div", { className: "head-line" }, this.mute, this.listen, this.only),
      h("label", { className: "head-line strength" }, this.strength, this.strengthText)); // prettier-ignore
    this.element = h("section", { className: `row lane ${role}`, "aria-label": title, dataset: { role } }, this.head, this.body);

    this.store.watch((state) => [state.session.use?.[role], state.session.duration, axisLength(state)], () => this.#showUse());
    this.store.watch((state) => [state.session.lanes[role]], () => this.element.classList.toggle("empty", !this.list.length));
    this.store.watch((state) => [state.ui.heard], ([heard]) => this.#showScore(heard?.scores?.[role]));
  }

  get list() {
    return this.store.state.session.lanes[this.role] ?? [];
  }

  get use() {
    return this.store.state.session.use?.[this.role] ?? {};
  }

  get meter() {
    return meterOf(this.store.state.session);
  }

  get duration() {
    return this.store.state.session.duration;
  }

  /** Whether something lies near the view, so that it is to be drawn. */
  isNear(start, end = start) {
    const [from, to] = this.store.state.ui.part ?? [0, Infinity];
    return end >= from && start <= to;
  }

  /** The drawn element of an item. */
  elementOf(index) {
    return this.items.querySelector(`[data-index="${index}"]`);
  }

  /** Replaces what the lane holds, as an edit with a name. */
  edit(items, label) {
    // What was edited is no longer what was extracted from a recording; undoing it makes it so again.
    this.store.edit({ lanes: { [this.role]: items }, use: { [this.role]: { source: null } } }, label);
  }

  where(seconds) {
    return barsAndBeats(seconds, this.meter);
  }

  #use(change, label) {
    this.store.edit({ use: { [this.role]: change } }, label);
  }

  #toggle(text, title, onclick) {
    return h("button", { type: "button", className: "chip", title, "aria-label": title, "aria-pressed": "false", onclick }, text);
  }

  #toggleSpan() {
    if (this.use.span) return this.#use({ span: null }, `span of ${this.role}`);
    const { selection } = this.store.state.ui;
    if (!selection) return say("Select a part first: drag on the ruler or over a waveform.");
    return this.#use({ span: selection }, `span of ${this.role}`);
  }

  #showUse() {
    const { mute, span, strength } = this.use;
    this.element.classList.toggle("muted", Boolean(mute));
    this.mute.setAttribute("aria-pressed", String(Boolean(mute)));
    this.only.setAttribute("aria-pressed", String(Boolean(span)));
    const [from, to] = span ?? [0, this.duration];
    onAxis(this.shades[0], 0, from);
    const shown = Math.min(to, this.duration);
    onAxis(this.shades[1], shown, Math.max(0, this.timeline.length - shown));
    this.handles.forEach((handle, i) => {
      handle.hidden = !span;
      onAxis(handle, i ? to : from, 0);
    });
    this.#showStrength(strength);
  }

  #showStrength(strength) {
    const own = strength === null || strength === undefined;
    const usual = this.store.state.about.model.defaults?.guidance;
    if (own) this.strength.value = Number(usual) || 3;
    else this.strength.value = strength;
    this.strength.classList.toggle("own", own);
    this.strengthText.textContent = own ? "auto" : `×${strength}`;
    this.strengthText.disabled = own;
  }

  #showScore(score) {
    this.score.hidden = typeof score !== "number";
    this.score.textContent = scoreText(score);
    this.score.title = "How closely the take follows this lane, of 1";
    this.score.classList.toggle("good", score >= 0.75);
    this.score.classList.toggle("poor", score < 0.5);
  }

  #dragSpan(event, side) {
    event.stopPropagation();
    const span = [...this.use.span];
    const show = (next) => {
      span[side] = snap(this.timeline.timeAt(next, this.body), this.meter);
      onAxis(this.handles[side], span[side], 0);
    };
    drag(event, {
      move: show,
      end: (_, moved) => {
        if (moved && span[0] < span[1]) this.#use({ span }, `span of ${this.role}`);
        else this.#showUse();
      },
    });
  }
}
