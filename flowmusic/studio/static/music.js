// Names of notes and chords: what the lanes show and what the preview plays.

const SHARPS = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
const FLATS = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"];
const NATURAL = { C: 0, D: 2, E: 4, F: 5, G: 7, A: 9, B: 11 };
const ROOT = /^([A-Ga-g])([#♯b♭]*)/;
const FLAT_ROOTS = ["F", "Bb", "Eb", "Ab", "Db"];

// Longer names first: the first that the quality begins with counts.
const INTERVALS = [
  ["minmaj7", [0, 3, 7, 11]], ["maj9", [0, 4, 7, 11, 14]], ["maj7", [0, 4, 7, 11]], ["maj6", [0, 4, 7, 9]],
  ["min9", [0, 3, 7, 10, 14]], ["min7b5", [0, 3, 6, 10]], ["min7", [0, 3, 7, 10]], ["min6", [0, 3, 7, 9]],
  ["m7b5", [0, 3, 6, 10]], ["hdim", [0, 3, 6, 10]], ["ø", [0, 3, 6, 10]], ["dim7", [0, 3, 6, 9]],
  ["dim", [0, 3, 6]], ["°", [0, 3, 6]], ["aug", [0, 4, 8]], ["+", [0, 4, 8]], ["sus2", [0, 2, 7]],
  ["sus4", [0, 5, 7]], ["sus", [0, 5, 7]], ["maj", [0, 4, 7]], ["min", [0, 3, 7]], ["M7", [0, 4, 7, 11]],
  ["m9", [0, 3, 7, 10, 14]], ["m7", [0, 3, 7, 10]], ["m6", [0, 3, 7, 9]], ["m", [0, 3, 7]],
  ["-", [0, 3, 7]], ["7sus4", [0, 5, 7, 10]], ["9", [0, 4, 7, 10, 14]], ["7", [0, 4, 7, 10]],
  ["6", [0, 4, 7, 9]], ["5", [0, 7]],
]; // prettier-ignore

function pitchClass(letter, accidentals) {
  const shift = [...accidentals].reduce((sum, sign) => sum + ("#♯".includes(sign) ? 1 : -1), 0);
  return (NATURAL[letter.toUpperCase()] + shift + 24) % 12;
}

/** Whether a label means silence of the harmony. */
export const isNoChord = (label) => /^(N|N\.?C\.?|X)$/i.test(label.trim());

/** MIDI pitches of a chord around middle C, its bass below; [] for no chord or a label without a root. */
export function chordPitches(label) {
  const root = label.trim().match(ROOT);
  if (!root || isNoChord(label)) return [];
  const pc = pitchClass(root[1], root[2]);
  const [quality, bass] = label.trim().slice(root[0].length).replace(/^:/, "").split("/");
  const intervals = INTERVALS.find(([name]) => quality.startsWith(name))?.[1] ?? [0, 4, 7];
  const low = bass?.match(ROOT);
  const pitches = intervals.map((interval) => 48 + pc + interval + (pc < 5 ? 12 : 0));
  return [36 + (low ? pitchClass(low[1], low[2]) : pc), ...pitches];
}

/** A label as musicians write it: "A:min" is "Am". */
export function prettyChord(label) {
  if (isNoChord(label)) return "–";
  return label
    .replace(":maj7", "maj7").replace(":min7", "m7").replace(":min6", "m6").replace(":min", "m")
    .replace(/:maj(?![0-9])/, "").replace(":maj", "maj").replace(":", ""); // prettier-ignore
}

/** The label so many semitones higher, spelled with flats or sharps as the new root is usually written. */
export function transposeChord(label, semitones) {
  if (isNoChord(label)) return label;
  const moved = (text) =>
    text.replace(ROOT, (_, letter, signs) => {
      const pc = (((pitchClass(letter, signs) + semitones) % 12) + 12) % 12;
      return FLAT_ROOTS.includes(FLATS[pc]) ? FLATS[pc] : SHARPS[pc];
    });
  const [chord, bass] = label.split("/");
  // A bass may be a degree ("C:maj/3"), which moves with its root.
  return moved(chord) + (bass === undefined ? "" : "/" + moved(bass));
}

/** "A4" is 69. */
export const noteName = (midi) => SHARPS[midi % 12] + (Math.floor(midi / 12) - 1);

export const isBlackKey = (midi) => [1, 3, 6, 8, 10].includes(midi % 12);

export const midiToHz = (midi) => 440 * 2 ** ((midi - 69) / 12);

export const hzToMidi = (hz) => 69 + 12 * Math.log2(hz / 440);

/** Rows of the drum grid from the top: the key that a new stroke gets, its other keys, the band that shows it. */
export const DRUM_ROWS = [
  { name: "Hat", midi: 42, band: 3, keys: [42, 44, 46, 49, 51, 52, 53, 54, 55, 56, 57, 59, 69, 70] },
  { name: "Snare", midi: 38, band: 2, keys: [37, 38, 39, 40] },
  { name: "Tom", midi: 45, band: 1, keys: [41, 43, 45, 47, 48, 50, 60, 61, 62, 63, 64] },
  { name: "Kick", midi: 36, band: 0, keys: [35, 36] },
];

/** Index of the row that shows a percussion key; keys that are in none are high and stand with the hat. */
export function drumRow(midi) {
  const found = DRUM_ROWS.findIndex((row) => row.keys.includes(midi));
  return found < 0 ? 0 : found;
}
