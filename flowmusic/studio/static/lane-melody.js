// The melody lane: a piano roll. Draw, move, lengthen and erase notes; behind them the pitch that was extracted.

import { beatSeconds, clamp, round, snap, snapDown } from "./axis.js";
import { drag, h, place, svg } from "./dom.js";
import { Lane } from "./lane.js";
import { hzToMidi, isBlackKey, noteName } from "./music.js";
import { curveLines, inOrder, noteAt, noteMoved, noteResized, pitchRange } from "./notes.js";
import { axisLength, onAxis } from "./timeline.js";

const DIVISION = 4; // snap to quarters of a beat
const NO_CURVE = [];

export class MelodyLane extends Lane {
  constructor(page) {
    const eraser = h("button", { type: "button", className: "chip", "aria-pressed": "false", onclick: () => this.#toggleEraser() }, "Eraser");
    super("melody", "Melody", page,
      "Arrow keys move the cursor, Enter draws or erases a note, Alt and arrow keys move the note, brackets change its length", [
      h("button", { type: "button", onclick: () => this.transpose(12) }, "Up an octave"),
      h("button", { type: "button", onclick: () => this.transpose(-12) }, "Down an octave"),
      h("button", { type: "button", onclick: () => this.transpose(1) }, "Up a semitone"),
      h("button", { type: "button", onclick: () => this.transpose(-1) }, "Down a semitone"),
      h("button", { type: "button", onclick: () => this.#clear() }, "Clear"),
    ]); // prettier-ignore
    this.eraser = eraser;
    this.erasing = false;
    this.lastLength = 0;
    this.cursor = null;
    this.keys = h("div", { className: "roll-keys", "aria-hidden": "true" });
    this.curve = svg("svg", { class: "curve", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.cursorMark = h("div", { className: "cursor", hidden: true, "aria-hidden": "true" });
    this.empty = h("p", { className: "hint" }, "Drag to draw notes; double-click erases one");
    this.body.prepend(this.keys);
    this.heard.append(this.curve);
    this.body.append(this.cursorMark, this.empty);
    this.head.append(h("div", { className: "head-line" }, eraser));
    this.body.addEventListener("pointerdown", (event) => this.#press(event));
    this.body.addEventListener("dblclick", (event) => {
      const index = noteAt(this.list, this.timeline.timeAt(event, this.body), this.#midiAt(event));
      if (index >= 0) this.#erase(index);
    });
    this.body.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("blur", () => { this.cursorMark.hidden = true; }); // prettier-ignore
    this.store.watch(
      (state) => [state.session.lanes.melody, state.ui.heard, axisLength(state), state.ui.curve, state.ui.part],
      ([notes, heard]) => this.#draw(notes ?? [], heard?.melody ?? NO_CURVE),
    );
  }

  transpose(semitones) {
    this.edit(this.list.map((note) => noteMoved(note, 0, semitones, this.duration)), "transposition of the melody");
  }

  /** Takes all notes out, and the curve of the recording that they came from. */
  #clear() {
    this.store.edit({ lanes: { melody: [] }, use: { melody: { source: null, origin: null } } }, "clearing of the melody");
  }

  get step() {
    return beatSeconds(this.meter) / DIVISION;
  }

  #toggleEraser() {
    this.erasing = !this.erasing;
    this.eraser.setAttribute("aria-pressed", String(this.erasing));
    this.body.classList.toggle("erasing", this.erasing);
  }

  #draw(notes, heard) {
    const { lines, ends } = this.#curves(heard, this.store.state.ui.curve ?? NO_CURVE);
    const pitches = notes.map(({ midi }) => midi);
    const near = (midi) => (pitches.length ? clamp(midi, Math.min(...pitches) - 5, Math.max(...pitches) + 5) : midi);
    [this.low, this.high] = pitchRange([...pitches, ...ends.map(near)]);
    const rows = this.high - this.low + 1;
    place(this.body, { "--rows": String(rows) });
    this.keys.replaceChildren(...Array.from({ length: rows }, (_, i) => {
      const midi = this.high - i;
      return h("div", { className: isBlackKey(midi) ? "key black" : "key" }, midi % 12 === 0 ? noteName(midi) : "");
    })); // prettier-ignore
    this.items.replaceChildren(...notes.flatMap((note, index) => (this.isNear(note.start, note.end) ? [this.#note(note, index)] : [])));
    this.curve.setAttribute("viewBox", `0 0 ${this.timeline.length} ${rows}`);
    const path = (points) => points.map(([time, midi], i) => `${i ? "L" : "M"}${time} ${this.high - midi + 0.5}`).join("");
    const drawn = (kind) => lines[kind].filter((line) => this.isNear(line[0][0], line.at(-1)[0])).map((line) => svg("path", { d: path(line), class: `${kind}-curve` }));
    this.curve.replaceChildren(...drawn("asked"), ...drawn("heard"));
    this.empty.hidden = notes.length > 0 || heard.length > 0;
  }

  /** Lines of the pitch of the take and of the recording, and the lowest and highest pitch that counts in them. */
  #curves(heard, asked) {
    if (this.lines?.of[0] === heard && this.lines.of[1] === asked) return this.lines;
    const lines = { heard: curveLines(heard, hzToMidi), asked: curveLines(asked, hzToMidi) };
    // Frames that are far off do not count for the range: rows would be too low to press.
    const sung = [...lines.heard, ...lines.asked].flat().map(([, midi]) => midi).sort((a, b) => a - b);
    const middle = sung.slice(Math.floor(sung.length * 0.03), Math.ceil(sung.length * 0.97));
    this.lines = { of: [heard, asked], lines, ends: middle.length ? [middle[0], middle.at(-1)] : [] };
    return this.lines;
  }

  #note(note, index) {
    const element = h("div", { className: "note", dataset: { index }, title: `${noteName(note.midi)}, ${this.where(note.start)}` },
      h("div", { className: "border end" })); // prettier-ignore
    return this.#at(element, note);
  }

  #at(element, note) {
    place(element, { "--row": String(this.high - note.midi), "--level": String(0.55 + (0.45 * (note.velocity ?? 100)) / 127) });
    return onAxis(element, note.start, note.end - note.start);
  }

  #midiAt(event) {
    const box = this.body.getBoundingClientRect();
    const rows = this.high - this.low + 1;
    return this.high - clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), 0, rows - 1);
  }

  #hear(midi) {
    this.player.synth.touch({ kind: "melody", midi, level: 0.7, seconds: 0.25 });
  }

  #press(event) {
    if (event.button === 2) return;
    const element = event.target.closest(".note");
    if (event.target.closest(".span-handle")) return;
    if (element) this.#pressNote(event, element);
    else if (!this.erasing) this.#drawNote(event);
  }

  #drawNote(event) {
    const start = snapDown(this.timeline.timeAt(event, this.body), this.meter, DIVISION);
    const midi = this.#midiAt(event);
    const step = this.step;
    let note = { start, end: round(Math.min(start + (this.lastLength || beatSeconds(this.meter)), this.duration)), midi, velocity: 100 };
    if (note.end - note.start < 1e-3) return; // after the end of the clip
    let element = null;
    drag(event, {
      move: (next) => {
        if (!element) this.items.append((element = this.#note(note, -1)));
        note = noteResized(note, snap(this.timeline.timeAt(next, this.body), this.meter, DIVISION), step, this.duration);
        this.#at(element, note);
      },
      end: (_, moved) => {
        element?.remove();
        if (moved === null) return;
        if (moved) this.lastLength = note.end - note.start;
        this.#hear(midi);
        this.edit(inOrder([...this.list, note]), "new note");
      },
    });
  }

  #pressNote(event, element) {
    const index = Number(element.dataset.index);
    const note = this.list[index];
    if (!note) return;
    if (this.erasing) return this.#erase(index);
    const resizing = event.target.classList.contains("border");
    const rowHeight = this.body.clientHeight / (this.high - this.low + 1);
    let changed = note;
    drag(event, {
      move: (next, dx, dy) => {
        const division = next.altKey ? 32 : DIVISION;
        if (resizing) {
          changed = noteResized(note, snap(this.timeline.timeAt(next, this.body), this.meter, division), this.step / 4, this.duration);
        } else {
          const to = snap(note.start + dx / this.timeline.pixelsPerSecond, this.meter, division);
          const semitones = -Math.round(dy / rowHeight);
          if (note.midi + semitones !== changed.midi) this.#hear(note.midi + semitones);
          changed = noteMoved(note, Math.abs(dx) < 4 ? 0 : to - note.start, semitones, this.duration);
        }
        element.classList.add("moving");
        this.#at(element, changed);
      },
      end: (_, moved) => {
        element.classList.remove("moving");
        if (moved) this.edit(inOrder(this.list.with(index, changed)), resizing ? "length of a note" : "move of a note");
        else this.#at(element, note);
        if (moved === false) this.#hear(note.midi);
        if (resizing && moved) this.lastLength = changed.end - changed.start;
      },
    });
  }

  #erase(index) {
    this.edit(this.list.toSpliced(index, 1), "erased note");
  }

