"""The controls that every model may follow: drums, melody and chords."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from features.channels import N_CHORD_CHANNELS, N_DRUM_BANDS, N_PITCHES
from features.chord_labels import ChordSegment, segments_to_channels
from features.controls import ControlSpec, SymbolSpec
from features.drum_templates import hits_to_drum_energies
from features.frames import FrameGrid
from features.notation import read_chords, read_drums, read_melody
from features.suffixes import CHART_SUFFIXES, LAB_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES
from features.symbols import DrumHit, Note, notes_to_salience

SYMBOL_BLUR_S = 0.02
"""The blur of extracted melodies: notes and recordings are to look alike to the model."""


def _salience(notes: Sequence[Note], grid: FrameGrid) -> Tensor:
    return notes_to_salience(notes, grid, SYMBOL_BLUR_S)


DRUMS = ControlSpec(
    "drums",
    N_DRUM_BANDS,
    "energies of four bands of the drum part, low to high",
    symbols=SymbolSpec(DrumHit, "drum hits", MIDI_SUFFIXES, read_drums, hits_to_drum_energies),
)
MELODY = ControlSpec(
    "melody",
    N_PITCHES,
    "salience of the semitones of the melody",
    symbols=SymbolSpec(Note, "melody notes", MIDI_SUFFIXES + TABLE_SUFFIXES, read_melody, _salience),
)
CHORDS = ControlSpec(
    "chords",
    N_CHORD_CHANNELS,
    "roots, basses and sounding pitch classes of the chords",
    symbols=SymbolSpec(
        ChordSegment, "chords", LAB_SUFFIXES + CHART_SUFFIXES, read_chords, segments_to_channels
    ),
)
