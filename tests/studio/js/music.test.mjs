import assert from "node:assert/strict";
import test from "node:test";

import * as music from "../../../flowmusic/studio/static/music.js";

test("chords become pitches", () => {
  assert.deepEqual(music.chordPitches("C"), [36, 60, 64, 67]);
  assert.deepEqual(music.chordPitches("A:min"), [45, 57, 60, 64]);
  assert.deepEqual(music.chordPitches("Am7"), [45, 57, 60, 64, 67]);
  assert.deepEqual(music.chordPitches("Bb:maj7/D").map((midi) => midi % 12), [2, 10, 2, 5, 9]);
  assert.deepEqual(music.chordPitches("G7sus4").map((midi) => midi % 12), [7, 7, 0, 2, 5]);
  assert.deepEqual(music.chordPitches("N"), []);
});

test("chords are written as musicians write them", () => {
  const pairs = { "A:min": "Am", "C:maj": "C", "F#:maj7": "F#maj7", "D:min7": "Dm7", "G:7": "G7", N: "–", Am: "Am" };
  for (const [label, text] of Object.entries(pairs)) assert.equal(music.prettyChord(label), text);
});

test("transposing", () => {
  assert.equal(music.transposeChord("A:min", 1), "Bb:min");
  assert.equal(music.transposeChord("C/E", 2), "D/F#");
  assert.equal(music.transposeChord("C:maj/3", 2), "D:maj/3");
  assert.equal(music.transposeChord("Cb", -1), "Bb");
  assert.equal(music.transposeChord("N", 5), "N");
  for (const label of ["C", "F#m7", "Bb:maj"]) {
    const back = music.transposeChord(music.transposeChord(label, 7), -7);
    assert.deepEqual(music.chordPitches(back), music.chordPitches(label));
  }
});

test("names of pitches", () => {
  assert.equal(music.noteName(69), "A4");
  assert.equal(music.midiToHz(69), 440);
  assert.equal(Math.round(music.hzToMidi(261.63)), 60);
});

test("every percussion key has a row, and each row's own key is in it", () => {
  music.DRUM_ROWS.forEach(({ midi }, row) => assert.equal(music.drumRow(midi), row));
  assert.equal(music.DRUM_ROWS[music.drumRow(35)].name, "Kick");
  assert.equal(music.DRUM_ROWS[music.drumRow(49)].name, "Hat");
});
