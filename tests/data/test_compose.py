from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from flowmusic.commands.corpus import EPILOG
from flowmusic.composer.captions import SongFacts, tempo_word, write_captions
from flowmusic.composer.generator import make_brief, write_sheet
from flowmusic.composer.harmony import Chord
from flowmusic.composer.instruments import PROGRAM_NAMES, playable_range
from flowmusic.composer.score import Score
from flowmusic.composer.style_table import STYLES
from flowmusic.composer.wording import families_of, wording
from flowmusic.data.corpus import CorpusPlan, compose, split_lead_sheets
from flowmusic.data.leadsheets import LeadSheet, excerpt, read_lead_sheets

N_SONGS = 80


@pytest.fixture(scope="module")
def lead_sheets(leadsheet_file: Path) -> list[LeadSheet]:
    return read_lead_sheets(leadsheet_file)


@pytest.fixture(scope="module")
def plan(leadsheet_file: Path) -> CorpusPlan:
    return CorpusPlan(Path("unused"), (Path("a.sf2"), Path("b.sf2")), leadsheet_file, 3, 32000)


@pytest.fixture(scope="module")
def songs(plan: CorpusPlan, lead_sheets: list[LeadSheet]) -> list[tuple[str, str, Score]]:
    return [compose(plan, lead_sheets, number) for number in range(N_SONGS)]


def test_a_song_depends_on_seed_and_number_only(
    plan: CorpusPlan, lead_sheets: list[LeadSheet], songs: list[tuple[str, str, Score]]
) -> None:
    assert compose(plan, lead_sheets, 17) == songs[17]
    assert len({song_id for song_id, _, _ in songs}) == N_SONGS


def test_both_sources_and_every_split_come_early(songs: list[tuple[str, str, Score]]) -> None:
    assert {score.source.split(":")[0] for _, _, score in songs} == {"generator", "openewld"}
    assert {split for _, split, _ in songs} == {"train", "valid", "test"}


def test_melodies_have_one_voice_in_range(songs: list[tuple[str, str, Score]]) -> None:
    for _, _, score in songs:
        if score.melody is None:
            continue
        notes = score.melody.notes
        assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(notes))
        assert all(48 <= n.midi <= 90 and 1 <= n.velocity <= 127 and n.end_s > n.start_s for n in notes)
        assert notes[-1].end_s <= score.duration_s


def test_chords_are_contiguous_and_inside_the_song(songs: list[tuple[str, str, Score]]) -> None:
    import mir_eval

    for _, _, score in songs:
        spans = score.chords
        assert all(abs(a.end_s - b.start_s) < 1e-6 for a, b in itertools.pairwise(spans))
        assert all(a.label != b.label for a, b in itertools.pairwise(spans))
        assert spans[0].start_s == 0
        assert spans[-1].end_s <= score.duration_s
        for span in spans:
            mir_eval.chord.validate_chord_label(span.label)


def test_no_chord_is_claimed_where_nothing_harmonic_plays(songs: list[tuple[str, str, Score]]) -> None:
    """A backing note sounds under every label, and none within an `N`, give or take human timing."""
    slack_s = 0.08
    for _, _, score in songs:
        notes = [note for part in score.backing for note in part.notes]
        for span in score.chords:
            inside = [
                n for n in notes if n.start_s < span.end_s - slack_s and n.end_s > span.start_s + slack_s
            ]
            if span.label == "N":
                assert not inside, (score.source, span)
            elif span.end_s - span.start_s > 4:
                assert inside, (score.source, span)


def test_drums_and_beats_are_inside_the_song(songs: list[tuple[str, str, Score]]) -> None:
    for _, _, score in songs:
        if score.drums is not None:
            assert all(0 <= h.time_s < score.duration_s and 27 <= h.midi <= 87 for h in score.drums.hits)
        gaps = np.diff(score.beats_s)
        assert np.median(gaps) == pytest.approx(60 / score.bpm, rel=0.05)
        assert 15 < score.duration_s < 75


def test_variety(songs: list[tuple[str, str, Score]]) -> None:
    scores = [score for _, _, score in songs]
    assert 0.05 < np.mean([s.drums is None for s in scores]) < 0.4
    assert len({s.tags["style"] for s in scores}) > 15
    assert len({(s.key, s.mode) for s in scores}) > 20
    assert {s.metre for s in scores} >= {"4/4", "3/4", "6/8"}
    assert {part.soundfont for s in scores for part in s.backing} == {0, 1}


def _consonance(follows: bool) -> float:
    """Share of the melody's time spent on notes of the chord."""
    inside = total = 0.0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        sheet, _ = write_sheet(rng, make_brief(rng, "4/4", with_melody=True))
        if sheet.melody_follows_chords != follows:
            continue
        for note in sheet.melody:
            span = next(s for s in sheet.chords if s.start <= note.start + 1e-6 < s.end)
            total += note.end - note.start
            inside += (note.end - note.start) * (note.midi % 12 in span.chord.pitch_classes)
    return inside / total


def test_melodies_follow_the_chords_or_do_not() -> None:
    assert _consonance(True) > 0.6
    assert _consonance(False) < 0.45


def test_lead_sheet_spelling_and_metres(lead_sheets: list[LeadSheet]) -> None:
    assert [sheet.metre for sheet in lead_sheets] == ["4/4", "3/4", "6/8"]
    jig = lead_sheets[2]  # E-, B-7, Fm7, ...
    assert [chord for _, chord in jig.chords[:3]] == [
        Chord(3, "maj", 3),
        Chord(10, "7", 10),
        Chord(5, "min7", 5),
    ]
    assert (jig.tonic, jig.mode) == (3, "major")


