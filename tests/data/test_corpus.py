from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from flowmusic.cli import main
from flowmusic.composer.captions import SongFacts
from flowmusic.composer.score import DrumHit, DrumPart, Mastering, Note, Part, Score
from flowmusic.data.corpus import placed, render_corpus
from flowmusic.data.render import Renderer, RenderError, fluidsynth_missing

missing = fluidsynth_missing()
needs_fluidsynth = pytest.mark.skipif(missing is not None, reason=f"rendering: {missing}")

RATE = 32000
QUIET_ROOM = Mastering(drums_db=0.0, melody_db=0.0, peak=0.6, room_size=0.2, reverb_level=0.0)


def _score(**changes: object) -> Score:
    notes = (Note(0.25, 0.9, 57, 100), Note(1.0, 1.6, 69, 100), Note(1.7, 2.4, 76, 100))
    hits = tuple(DrumHit(0.3 + 0.5 * k, 38, 110) for k in range(5))
    score = Score(
        source="test", duration_s=3.0, bpm=120, metre="4/4", beats_per_bar=4, key="A", mode="minor",
        chords=(), beats_s=(), drums=DrumPart(0, 0, hits, reverb=0.0),
        melody=Part("flute", 73, 0, notes, reverb=0.0),
        backing=(Part("piano", 0, 0, (Note(0.5, 2.5, 48, 80),), reverb=0.0),), mastering=QUIET_ROOM,
        facts=SongFacts("folk", ("folk",), 120, "4/4", "A", "minor", "flute", (), None, None, None, "none"),
    )  # fmt: skip
    return dataclasses.replace(score, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def renderer(soundfont: Path) -> Renderer:
    return Renderer((soundfont,), RATE)


def _pitch_midi(samples: np.ndarray) -> float:
    """The fundamental of a harmonic tone: the lowest strong peak of its spectrum."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 17))
    strong = np.flatnonzero(spectrum > 0.5 * spectrum.max())[0]
    peak = strong + np.argmax(spectrum[strong : strong + 40])
    return float(69 + 12 * np.log2(peak * RATE / (1 << 17) / 440))


@needs_fluidsynth
def test_melody_sounds_where_and_what_the_label_says(renderer: Renderer) -> None:
    score = _score()
    assert score.melody is not None
    melody = renderer.render(score).melody.mean(axis=0)
    for note in score.melody.notes:
        inside = melody[round((note.start_s + 0.05) * RATE) : round((note.end_s - 0.05) * RATE)]
        assert _pitch_midi(inside) == pytest.approx(note.midi, abs=0.2)
    assert not np.abs(melody[: round(0.245 * RATE)]).max() > 1e-4


@needs_fluidsynth
def test_drums_sound_at_their_times(renderer: Renderer) -> None:
    score = _score()
    assert score.drums is not None
    drums = renderer.render(score).drums.mean(axis=0)
    loud = 0.1 * np.abs(drums).max()
    for hit in score.drums.hits:
        before = drums[round((hit.time_s - 0.05) * RATE) : round((hit.time_s - 0.004) * RATE)]
        after = drums[round(hit.time_s * RATE) : round((hit.time_s + 0.02) * RATE)]
        assert np.abs(before).max() < loud < np.abs(after).max()


@needs_fluidsynth
def test_absent_parts_are_silent_and_the_mix_has_its_peak(renderer: Renderer) -> None:
    renderer.render(_score())
    stems = renderer.render(_score(drums=None, melody=None))
    assert not stems.drums.any()
    assert not stems.melody.any()
    assert np.abs(stems.mix).max() == pytest.approx(0.6, abs=1e-3)
    assert stems.drums.shape == stems.backing.shape == (2, 3 * RATE)


@needs_fluidsynth
def test_a_part_sounds_where_it_is_placed(renderer: Renderer) -> None:
    """Left over right, in dB; a part in the middle differs by no more than its samples do."""
    notes = (Note(0.2, 2.0, 60, 100),)

    def left_over_right(pan: float) -> float:
        part = Part("flute", 73, 0, notes, reverb=0.0, pan=pan)
        left, right = renderer.render(_score(drums=None, melody=None, backing=(part,))).mix
        return 10 * float(np.log10((left**2).sum() / (right**2).sum()))

    assert left_over_right(-0.7) > 8
    assert abs(left_over_right(0.0)) < 3
    assert left_over_right(0.7) < -8


def test_songs_are_spread_with_the_bass_in_the_middle() -> None:
    parts = tuple(Part(str(n), n, 0, ()) for n in (33, 0, 24, 48))
    scores = [placed(_score(backing=parts), 1, number) for number in range(40)]
    assert all(score.backing[0].pan == 0 for score in scores)
    pans = np.array([part.pan for score in scores for part in score.backing[1:]])
    assert np.abs(pans).max() <= 0.7 and (pans < -0.15).any() and (pans > 0.15).any()
    assert placed(_score(backing=parts), 1, 7) == scores[7]


@needs_fluidsynth
def test_a_song_does_not_hear_the_one_before(renderer: Renderer) -> None:
    """The same score after different songs, one of them cut in the middle of a note."""
    loud = Part("organ", 16, 0, (Note(0.0, 1.0, 60, 127),), reverb=1.0)
    first = renderer.render(_score())
    wet = dataclasses.replace(QUIET_ROOM, reverb_level=1.0, room_size=0.9)
    renderer.render(_score(duration_s=0.777, backing=(loud,), mastering=wet, melody=None, drums=None))
    again = renderer.render(_score())
    for name in ("drums", "melody", "backing"):
        difference = getattr(first, name) - getattr(again, name)  # (2, S)
        assert np.abs(difference.mean(axis=0)).max() < 5e-3, name
        # Between left and right the chorus goes on turning from song to song.
        assert np.abs(difference).max() < 0.03, name


@needs_fluidsynth
def test_stem_levels_follow_the_mastering(renderer: Renderer) -> None:
    quiet = renderer.render(_score(mastering=dataclasses.replace(QUIET_ROOM, melody_db=-6.0)))
    loud = renderer.render(_score(mastering=dataclasses.replace(QUIET_ROOM, melody_db=6.0)))

    def ratio_db(stems: object) -> float:
        rms = [float(np.sqrt(np.mean(getattr(stems, name) ** 2))) for name in ("melody", "backing")]
        return 20 * float(np.log10(rms[0] / rms[1]))

    assert ratio_db(loud) - ratio_db(quiet) == pytest.approx(12.0, abs=0.2)


@needs_fluidsynth
def test_soundfonts_that_cannot_serve_are_named(tmp_path: Path, poor_soundfont: Path) -> None:
    text = tmp_path / "text.sf2"
    text.write_text("not a soundfont")
    for path in (tmp_path / "absent.sf2", text, poor_soundfont):
        with pytest.raises(RenderError, match=path.name):
            Renderer((path,))
    with pytest.raises(ValueError, match="at least one soundfont"):
        Renderer(())


@needs_fluidsynth
def test_corpus_layout_and_resumption(tmp_path: Path, soundfont: Path, leadsheet_file: Path) -> None:
    import soundfile

    out = tmp_path / "corpus"
    arguments = ["--out", str(out), "--soundfont", str(soundfont), "--soundfont", str(soundfont)]
    arguments += ["--leadsheets", str(leadsheet_file), "--workers", "1", "--seed", "5"]
    assert main(["corpus", *arguments, "--hours", "0.02"]) == 0
    songs = sorted(out.glob("*/*/song.json"))
    assert len(songs) >= 2
    assert not (out / ".partial").exists()
    for path in songs:
        record = json.loads(path.read_text())
        assert (record["id"], record["split"]) == (path.parent.name, path.parent.parent.name)
        stems = {name: soundfile.read(path.parent / f"{name}.wav") for name in ("drums", "melody", "backing")}
        assert {rate for _, rate in stems.values()} == {RATE}
        assert {len(x) for x, _ in stems.values()} == {round(record["duration_s"] * RATE)}
        assert 0.2 < np.abs(sum(x for x, _ in stems.values())).max() < 1
        assert bool(record["drums"]) == bool(stems["drums"][0].any())
    times = {path: path.stat().st_mtime_ns for path in songs}
    missing_again = songs[0].parent
    for file in missing_again.iterdir():
        file.unlink()
    missing_again.rmdir()
    main(["corpus", *arguments, "--hours", "0.02"])
    assert songs[0].is_file()
    assert all(path.stat().st_mtime_ns == times[path] for path in songs[1:])


@needs_fluidsynth
def test_wrong_arguments_fail_before_any_work(tmp_path: Path, soundfont: Path) -> None:
    out = tmp_path / "corpus"
    with pytest.raises(ValueError, match="hours"):
        render_corpus(out, 0, [soundfont])
    with pytest.raises(ValueError, match="workers"):
        render_corpus(out, 1, [soundfont], workers=0)
    with pytest.raises(ValueError, match=r"absent\.jsonl"):
        render_corpus(out, 1, [soundfont], leadsheets=tmp_path / "absent.jsonl")
    with pytest.raises(ValueError, match="soundfont"):
        render_corpus(out, 1, [])
    assert not out.exists()
