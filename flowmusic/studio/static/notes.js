// Notes of the piano roll: {start, end, midi, velocity} in seconds.

import { clamp, round } from "./axis.js";

/** The lowest and the highest pitch that a roll shows: all that is given, a tone of room, at least an octave and a half. */
export function pitchRange(pitches, least = 19) {
  if (!pitches.length) return [57, 57 + least];
  let low = Math.floor(Math.min(...pitches)) - 2;
  let high = Math.ceil(Math.max(...pitches)) + 2;
  const lacking = Math.max(0, least - (high - low));
  low -= Math.floor(lacking / 2);
  high += Math.ceil(lacking / 2);
  return [Math.max(0, low), Math.min(127, high)];
}

/** A note moved by seconds and semitones, kept within the clip and the keyboard. */
export function noteMoved(note, seconds, semitones, duration) {
  const length = note.end - note.start;
  const start = round(clamp(note.start + seconds, 0, Math.max(0, duration - length)));
  return { ...note, start, end: round(start + length), midi: clamp(note.midi + semitones, 0, 127) };
}

/** A note with another end, at least `least` long. */
export function noteResized(note, end, least, duration) {
  return { ...note, end: round(clamp(end, note.start + least, Math.max(duration, note.start + least))) };
}

/** Index of the note that sounds at a moment on a pitch, or -1. */
export const noteAt = (notes, seconds, midi) =>
  notes.findIndex((note) => note.midi === midi && note.start <= seconds + 1e-6 && seconds < note.end - 1e-6);

export const inOrder = (notes) => [...notes].sort((a, b) => a.start - b.start || a.midi - b.midi);

/**
 * Lines of a pitch curve [[seconds, hertz], …] (0 or null where nothing is sung), as lists of [seconds, midi];
 * a line ends where the curve pauses, or leaps by a fifth or more.
 */
export function curveLines(curve, toMidi) {
  const lines = [];
  let line = null;
  for (const [seconds, hz] of curve) {
    if (!(hz > 0)) {
      line = null;
      continue;
    }
    const midi = toMidi(hz);
    if (!line || Math.abs(midi - line.at(-1)[1]) >= 7 || seconds - line.at(-1)[0] > 0.12) lines.push((line = []));
    line.push([seconds, midi]);
  }
  return lines.filter((points) => points.length > 1);
}
