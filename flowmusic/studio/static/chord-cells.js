// Cells of chords on the time axis: {start, end, label} in order of time, without overlap.

import { clamp, round } from "./axis.js";

/** The cells with one put in: what lies under it gives way, and a cell that it cuts in two stays on both sides. */
export function placed(cells, cell) {
  const kept = cells.flatMap((other) => {
    const parts = [];
    if (other.start < cell.start) parts.push({ ...other, end: Math.min(other.end, cell.start) });
    if (other.end > cell.end) parts.push({ ...other, start: Math.max(other.start, cell.end) });
    return parts;
  });
  return [...kept, cell].filter(({ start, end }) => end - start > 1e-3).sort((a, b) => a.start - b.start);
}

/** The free time around a moment, within one bar's length from it: where a new cell fits. */
export function gapAt(cells, moment, length, duration) {
  const before = Math.max(0, ...cells.filter(({ end }) => end <= moment + 1e-6).map(({ end }) => end));
  const after = Math.min(duration, ...cells.filter(({ start }) => start > moment).map(({ start }) => start));
  const start = Math.max(before, moment);
  return { start: round(start), end: round(Math.min(after, start + length)) };
}

/** The cells with a border moved; cells that touch there move theirs too, and none gets shorter than `least`. */
export function borderMoved(cells, index, side, to, least, duration) {
  const cell = cells[index];
  const next = [...cells];
  if (side === "start") {
    const before = cells[index - 1];
    const touching = before && Math.abs(before.end - cell.start) < 1e-3;
    const low = before ? (touching ? before.start + least : before.end) : 0;
    const start = round(clamp(to, Math.min(low, cell.start), Math.max(cell.end - least, cell.start)));
    next[index] = { ...cell, start };
    if (touching) next[index - 1] = { ...before, end: start };
  } else {
    const after = cells[index + 1];
    const touching = after && Math.abs(after.start - cell.end) < 1e-3;
    const high = after ? (touching ? after.end - least : after.start) : duration;
    const end = round(clamp(to, Math.min(cell.start + least, cell.end), Math.max(high, cell.end)));
    next[index] = { ...cell, end };
    if (touching) next[index + 1] = { ...after, start: end };
  }
  return next;
}
