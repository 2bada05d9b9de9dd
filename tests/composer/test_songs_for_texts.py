"""Songs for what a text says: evidence moves what is drawn, lengths and tempi are kept, symbols fit."""

from __future__ import annotations

import numpy as np
import pytest

from features.symbols import DrumHit
from flowmusic.composer.captions import tempo_word
from flowmusic.composer.compose import Composition, compose, tempo_of
from flowmusic.composer.generator import make_brief, write_sheet
from flowmusic.composer.harmony import MINOR_MODES
from flowmusic.composer.reader import ATTRIBUTES, Evidence

NOTHING: Evidence = {name: dict.fromkeys(values, 0.0) for name, values in ATTRIBUTES.items()}


def _asked(**values: str) -> Evidence:
    """Sure of these values, silent about all else."""
    sure = {name: {v: 0.0 if v == said else -30.0 for v in ATTRIBUTES[name]} for name, said in values.items()}
    return NOTHING | sure


def _songs(evidence: Evidence, n: int = 30) -> list[Composition]:
    return [compose("", evidence, 10.0, song) for song in range(n)]


def test_what_is_asked_for_is_composed() -> None:
    asked = _asked(style="waltz", mode="minor", tempo="fast", drums="without", metre="3/4", solo="none")
    for song in _songs(asked, 8):
        assert song.score.mode in MINOR_MODES and song.score.metre == "3/4" and song.score.drums is None
        assert tempo_word(song.score.bpm, "3/4") == "fast"
    assert {song.style for song in _songs(_asked(style="reggae"), 8)} == {"reggae"}


def test_without_evidence_songs_are_those_of_the_generator() -> None:
    songs = _songs(NOTHING, 120)
    minor = np.mean([song.score.mode in MINOR_MODES for song in songs])
    briefs = [make_brief(np.random.default_rng(k)) for k in range(600)]
    assert minor == pytest.approx(0.46, abs=0.13)
    drums = np.mean([brief.has_drums for brief in briefs])
    assert np.mean([song.score.drums is not None for song in songs]) == pytest.approx(drums, abs=0.1)
    assert len({song.score.key for song in songs}) >= 12  # some have two names


def test_a_song_is_a_function_of_its_seed_and_lasts_long_enough() -> None:
    first, again, other = (compose("", NOTHING, 120.0, song, bpm=97.0) for song in (4, 4, 5))
    assert first == again and first != other
    assert first.score.bpm == 97.0 and first.score.duration_s >= 120.0
    chords = next(item for item in first.references if item.role == "chords")
    assert chords.duration_s >= 120.0 and chords.name == "composed"


def test_a_song_begins_on_its_first_beat() -> None:
    """Not after the breath of up to half a second before songs that are rendered for training."""
    on_the_beat = with_harmony = 0
    for song in _songs(_asked(drums="with", solo="none"), 16):
        score, first_s = song.score, song.score.beats_s[0]
        assert first_s >= 0.05
        parts = {item.role: item for item in song.references}
        chords = parts["chords"].chord_segments(10.0)
        assert chords[0].start_s == 0.0
        with_harmony += chords[0].label != "N"
        written = [span for span in score.chords if span.end_s > first_s]
        assert chords[0].label == written[0].label
        assert chords[0].end_s == pytest.approx(written[0].end_s - first_s)
        assert score.drums is not None
        nearest = min(score.drums.hits, key=lambda hit: abs(hit.time_s - first_s))
        if abs(nearest.time_s - first_s) < 0.04:  # the drums play on the first beat
            on_the_beat += 1
            assert min(_times(song)) < 0.04
        late = [hit.time_s - first_s for hit in score.drums.hits if hit.time_s > first_s]
        assert sorted(_times(song))[-len(late) :] == pytest.approx(sorted(late))
    assert on_the_beat >= 12 and with_harmony >= 12


def _times(song: Composition) -> list[float]:
    drums = next(item for item in song.references if item.role == "drums")
    return [hit.time_s for hit in drums.symbols if isinstance(hit, DrumHit)]


