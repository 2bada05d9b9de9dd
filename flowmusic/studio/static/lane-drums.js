// The drums lane: four rows of steps. A press sets or takes a stroke; dragging it up or down sets its velocity.

import { barSeconds, beatSeconds, clamp, snap, snapDown } from "./axis.js";
import { drag, h, place } from "./dom.js";
import { Lane } from "./lane.js";
import { DRUM_ROWS, drumRow } from "./music.js";
import { barRepeated, strokeAdded, strokeAt } from "./strokes.js";
import { onAxis } from "./timeline.js";

const USUAL = 100;
const AUDIBLE = 0.45; // of the loudest onset of a band

export class DrumsLane extends Lane {
  constructor(page) {
    const division = h("select", { "aria-label": "Steps of a beat" },
      ...[["2", "1/8"], ["3", "1/8 triplet"], ["4", "1/16"], ["6", "1/16 triplet"], ["8", "1/32"]]
        .map(([value, text]) => h("option", { value, selected: value === "4" }, text))); // prettier-ignore
    super("drums", "Drums", page,
      "Arrow keys move the cursor, Enter sets or takes a stroke, plus and minus change its velocity", [
      h("label", { className: "menu-form" }, "Steps", division),
      h("button", { type: "button", onclick: () => this.#repeatBar() }, "Repeat this bar to the end"),
      h("button", { type: "button", onclick: () => this.edit([], "clearing of the drums") }, "Clear"),
    ]); // prettier-ignore
    this.division = 4;
    division.addEventListener("change", () => {
      this.division = Number(division.value);
      this.#grid();
    });
    this.cursor = { time: 0, row: DRUM_ROWS.length - 1 };
    const names = () => h("div", { className: "drum-names", "aria-hidden": "true" }, ...DRUM_ROWS.map(({ name }) => h("span", {}, name)));
    this.cursorMark = h("div", { className: "cursor", hidden: true, "aria-hidden": "true" });
    // Beside the rows; on a narrow page, where the head stands above them, over them.
    this.head.append(names());
    this.body.append(this.cursorMark, names());
    this.body.addEventListener("pointerdown", (event) => this.#press(event));
    this.body.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("blur", () => { this.cursorMark.hidden = true; }); // prettier-ignore
    place(this.body, { "--rows": String(DRUM_ROWS.length) });
    this.store.watch((state) => [state.session.bpm], () => this.#grid());
    this.store.watch((state) => [state.session.lanes.drums, state.ui.part], () => this.#draw(this.list));
    this.store.watch((state) => [state.ui.heard, state.ui.part], ([heard]) => this.#drawHeard(heard?.drums ?? []));
  }

  get step() {
    return beatSeconds(this.meter) / this.division;
  }

  #grid() {
    place(this.body, { "--step": String(this.step) });
  }

  #draw(strokes) {
    this.items.replaceChildren(...strokes.flatMap((stroke, index) => {
      if (!this.isNear(stroke.time)) return [];
      const row = drumRow(stroke.midi);
      const element = h("div", { className: "stroke", dataset: { index }, title: `${DRUM_ROWS[row].name}, velocity ${stroke.velocity ?? USUAL}` });
      place(element, { "--row": String(row), "--level": String((stroke.velocity ?? USUAL) / 127) });
      return [onAxis(element, stroke.time, 0)];
    })); // prettier-ignore
  }

  /** Onsets of the take, [seconds, levels of the four bands], as outlines in the rows of the bands that sound. */
  #drawHeard(onsets) {
    const tops = DRUM_ROWS.map(({ band }) => Math.max(1e-9, ...onsets.map((onset) => onset[band + 1])));
    const near = onsets.filter(([time]) => this.isNear(time));
    this.heard.replaceChildren(...near.flatMap((onset) => DRUM_ROWS.flatMap(({ band }, row) => {
      const level = onset[band + 1] / tops[row];
      if (level < AUDIBLE) return [];
      const element = place(h("div", { className: "heard-stroke" }), { "--row": String(row), "--level": String(level) });
      return [onAxis(element, onset[0], 0)];
    }))); // prettier-ignore
  }

  #press(event) {
    if (event.button === 2 || event.target.closest(".span-handle")) return;
    const box = this.body.getBoundingClientRect();
    const row = clamp(Math.floor(((event.clientY - box.top) / box.height) * DRUM_ROWS.length), 0, DRUM_ROWS.length - 1);
    const element = event.target.closest(".stroke");
    const time = snapDown(this.timeline.timeAt(event, this.body), this.meter, this.division);
    const index = element ? Number(element.dataset.index) : strokeAt(this.list, row, time, this.step);
    const stroke = this.list[index];
    let velocity = stroke?.velocity ?? USUAL;
    const shown = this.elementOf(index);
    drag(event, {
      move: (_, dx, dy) => {
        if (!stroke || Math.abs(dy) < Math.abs(dx)) return;
        velocity = clamp(Math.round((stroke.velocity ?? USUAL) - dy * 1.5), 1, 127);
        place(shown, { "--level": String(velocity / 127) });
      },
      end: (_, moved) => {
        if (moved === null) return this.#draw(this.list);
        if (!stroke) return this.#toggle(row, time);
        if (moved) {
          if (velocity !== stroke.velocity) this.edit(this.list.with(index, { ...stroke, velocity }), "velocity of a stroke");
        } else this.edit(this.list.toSpliced(index, 1), "stroke taken");
      },
    });
  }

  #toggle(row, time) {
    const index = strokeAt(this.list, row, time, this.step);
    if (index >= 0) return this.edit(this.list.toSpliced(index, 1), "stroke taken");
    if (time >= this.duration) return;
    this.player.synth.touch({ kind: DRUM_ROWS[row].name.toLowerCase(), level: 0.8 });
    this.edit(strokeAdded(this.list, row, time, USUAL), "stroke set");
  }

  #repeatBar() {
    const bar = barSeconds(this.meter);
    this.edit(barRepeated(this.list, Math.floor(this.player.time / bar + 1e-6), bar, this.duration), "repeated bar");
  }

  #key(event) {
    if (event.target !== this.body || event.ctrlKey || event.metaKey) return;
    const { cursor, step } = this;
    cursor.time = snap(cursor.time, this.meter, this.division);
    const index = strokeAt(this.list, cursor.row, cursor.time, step);
    const stroke = this.list[index];
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (moves) {
      cursor.time = clamp(cursor.time + moves[0], 0, Math.max(0, this.duration - step / 2));
      cursor.row = clamp(cursor.row + moves[1], 0, DRUM_ROWS.length - 1);
    } else if (event.key === "Enter") this.#toggle(cursor.row, cursor.time);
    else if ((event.key === "Delete" || event.key === "Backspace") && stroke) this.edit(this.list.toSpliced(index, 1), "stroke taken");
    else if (["+", "=", "-"].includes(event.key) && stroke) {
      const velocity = clamp((stroke.velocity ?? USUAL) + (event.key === "-" ? -12 : 12), 1, 127);
      this.edit(this.list.with(index, { ...stroke, velocity }), "velocity of a stroke");
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.cursorMark.hidden = false;
    onAxis(this.cursorMark, cursor.time, step);
    place(this.cursorMark, { "--row": String(cursor.row) });
    const now = this.list[strokeAt(this.list, cursor.row, cursor.time, step)];
    document.getElementById("spoken").textContent =
      `${DRUM_ROWS[cursor.row].name} ${this.where(cursor.time)}${now ? `, velocity ${now.velocity ?? USUAL}` : ""}`;
  }
}
