import assert from "node:assert/strict";
import test from "node:test";

import * as axis from "../../../flowmusic/studio/static/axis.js";

const waltz = { bpm: 90, beatsPerBar: 3 };

test("bars and beats", () => {
  assert.equal(axis.barSeconds(waltz), 2);
  assert.equal(axis.barsAndBeats(0, waltz), "1.1");
  assert.equal(axis.barsAndBeats(2 + 2 / 3, waltz), "2.2");
  assert.equal(axis.barsAndBeats(1 / 3, waltz), "1.1.50");
  assert.equal(axis.barsAndBeats(1.9999999, waltz), "2.1");
  assert.equal(axis.barsIn(5, waltz), 2.5);
});

test("snapping", () => {
  assert.equal(axis.snap(0.9, waltz), 0.666667);
  assert.equal(axis.snap(1.1, waltz), 1.333333);
  assert.equal(axis.snapDown(1.3, waltz, 2), 1);
  // The place that snapping gives is a place of the grid again.
  assert.equal(axis.snapDown(axis.snap(10.1, waltz, 4), waltz, 4), axis.snap(10.1, waltz, 4));
});

test("clock", () => {
  assert.equal(axis.clock(0), "0:00.0");
  assert.equal(axis.clock(65.37), "1:05.3");
});

test("numbers of bars keep apart", () => {
  assert.equal(axis.barsBetweenNumbers({ bpm: 120, beatsPerBar: 4 }, 50), 1);
  assert.equal(axis.barsBetweenNumbers({ bpm: 120, beatsPerBar: 4 }, 5), 4);
});

test("stretching moves every time and nothing else", () => {
  const lanes = { chords: [{ start: 1, end: 2, label: "C" }], drums: [{ time: 0.5, midi: 36, velocity: 90 }] };
  assert.deepEqual(axis.stretch(lanes, 1.5), {
    chords: [{ start: 1.5, end: 3, label: "C" }],
    drums: [{ time: 0.75, midi: 36, velocity: 90 }],
  });
});

test("what is drawn reaches beyond the view, and changes by half screens", () => {
  assert.deepEqual(axis.drawnPart(0, 10), [-10, 20]);
  assert.deepEqual(axis.drawnPart(1, 11), [-10, 25]);
  assert.deepEqual(axis.drawnPart(4, 14), [-10, 25]);
  const [from, to] = axis.drawnPart(103, 113);
  assert.ok(from <= 103 - 10 + 5 && to >= 113 + 10);
});