def test_the_help_shows_a_lead_sheet_that_can_be_read(tmp_path: Path) -> None:
    shown = EPILOG[EPILOG.index('{"id"') : EPILOG.rindex("}") + 1].replace(", ...", "")
    (tmp_path / "shown.jsonl").write_text(" ".join(shown.split()))
    (sheet,) = read_lead_sheets(tmp_path / "shown.jsonl")
    assert (sheet.id, sheet.tonic, len(sheet.notes)) == ("Alouette", 5, 1)


def test_excerpts_are_transposed_together(lead_sheets: list[LeadSheet]) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        lead_sheet = lead_sheets[seed % 3]
        brief = make_brief(rng, lead_sheet.metre, with_melody=True)
        sheet = excerpt(lead_sheet, brief, rng)
        shift = (sheet.tonic - lead_sheet.tonic) % 12
        originals = {chord.transposed(shift) for _, chord in lead_sheet.chords}
        assert {span.chord for span in sheet.chords} <= originals
        tune = [note.midi % 12 for note in sheet.melody]
        whole = [(note.midi + shift) % 12 for note in lead_sheet.notes]
        assert any(whole[k : k + len(tune)] == tune for k in range(len(whole)))
        low, high = playable_range(brief.lead_program)
        assert np.mean([low - 4 <= note.midi <= high + 4 for note in sheet.melody]) > 0.7


def test_compositions_keep_to_one_split(lead_sheets: list[LeadSheet]) -> None:
    many = [LeadSheet(f"song {k}", "4/4", 0, "major", lead_sheets[0].chords, ()) for k in range(400)]
    splits = split_lead_sheets(many)
    assert splits == split_lead_sheets(many[::-1])
    counts = {name: sum(split == name for split in splits.values()) for name in ("train", "valid", "test")}
    assert counts == {"train": 368, "valid": 12, "test": 20}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty; expected a JSON-lines file of lead sheets"),
        ("{not json", "line 1"),
        (json.dumps({"id": "x", "time_signature": "7/8", "chords": [], "notes": []}), "7/8"),
        (json.dumps({"id": "x", "time_signature": "4/4", "key_fifths": 0, "notes": []}), "chords"),
    ],
)
def test_bad_lead_sheets_are_named(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "sheets.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=expected) as caught:
        read_lead_sheets(path)
    assert "sheets.jsonl" in str(caught.value)


def test_missing_lead_sheets_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.jsonl"):
        read_lead_sheets(tmp_path / "nowhere.jsonl")


def found(phrases: tuple[str, ...], caption: str) -> list[str]:
    return [
        phrase for phrase in phrases if re.search(rf"(?<![\w-]){re.escape(phrase)}(?![\w-])", caption, re.I)
    ]


def test_captions_tell_the_truth(songs: list[tuple[str, str, Score]]) -> None:
    table = wording()
    for _, _, score in songs:
        assert 5 <= len(set(score.captions)) == len(score.captions)
        family = "minor" if score.mode in ("minor", "dorian", "phrygian") else "major"
        tempo = tempo_word(score.bpm, score.metre)
        for caption in score.captions:
            assert caption == caption.strip()
            assert "None" not in caption and "{" not in caption
            assert "  " not in caption
            assert not found(table.no_drums if score.drums is not None else table.drumming, caption)
            assert not found(table.no_melody if score.melody is not None else (), caption)
            for other in {"minor", "major"} - {family}:
                assert not found(table.modes[other] + table.feelings[other], caption)
            for other in {"slow", "medium", "fast"} - {tempo}:
                assert not found(table.tempo_phrases[other], caption)
            for number in re.findall(r"(\d+) bpm", caption.lower()):
                assert number == str(round(score.bpm))


def test_captions_use_many_words(songs: list[tuple[str, str, Score]]) -> None:
    captions = [caption for _, _, score in songs for caption in score.captions]
    said = {word for caption in captions for word in caption.lower().split()}
    assert len(said) > 800
    assert any(len(caption.split()) <= 3 for caption in captions) and any(
        ". " in caption for caption in captions
    )


def test_captions_of_a_solo_name_no_other_instrument() -> None:
    facts = SongFacts(
        "folk", ("folk",), 72.0, "3/4", "A", "minor", "flute", (), None, None, None, solo="melody"
    )
    captions = write_captions(facts, 60, np.random.default_rng(0))
    table = wording()
    flutes = ("flute", *table.instruments["flute"], table.players["flute"], *table.families["woodwinds"])
    silent = (
        *table.modes["minor"],
        *table.feelings["minor"],
        *table.moods["minor slow"],
        *table.tempo_phrases["slow"],
    )
    assert all(found(flutes, caption) or found((*silent, *table.no_drums), caption) for caption in captions)
    assert sum(bool(found(flutes, caption)) for caption in captions) > 45
    others = tuple(name for name in table.instruments if name not in ("flute", "pan flute", "whistle"))
    assert not any(found(others, caption) for caption in captions)


def test_every_instrument_and_style_has_words() -> None:
    table = wording()
    assert set(table.instruments) == set(PROGRAM_NAMES.values())
    assert set(table.players) < set(table.instruments)
    assert set(table.scenes) == set(STYLES)
    assert families_of("violin") == ("strings",) and families_of("oboe") == ("woodwinds",)
    assert families_of("synth strings") == ("strings",) and families_of("choir") == ("choir",)
    assert families_of("electric bass") == ("bass",) and families_of("sitar") == ()


def test_tempo_words() -> None:
    assert [tempo_word(bpm, "4/4") for bpm in (60, 100, 150)] == ["slow", "medium", "fast"]
    assert tempo_word(88, "6/8") == "fast"
