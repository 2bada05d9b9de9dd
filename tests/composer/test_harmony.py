from __future__ import annotations

import numpy as np
import pytest

from flowmusic.composer.accompaniment import BASS_PATTERNS, COMP_PATTERNS, comp_bar, voicing
from flowmusic.composer.grooves import GROOVES, write_drums
from flowmusic.composer.harmony import (
    QUALITIES,
    SCALES,
    Chord,
    diatonic_chord,
    nearest_quality,
    scale_pitch_classes,
    write_progression,
)
from flowmusic.composer.instruments import DRUM_KEYS, KIT_NAMES, LEADS, PROGRAM_NAMES
from flowmusic.composer.sheet import METRES, Section, TimeMap
from flowmusic.composer.style_table import STYLES
from flowmusic.composer.styles import WILD, grooves_for


@pytest.mark.parametrize("quality", sorted(QUALITIES))
def test_labels_mean_the_pitches_that_are_played(quality: str) -> None:
    import mir_eval

    for root in range(12):
        for bass in [root, *Chord(root, quality, root).pitch_classes]:
            chord = Chord(root, quality, bass)
            for flats in (False, True):
                heard_root, bitmap, heard_bass = mir_eval.chord.encode(chord.label(flats))
                assert heard_root == root
                assert (heard_root + heard_bass) % 12 == bass
                extracted = {(root + int(k)) % 12 for k in np.flatnonzero(bitmap)}
                ninths = {(root + 1) % 12, (root + 2) % 12} if "9" in quality else set()
                assert extracted <= set(chord.pitch_classes) <= extracted | ninths  # mir_eval drops ninths


def test_features_read_every_label_that_the_corpus_writes() -> None:
    chord_labels = pytest.importorskip("features.chord_labels")
    for quality in QUALITIES:
        for bass in Chord(1, quality, 1).pitch_classes:
            chord = Chord(1, quality, bass)
            read = chord_labels.parse_chord(chord.label(flats=True))
            assert (read.root, read.bass) == (1, bass)
            assert set(read.pitch_classes) == set(chord.pitch_classes), chord.label(flats=True)


def test_nearest_quality_knows_its_own() -> None:
    for name, intervals in QUALITIES.items():
        assert nearest_quality(frozenset(intervals)) == name


@pytest.mark.parametrize("mode", sorted(SCALES))
def test_diatonic_chords_stay_in_the_scale(mode: str) -> None:
    for tonic in range(12):
        scale = set(scale_pitch_classes(tonic, mode))
        for degree in range(1, 8):
            for seventh in (False, True):
                assert set(diatonic_chord(tonic, mode, degree, seventh).pitch_classes) <= scale


def test_progressions_have_the_length_asked_for() -> None:
    rng = np.random.default_rng(0)
    for n_chords in (1, 3, 8):
        assert len(write_progression(2, "minor", n_chords, 0.9, rng)) == n_chords


def test_voicings_hold_the_chord_and_nothing_else() -> None:
    for quality in QUALITIES:
        chord = Chord(5, quality, 5)
        for open_position in (False, True):
            notes = voicing(chord, 60, 4, open_position)
            assert {n % 12 for n in notes} <= set(chord.pitch_classes)
            assert len({n % 12 for n in notes}) >= 3
            assert notes == sorted(set(notes))


@pytest.mark.parametrize("pattern", COMP_PATTERNS)
def test_comp_patterns_stay_in_the_bar(pattern: str) -> None:
    rng = np.random.default_rng(1)
    for metre in METRES.values():
        touches = comp_bar(pattern, metre.bar_quarters, metre.beat_quarters, rng)
        assert touches
        assert all(0 <= t.start < metre.bar_quarters and t.length > 0 for t in touches)


def test_unknown_pattern_and_groove_are_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="'zither'"):
        comp_bar("zither", 4, 1, rng)
    with pytest.raises(ValueError, match="'zither'"):
        write_drums("zither", (), 4, rng)


def test_grooves_are_well_formed() -> None:
    for name, lines in GROOVES.items():
        assert lines, name
        for drum, line in lines.items():
            assert drum in DRUM_KEYS, (name, drum)
            assert set(line) <= set("xXo."), (name, drum)
            assert set(line) != {"."}, (name, drum)


def test_drums_only_where_they_are_wanted() -> None:
    sections = (Section(0, 2, frozenset({"comp"}), 0.8), Section(2, 4, frozenset({"drums"}), 0.8))
    strokes = write_drums("rock", sections, 4.0, np.random.default_rng(3))
    assert strokes
    assert all(8.0 <= stroke.start < 16.0 for stroke in strokes)


@pytest.mark.parametrize("name", [*STYLES, "experimental"])
def test_styles_name_things_that_exist(name: str) -> None:
    style = STYLES.get(name, WILD)
    assert set(style.metres) <= set(METRES)
    assert set(style.grooves) <= set(GROOVES)
    assert set(style.comp) <= set(COMP_PATTERNS)
    assert set(style.bass) <= set(BASS_PATTERNS)
    assert set(style.leads) <= set(LEADS)
    assert set(style.kits) <= set(KIT_NAMES)
    for programs in (style.chord_programs, style.bass_programs, style.leads, style.pads):
        assert set(programs) <= set(PROGRAM_NAMES)
    assert 60 <= style.bpm[0] < style.bpm[1] <= 180
    for metre in METRES:
        assert grooves_for(style, metre)


def test_time_map_is_monotone_and_swing_keeps_the_beats() -> None:
    swung = TimeMap(0.5, swing=2 / 3)
    assert swung.seconds(3.0) == pytest.approx(1.5)
    assert swung.seconds(3.5) == pytest.approx(1.5 + 0.5 * 2 / 3)
    drifting = TimeMap(0.4, swing=0.6, drift=0.04, drift_quarters=16)
    times_s = [drifting.seconds(q) for q in np.arange(0, 64, 0.05)]
    assert np.all(np.diff(times_s) > 0)
    assert drifting.seconds(16.0) == pytest.approx(16 * 0.4)
