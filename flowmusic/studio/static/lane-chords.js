// The chords lane: cells with labels. Type into a cell, drag its borders, move it, transpose it, delete it.

import * as api from "./api.js";
import { beatSeconds, clamp, round, snap, snapDown } from "./axis.js";
import { borderMoved, gapAt, placed } from "./chord-cells.js";
import { attempt, drag, h } from "./dom.js";
import { Lane } from "./lane.js";
import { chordPitches, prettyChord, transposeChord } from "./music.js";
import { onAxis } from "./timeline.js";

export class ChordsLane extends Lane {
  constructor(page) {
    const chart = h("input", { type: "text", placeholder: "Am | F C | G7", "aria-label": "Chord chart", spellcheck: false });
    super("chords", "Chords", page,
      "Enter on a chord types another, Delete removes it, plus and minus transpose it; Enter on the lane adds one at the playhead", [
      h("form", { className: "menu-form", onsubmit: (event) => { event.preventDefault(); this.#chart(chart.value); } },
        h("label", {}, "Chart for the whole clip", chart), h("button", { className: "button" }, "Set")),
      h("button", { type: "button", onclick: () => this.transpose(1) }, "Transpose up a semitone"),
      h("button", { type: "button", onclick: () => this.transpose(-1) }, "Transpose down a semitone"),
      h("button", { type: "button", onclick: () => this.edit([], "clearing of the chords") }, "Clear"),
    ]); // prettier-ignore
    this.body.addEventListener("dblclick", (event) => event.target === this.body && this.#addAt(this.timeline.timeAt(event, this.body)));
    this.body.addEventListener("keydown", (event) => {
      if (event.target === this.body && event.key === "Enter") {
        event.preventDefault();
        this.#addAt(this.player.time);
      }
    });
    this.empty = h("p", { className: "hint" }, "Double-click to add a chord, or type a chart in the menu ⋯");
    this.body.append(this.empty);
    this.store.watch((state) => [state.session.lanes.chords], () => this.#draw(this.list));
    this.store.watch((state) => [state.ui.heard, state.session.lanes.chords], ([heard]) => this.#drawHeard(heard?.chords ?? []));
  }

  /** All cells, so many semitones higher. */
  transpose(semitones) {
    const moved = this.list.map((cell) => ({ ...cell, label: transposeChord(cell.label, semitones) }));
    this.edit(moved, "transposition of the chords");
  }

  #draw(cells) {
    if (this.typing) return; // what is typed stays; it is drawn when that ends
    const focused = Number(document.activeElement?.closest?.(".chord")?.dataset.index ?? -1);
    this.empty.hidden = cells.length > 0;
    this.items.replaceChildren(...cells.map((cell, index) => this.#cell(cell, index)));
    if (focused >= 0) this.items.children[Math.min(focused, cells.length - 1)]?.focus({ preventScroll: true });
  }

  #cell(cell, index) {
    const border = (side) => h("div", { className: `border ${side}`, onpointerdown: (event) => this.#dragBorder(event, index, side) });
    const element = h("div", {
      className: "chord", tabIndex: 0, role: "button", dataset: { index },
      "aria-label": `${cell.label}, ${this.where(cell.start)} to ${this.where(cell.end)}`,
      title: `${cell.label}: double-click to type, drag to move`,
      onpointerdown: (event) => this.#dragCell(event, index),
      ondblclick: (event) => { event.stopPropagation(); this.#type(index); },
      onkeydown: (event) => this.#key(event, index),
    }, h("span", { className: "chord-label" }, prettyChord(cell.label)), border("start"), border("end")); // prettier-ignore
    return onAxis(element, cell.start, cell.end - cell.start);
  }

  #drawHeard(heard) {
    const asked = (time) => this.list.find(({ start, end }) => start <= time && time < end);
    const triad = (label) => chordPitches(label).slice(1, 4).map((midi) => midi % 12).join();
    this.heard.replaceChildren(...heard.map(({ start, end, label }) => {
      const wanted = asked((start + end) / 2);
      const fits = wanted && triad(wanted.label) === triad(label);
      const kind = !wanted ? "" : fits ? "fits" : "differs";
      return onAxis(h("div", { className: `heard-chord ${kind}`, title: `In the take: ${label}` }, prettyChord(label)), start, end - start);
    })); // prettier-ignore
  }

  #key(event, index) {
    const { key } = event;
    const cell = this.list[index];
    if (key === "Enter" || key === "F2") this.#type(index);
    else if (key === "Delete" || key === "Backspace") this.edit(this.list.toSpliced(index, 1), "deletion of a chord");
    else if (key === "+" || key === "=") this.#change(index, { label: transposeChord(cell.label, 1) }, "transposition of a chord");
    else if (key === "-") this.#change(index, { label: transposeChord(cell.label, -1) }, "transposition of a chord");
    else if (event.altKey && (key === "ArrowRight" || key === "ArrowLeft")) {
      const to = cell.end + beatSeconds(this.meter) * (key === "ArrowRight" ? 1 : -1);
      this.edit(borderMoved(this.list, index, "end", to, beatSeconds(this.meter) / 2, this.duration), "border of a chord");
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #change(index, change, label) {
    this.edit(this.list.with(index, { ...this.list[index], ...change }), label);
  }

  #addAt(time) {
    const start = snapDown(time, this.meter);
    const cell = { ...gapAt(this.list, start, beatSeconds(this.meter) * this.meter.beatsPerBar, this.duration), label: "" };
    if (cell.end - cell.start < 1e-3) return;
    const element = this.#cell(cell, -1);
    this.items.append(element);
    this.#input(element, "", (label) => this.edit(placed(this.list, { ...cell, label }), "new chord"), () => element.remove());
  }

  #type(index) {
    const element = this.items.children[index];
    this.#input(element, this.list[index].label, (label) => this.#change(index, { label }, "label of a chord"), () => this.#draw(this.list));
  }

  /** A field in the place of the label; what is typed is checked by the server, as on the command line. */
  #input(element, text, done, cancelled) {
    const input = h("input", { type: "text", className: "chord-input", value: text, "aria-label": "Chord", spellcheck: false });
    element.replaceChildren(input);
    input.focus();
    input.select();
    this.typing = true;
    let finished = false;
    const finish = async (keep) => {
      if (finished) return;
      finished = true;
      this.typing = false;
      const typed = input.value.trim();
      if (!keep || !typed || typed === text) return cancelled();
      const read = await attempt(() => api.readLane("chords", typed));
      const label = (read?.items ?? read)?.[0]?.label;
      if (!label) return cancelled();
      done(label);
    };
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" || event.key === "Tab") finish(true);
      if (event.key === "Escape") finish(false);
    });
    input.addEventListener("pointerdown", (event) => event.stopPropagation());
    input.addEventListener("blur", () => finish(true));
  }

  async #chart(text) {
    if (!text.trim()) return;
    const read = await attempt(() => api.readLane("chords", text));
    if (read) this.edit(read.items ?? read, "chord chart");
  }

  #dragBorder(event, index, side) {
    if (event.button) return;
    event.stopPropagation();
    const division = event.altKey ? 8 : 1;
    let cells = this.list;
    drag(event, {
      move: (next) => {
        const to = snap(this.timeline.timeAt(next, this.body), this.meter, division);
        cells = borderMoved(this.list, index, side, to, beatSeconds(this.meter) / division, this.duration);
        cells.forEach((cell, i) => onAxis(this.items.children[i], cell.start, cell.end - cell.start));
      },
      end: (_, moved) => (moved ? this.edit(cells, "border of a chord") : this.#draw(this.list)),
    });
  }

  #dragCell(event, index) {
    if (event.button || event.target.tagName === "INPUT") return;
    const cell = this.list[index];
    if (!cell) return;
    const element = event.currentTarget;
    let moved = cell;
    drag(event, {
      move: (_, dx) => {
        const length = cell.end - cell.start;
        const start = clamp(snap(cell.start + dx / this.timeline.pixelsPerSecond, this.meter), 0, this.duration - length);
        moved = { ...cell, start: round(start), end: round(start + length) };
        element.classList.add("moving");
        onAxis(element, moved.start, length);
      },
      end: (_, done) => {
        if (done && moved.start !== cell.start) this.edit(placed(this.list.toSpliced(index, 1), moved), "move of a chord");
        else if (done === false) {
          chordPitches(cell.label).forEach((midi) => this.player.synth.touch({ kind: "chord", midi, level: 0.5, seconds: 0.6 }));
        } else this.#draw(this.list);
      },
    });
  }
}
