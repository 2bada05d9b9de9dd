// Drum strokes on a grid of steps: {time, midi, velocity}.

import { round } from "./axis.js";
import { DRUM_ROWS, drumRow } from "./music.js";

/** Index of the stroke nearest to a step of a row, within half a step, or -1. */
export function strokeAt(strokes, row, time, step) {
  let found = -1;
  let best = step / 2 + 1e-6;
  strokes.forEach((stroke, index) => {
    const apart = Math.abs(stroke.time - time);
    if (drumRow(stroke.midi) === row && apart <= best) [found, best] = [index, apart];
  });
  return found;
}

/** The strokes with one more on a row. */
export function strokeAdded(strokes, row, time, velocity) {
  return inOrder([...strokes, { time: round(time), midi: DRUM_ROWS[row].midi, velocity }]);
}

/** The strokes with those of a bar repeated in all bars after it, in place of what stood there. */
export function barRepeated(strokes, bar, barSeconds, duration) {
  const from = bar * barSeconds;
  const pattern = strokes.filter(({ time }) => time >= from - 1e-6 && time < from + barSeconds - 1e-6);
  const kept = strokes.filter(({ time }) => time < from + barSeconds - 1e-6);
  const copies = [];
  for (let shift = barSeconds; from + shift < duration - 1e-6; shift += barSeconds) {
    for (const stroke of pattern) {
      const time = round(stroke.time + shift);
      if (time < duration - 1e-6) copies.push({ ...stroke, time });
    }
  }
  return inOrder([...kept, ...copies]);
}

const inOrder = (strokes) => strokes.sort((a, b) => a.time - b.time || a.midi - b.midi);
