"""Jobs as plain data: what is read, what is refused, what is the same job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowmusic.api.model import FlowMusic
from flowmusic.api.request import KEYS, Job, read_job

FULL = {
    "text": "a trio",
    "drums": "beat.wav",
    "melody": "tune.mid",
    "chords": "Am | F",
    "duration": 12,
    "seed": 7,
    "steps": 4,
    "solver": "heun",
    "guidance": "drums=2,chords=3",
    "bpm": 90,
    "beats_per_bar": 3,
    "loop_chords": False,
    "context": "song.wav",
    "keep": "0-4,9-15",
    "context_at": 1.5,
    "loop": True,
    "from_clip": "old.wav",
    "vary": 0.4,
    "loudness": -14,
    "style": "band.wav",
    "style_codebooks": 2,
    "style_excerpt": "10-14",
    "inversions": ["word.safetensors"],
}


def test_what_is_written_is_what_is_read() -> None:
    job = read_job(FULL)
    again = read_job(json.loads(json.dumps(job.to_dict())))
    assert again == job and again.digest == job.digest
    assert job.duration_s == 12.0 and job.strength == 0.4 and job.guidance == "drums=2,chords=3"
    assert set(FULL) <= set(KEYS)


def test_defaults_and_absent_values_are_the_same_job() -> None:
    assert read_job({"text": "x", "seed": 0, "duration": None, "beats_per_bar": 4}) == Job(text="x")
    assert read_job({"text": "x"}).digest == read_job({"seed": 0, "text": "x"}).digest
    assert read_job({"text": "x", "seed": 1}).digest != read_job({"text": "x"}).digest
    assert Job(text="x").to_dict() == {"text": "x"}


def test_a_variation_tells_no_seed_from_seed_0() -> None:
    unsaid, said = (read_job({"from_clip": "a.wav"} | seed) for seed in ({}, {"seed": 0}))
    assert unsaid.seed is None and said.seed == 0 and unsaid.digest != said.digest
    assert [read_job(job.to_dict()) for job in (unsaid, said)] == [unsaid, said]
    assert said.given() == {"vary_from": "a.wav", "seed": 0}


def test_only_files_are_moved(tmp_path: Path) -> None:
    job = read_job(FULL).beside(tmp_path)
    assert job.drums == str(tmp_path / "beat.wav") and job.chords == "Am | F"
    assert read_job({"chords": "song.lab"}).beside(tmp_path).chords == str(tmp_path / "song.lab")
    assert read_job({"drums": "/a/b.wav"}).beside(tmp_path).drums == "/a/b.wav"


BAD = {
    "unknown key": ({"tempo": 90}, "unknown key 'tempo'"),
    "wrong type": ({"text": 5}, "text must be a text"),
    "empty text": ({"melody": "  "}, "melody must be a text"),
    "long": ({"duration": 1e6}, "duration must be a number from 0.5 to 3600"),
    "nan": ({"duration": float("nan")}, "duration must be a number"),
    "bool": ({"duration": True}, "duration must be a number"),
    "seed": ({"seed": -1}, "seed must be a whole number"),
    "steps": ({"steps": 0}, "steps must be a whole number from 1"),
    "solver": ({"solver": "leapfrog"}, "unknown solver"),
    "guidance": ({"guidance": "loud"}, "guidance 'loud'"),
    "infinite guidance": ({"guidance": float("inf")}, "guidance must be a finite"),
    "chart": ({"chords": "Am | Q7"}, "bar 2"),
    "flag": ({"loop": "yes"}, "loop must be true or false"),
    "keep alone": ({"keep": "0-4"}, "need context"),
    "keep": ({"context": "a.wav", "keep": "4-2"}, "must rise"),
    "spans": ({"context": "a.wav", "keep": "all"}, "such as 0-4,9-15"),
    "continue": ({"context": "a.wav", "keep": "0-1", "continue": True}, "without keep"),
    "vary alone": ({"vary": 0.5}, "needs from_clip"),
    "loudness": ({"loudness": 0}, "loudness must be a number from -40"),
    "style": ({"style_codebooks": 2}, "need style"),
    "excerpt": ({"style": "a.wav", "style_excerpt": "4-2"}, "such as 10-14"),
    "excerpt text": ({"style": "a.wav", "style_excerpt": "abc"}, "style_excerpt must be .* got 'abc'"),
    "huge guidance": ({"guidance": "drums=1e308,chords=1e308"}, "finite numbers up to 1000"),
    "inversions": ({"inversions": "a"}, "a list of files"),
    "list": ([1, 2], "expected an object"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_values_are_named(kind: str) -> None:
    values, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        read_job(values)


def test_every_key_of_a_job_reaches_the_model() -> None:
    """Whatever `generate` takes can stand in a job, but for what only Python has."""
    import inspect

    taken = set(inspect.signature(FlowMusic.generate).parameters) - {"self", "progress", "edit"}
    assert taken <= set(Job.__dataclass_fields__)