  #key(event) {
    if (event.target !== this.body || event.ctrlKey || event.metaKey) return;
    this.cursor ??= { time: snapDown(this.player.time, this.meter, DIVISION), midi: Math.round((this.low + this.high) / 2) };
    const { cursor, step } = this;
    const index = noteAt(this.list, cursor.time, cursor.midi);
    const note = this.list[index];
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (moves) {
      const [seconds, semitones] = moves;
      if (event.altKey && note) {
        const moved = noteMoved(note, seconds, semitones, this.duration);
        this.edit(inOrder(this.list.with(index, moved)), "move of a note");
        this.cursor = { time: moved.start, midi: moved.midi };
      } else {
        cursor.time = round(clamp(cursor.time + seconds, 0, this.duration - step));
        cursor.midi = clamp(cursor.midi + semitones, this.low, this.high);
      }
    } else if (event.key === "Enter" && note) this.#erase(index);
    else if (event.key === "Enter") {
      const end = round(Math.min(cursor.time + (this.lastLength || beatSeconds(this.meter)), this.duration));
      this.edit(inOrder([...this.list, { start: cursor.time, end, midi: cursor.midi, velocity: 100 }]), "new note");
      this.#hear(cursor.midi);
    } else if ((event.key === "Delete" || event.key === "Backspace") && note) this.#erase(index);
    else if ((event.key === "[" || event.key === "]") && note) {
      const to = note.end + (event.key === "]" ? step : -step);
      this.edit(this.list.with(index, noteResized(note, to, step, this.duration)), "length of a note");
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.cursorMark.hidden = false;
    onAxis(this.cursorMark, this.cursor.time, step);
    place(this.cursorMark, { "--row": String(this.high - this.cursor.midi) });
    const here = noteAt(this.list, this.cursor.time, this.cursor.midi) >= 0 ? ", a note" : "";
    document.getElementById("spoken").textContent = `${noteName(this.cursor.midi)} ${this.where(this.cursor.time)}${here}`;
  }
}
