"""How the names of files of symbols end."""

from __future__ import annotations

MIDI_SUFFIXES = (".mid", ".midi", ".smf", ".kar", ".rmi")
TABLE_SUFFIXES = (".csv", ".tsv", ".f0")
CHART_SUFFIXES = (".txt", ".chart", ".chords", ".cho", ".chordpro", ".crd")
LAB_SUFFIXES = (".lab",)
