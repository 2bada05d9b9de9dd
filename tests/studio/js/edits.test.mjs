import assert from "node:assert/strict";
import test from "node:test";

import { borderMoved, gapAt, placed } from "../../../flowmusic/studio/static/chord-cells.js";
import { extensionPatch } from "../../../flowmusic/studio/static/extension.js";
import { curveLines, noteAt, noteMoved, noteResized, pitchRange } from "../../../flowmusic/studio/static/notes.js";
import { previewEvents } from "../../../flowmusic/studio/static/preview.js";
import { barRepeated, strokeAdded, strokeAt } from "../../../flowmusic/studio/static/strokes.js";

const cell = (start, end, label) => ({ start, end, label });

test("a cell that is put in makes room for itself", () => {
  const cells = [cell(0, 4, "C"), cell(4, 8, "F")];
  assert.deepEqual(placed(cells, cell(3, 5, "G")), [cell(0, 3, "C"), cell(3, 5, "G"), cell(5, 8, "F")]);
  assert.deepEqual(placed(cells, cell(1, 2, "G")), [cell(0, 1, "C"), cell(1, 2, "G"), cell(2, 4, "C"), cell(4, 8, "F")]);
  assert.deepEqual(placed(cells, cell(0, 8, "G")), [cell(0, 8, "G")]);
});

test("a new cell fills a gap, at most a bar of it", () => {
  const cells = [cell(0, 2, "C"), cell(3, 4, "F")];
  assert.deepEqual(gapAt(cells, 2.2, 2, 10), { start: 2.2, end: 3 });
  assert.deepEqual(gapAt(cells, 5, 2, 10), { start: 5, end: 7 });
  assert.deepEqual(gapAt(cells, 9, 2, 10), { start: 9, end: 10 });
});

test("borders move together where cells touch", () => {
  const cells = [cell(0, 4, "C"), cell(4, 8, "F")];
  assert.deepEqual(borderMoved(cells, 0, "end", 5, 0.5, 8), [cell(0, 5, "C"), cell(5, 8, "F")]);
  assert.deepEqual(borderMoved(cells, 1, "start", 9, 0.5, 8), [cell(0, 7.5, "C"), cell(7.5, 8, "F")]);
  assert.deepEqual(borderMoved(cells, 1, "end", 12, 0.5, 8), cells);
});

test("notes stay in the clip and on the keyboard", () => {
  const note = { start: 1, end: 2, midi: 60, velocity: 100 };
  assert.deepEqual(noteMoved(note, 20, 80, 4), { start: 3, end: 4, midi: 127, velocity: 100 });
  assert.equal(noteResized(note, 0, 0.25, 4).end, 1.25);
  assert.equal(noteAt([note], 1.5, 60), 0);
  assert.equal(noteAt([note], 2, 60), -1);
});

test("the roll shows all pitches", () => {
  const [low, high] = pitchRange([60, 62]);
  assert.ok(low <= 58 && high >= 64 && high - low >= 19);
  assert.deepEqual(pitchRange([1, 126]), [0, 127]);
});

test("a pitch curve breaks where it pauses or leaps", () => {
  const midi = (hz) => hz / 10;
  const curve = [[0, 600], [0.02, 601], [0.04, 0], [0.06, 600], [0.08, 610], [0.1, 800], [0.12, 800]]; // prettier-ignore
  assert.deepEqual(curveLines(curve, midi), [
    [[0, 60], [0.02, 60.1]], [[0.06, 60], [0.08, 61]], [[0.1, 80], [0.12, 80]],
  ]); // prettier-ignore
});

test("strokes are found within half a step", () => {
  const strokes = strokeAdded([{ time: 1.02, midi: 35, velocity: 80 }], 0, 0.5, 100);
  assert.deepEqual(strokes[0], { time: 0.5, midi: 42, velocity: 100 });
  assert.equal(strokeAt(strokes, 3, 1, 0.125), 1);
  assert.equal(strokeAt(strokes, 3, 1.1, 0.125), -1);
  assert.equal(strokeAt(strokes, 1, 1, 0.125), -1);
});

test("a bar is repeated in place of those after it", () => {
  const hit = (time) => ({ time, midi: 36, velocity: 100 });
  assert.deepEqual(barRepeated([hit(0.5), hit(2), hit(2.5), hit(4.1)], 1, 2, 7).map(({ time }) => time), [0.5, 2, 2.5, 4, 4.5, 6, 6.5]);
});

test("a preview holds what is in the span, in order", () => {
  const session = {
    duration: 8, use: { chords: { span: [2, 5] } },
    lanes: { chords: [cell(0, 4, "C"), cell(6, 8, "F")], melody: [], drums: [{ time: 1, midi: 36, velocity: 127 }] },
  }; // prettier-ignore
  const events = previewEvents(session, ["chords", "drums"]);
  assert.deepEqual(events[0], { time: 1, kind: "kick", level: 1 });
  assert.equal(events.length, 5);
  assert.ok(events.slice(1).every(({ time, seconds }) => time === 2 && seconds === 2));
  assert.equal(previewEvents({ ...session, bpm: 60, beats_per_bar: 4 }, [], true).filter(({ level }) => level === 0.8).length, 2);
});

test("a longer clip repeats the bars beside the new ones", () => {
  const session = {
    duration: 8, use: { chords: { span: [4, 8] } },
    lanes: { chords: [cell(0, 6, "C"), cell(6, 8, "F")], melody: [], drums: [{ time: 5, midi: 36 }] },
  }; // prettier-ignore
  const after = extensionPatch(session, 4);
  assert.equal(after.duration, 12);
  assert.deepEqual(after.lanes.chords.slice(2), [cell(8, 10, "C"), cell(10, 12, "F")]);
  assert.deepEqual(after.lanes.drums.map(({ time }) => time), [5, 9]);
  const before = extensionPatch(session, 4, true);
  assert.deepEqual(before.lanes.chords, [cell(0, 4, "C"), cell(4, 10, "C"), cell(10, 12, "F")]);
  assert.deepEqual(before.lanes.drums.map(({ time }) => time), [9]);
  assert.deepEqual(before.use.chords, { source: null, span: [8, 12] });
  assert.equal(before.lanes.melody, undefined);
});