def test_bars_of_a_steady_song_are_equally_long() -> None:
    steady, usual = (
        [np.diff(compose("", NOTHING, 10.0, song, 100.0, steady=steady).score.beats_s) for song in range(24)]
        for steady in (True, False)
    )
    assert all(np.ptp(beats_s) < 0.001 for beats_s in steady)
    assert 2 <= sum(np.ptp(beats_s) > 0.005 for beats_s in usual) <= 12


def test_another_text_is_another_song() -> None:
    keys = {compose(f"song number {k}", NOTHING, 10.0, 0).score.key for k in range(40)}
    assert len(keys) >= 8
    assert compose("A  waltz", NOTHING, 10.0, 0) == compose("a waltz ", NOTHING, 10.0, 0)


def test_the_mode_that_is_asked_for_is_heard() -> None:
    for mode in ("minor", "major"):
        spoken, silent = (_songs(evidence, 24) for evidence in (_asked(mode=mode), NOTHING))
        clear, usual = (np.mean([_time_on_tonic(song) for song in songs]) for songs in (spoken, silent))
        assert clear > 1.4 * usual


def _time_on_tonic(song: Composition) -> float:
    """Share of the first 10 s on the key's own chord."""
    root, third = song.score.key, "min" if song.score.mode in MINOR_MODES else ("maj", "7", "9", "aug")
    spans = [span for span in song.score.chords if span.label.split(":")[0] == root]
    own = [span for span in spans if span.label.split(":")[1].startswith(third)]
    return sum(max(0.0, min(span.end_s, 10.0) - span.start_s) for span in own if span.start_s < 10.0) / 10.0


def test_those_who_play_in_a_song_play_in_its_clip() -> None:
    band = _asked(drums="with", melody="with", solo="none")
    for song in _songs(band, 16):
        harmony = sum(
            min(span.end_s, 10.0) - span.start_s
            for span in song.score.chords
            if span.label != "N" and span.start_s < 10.0
        )
        assert harmony > 7.0
        assert song.score.melody and min(note.start_s for note in song.score.melody.notes) < 5.0
        assert song.score.drums and min(hit.time_s for hit in song.score.drums.hits) < 5.0


def test_a_solo_is_as_likely_as_the_least_of_what_it_implies() -> None:
    slow = NOTHING | {
        "solo": {"none": -0.9, "melody": 0.4, "chords": 1.9, "drums": 3.0},
        "drums": {"with": -0.6, "without": 0.4},
    }
    songs = _songs(slow, 40)
    assert (
        sum(not song.score.melody and all(s.label == "N" for s in song.score.chords) for song in songs) <= 4
    )


def test_a_tempo_is_written_over_others_only_where_it_is_given() -> None:
    rng = np.random.default_rng(0)
    brief = make_brief(rng)
    short, _ = write_sheet(np.random.default_rng(1), brief)
    same, _ = write_sheet(np.random.default_rng(1), brief, least_s=5.0)
    assert short == same
    sheet, _ = write_sheet(np.random.default_rng(1), brief, "phrygian", 300.0)
    bar_s = brief.metre.bar_quarters * 60 / brief.bpm / brief.metre.beat_quarters
    assert sheet.mode == "phrygian" and sheet.n_bars * bar_s >= 300.0


@pytest.mark.parametrize(
    ("text", "bpm"),
    [("rock, 128 bpm", 128.0), ("at 92.5 BPM please", 92.5), ("77 beats per minute", 77.0),
     ("in 4/4", None), ("9999 bpm", None), ("5 bpm", None), ("bpm", None)],
)  # fmt: skip
def test_tempi_are_read(text: str, bpm: float | None) -> None:
    assert tempo_of(text) == bpm


def test_rests_and_descriptions() -> None:
    silent = compose("", _asked(drums="without", solo="none"), 4.0, 1)
    rests = silent.rests(4.0)
    assert rests.given == ("drums",) and rests.drums is not None and not rests.drums.any()
    loud = compose("", _asked(drums="with", solo="none"), 4.0, 1)
    assert loud.rests(4.0).given == () and "drums" in {item.role for item in loud.references}
    assert loud.style in ATTRIBUTES["style"] and set(loud.parts) <= {"drums", "melody", "chords"}
    chords = next(item for item in loud.references if item.role == "chords")
    assert chords.chord_segments(4.0)[0].start_s == 0.0
