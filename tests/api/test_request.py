"""Requests: one spelling everywhere, what is read, what is refused, what is the same request."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.notation import names_a_file
from flowmusic.api.request import (
    CONTROL_FIELDS,
    REQUEST_FIELDS,
    Request,
    RequestError,
    expected,
    kind_of,
    range_of,
)
from flowmusic.commands.options import add_request, asked_options

FULL: dict[str, Any] = {
    "text": "a trio",
    "drums": "beat.wav",
    "melody": "tune.mid",
    "chords": "Am | F",
    "dynamics": "loud.wav",
    "references": {"density": "busy.wav"},
    "controls": "song.safetensors",
    "spans": {"drums": "0-4"},
    "duration": 12,
    "seed": 7,
    "steps": 4,
    "solver": "heun",
    "guidance": "drums=2,chords=3",
    "temperature": 0.9,
    "top_k": 50,
    "top_p": 0.8,
    "refine": 0.5,
    "bpm": 90,
    "beats_per_bar": 3,
    "loop_chords": False,
    "compose": False,
    "song": 3,
    "context": "song.wav",
    "keep": "0-4,9-15",
    "context_at": 1.5,
    "extend": False,
    "loop": True,
    "vary": "old.wav",
    "strength": 0.4,
    "loudness": -14,
    "style": "band.wav",
    "style_codebooks": 2,
    "style_excerpt": "10-14",
    "inversions": ["word.safetensors"],
}


def command_line(values: dict[str, Any]) -> list[str]:
    """The options that say the same as plain data."""
    words: list[str] = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        elif isinstance(value, dict):
            words += [word for key, item in value.items() for word in (option, f"{key}={item}")]
        else:
            words += [
                word
                for item in (value if isinstance(value, list) else [value])
                for word in (option, str(item))
            ]
    return words


def from_command_line(values: dict[str, Any]) -> Request:
    parser = argparse.ArgumentParser()
    add_request(parser)
    return Request(**asked_options(parser.parse_args(command_line(values))))


def test_every_field_has_one_spelling_everywhere() -> None:
    assert set(FULL) == set(REQUEST_FIELDS)
    needs = {"strength": "vary", "keep": "context", "context_at": "context", "extend": "context"}
    needs |= {"style_codebooks": "style", "style_excerpt": "style"}
    for name, value in FULL.items():
        values = {needs[name]: FULL[needs[name]], name: value} if name in needs else {name: value}
        python = Request(**values)
        assert python == Request.read(json.loads(json.dumps(values))) == from_command_line(values), name
        assert getattr(python, name) is not None and python != Request(), name
    assert Request(**FULL) == from_command_line(FULL) == Request.read(FULL)


def test_every_field_is_explained_and_in_the_schema() -> None:
    schema = Request.model_json_schema()["properties"]
    for name, field in REQUEST_FIELDS.items():
        assert field.description and schema[name]["description"] == field.description
        limits = range_of(name)
        assert (kind_of(name) in ("number", "whole number")) == (limits is not None), name
        if limits is not None:
            assert f"from {limits[0]:g} to " in expected(name)


def test_what_is_written_is_what_is_read() -> None:
    request = Request.read(FULL)
    again = Request.read(json.loads(json.dumps(request.plain())))
    assert again == request and again.digest == request.digest
    assert request.duration == 12.0 and request.strength == 0.4 and request.guidance == "drums=2,chords=3"


NAMES = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    min_size=1,
    max_size=20,
).filter(lambda text: bool(text.strip()))
"""Names of files: the half pairs stand for bytes that are not UTF-8."""

TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n\r"), min_size=1, max_size=20
).filter(lambda text: bool(text.strip()))
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXTS,
        "drums": NAMES,
        "chords": NAMES.map(lambda name: f"/{name}.lab").filter(names_a_file),
        "references": st.dictionaries(
            st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z").filter(lambda name: name not in CONTROL_FIELDS),
            NAMES,
            max_size=2,
        ),
        "duration": st.floats(0.5, 3600),
        "seed": st.integers(0, 2**63 - 1),
        "bpm": st.integers(10, 400),
        "loop": st.booleans(),
        "compose": st.booleans(),
        "inversions": st.lists(NAMES, max_size=3),
        "guidance": st.floats(-100, 100),
        "loudness": st.floats(-40, -5),
    },
)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_any_request_survives_being_written(values: dict[str, Any]) -> None:
    request = Request.read(values)
    again = Request.read(json.loads(json.dumps(request.plain())))
    assert again == request and again.digest == request.digest


JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*REQUEST_FIELDS, "tempo", ""]), JUNK, max_size=4) | JUNK)
@settings(max_examples=500, deadline=None)
def test_any_data_is_a_request_or_one_sentence(values: Any) -> None:
    try:
        assert isinstance(Request.read(values), Request)
    except ValueError as error:
        assert str(error).strip() and "\n" not in str(error).strip() and "validation error" not in str(error)


BAD_TEXTS = ("caf\udce9", "\ud800", "a\0b", "a\x1b[31m", "a\x85", "\x7f")
NAME_FIELDS = ("drums", "melody", "dynamics", "controls", "context", "vary", "style")


@pytest.mark.parametrize("bad", BAD_TEXTS)
@pytest.mark.parametrize("name", ["text", "keep", "style_excerpt", "solver", "guidance", "chords"])
def test_a_text_has_no_control_characters_and_no_half_pairs(name: str, bad: str) -> None:
    values: dict[str, Any] = {"context": "a.wav", "style": "b.wav", name: bad}
    for read in (Request.read, lambda values: Request(**values)):
        with pytest.raises(RequestError, match=name) as caught:
            read(values)
        said = str(caught.value)
        assert "\n" not in said and said.isprintable(), "it can be shown anywhere"


def test_a_file_may_have_any_name_that_the_system_takes() -> None:
    for name in NAME_FIELDS:
        for good in ("caf\udce9.wav", "a\nb.wav", " -x's \"#🎵.wav", Path("caf\udce9.wav")):
            asked: dict[str, Any] = {name: good}
            request = Request(**asked)
            written = json.dumps(request.plain(), ensure_ascii=False).encode(errors="backslashreplace")
            again = Request.read(json.loads(written.decode()))
            assert again.files == request.files == {name: str(good)} and again.digest == request.digest
        for bad in ("a\0.wav", "\ud800.wav", Path("a\0.wav")):
            with pytest.raises(RequestError, match=f"{name} must be a name that a file can have, got"):
                Request(**(asked | {name: bad}))
    for key in ("\ud800", "a b", ""):
        with pytest.raises(RequestError, match="references must have names of controls for keys, got"):
            Request.read({"references": {key: "a.wav"}})
    with pytest.raises(RequestError, match="a name that a file can have"):
        Request.read({"references": {"density": "\ud800"}})
    with pytest.raises(RequestError, match="a name that a file can have"):
        Request.read({"inversions": ["a\0"]})


def test_defaults_and_absent_values_are_the_same_request() -> None:
    assert Request.read({"text": "x", "seed": 0, "duration": None, "beats_per_bar": 4}) == Request(text="x")
    assert Request(text="x").digest == Request(seed=0, text="x").digest
    assert Request(text="x", seed=1).digest != Request(text="x").digest
    assert Request(text="x").plain() == {"text": "x"}


def test_a_variation_tells_a_default_that_is_given_from_one_that_is_not() -> None:
    """What is not given is asked of the varied clip; seed 0 and no loop replace what that says."""
    unsaid = Request(vary="a.wav")
    assert unsaid.plain() == {"vary": "a.wav"}
    for said in ({"seed": 0}, {"loop": False}, {"compose": True}, {"beats_per_bar": 4.0}):
        request = Request(vary="a.wav", **said)
        assert request.digest != unsaid.digest
        assert request.plain() == request.given() == {"vary": "a.wav"} | said
        assert Request.read(json.loads(json.dumps(request.plain()))).given() == request.given()


def test_only_files_are_moved(tmp_path: Path) -> None:
    request = Request.read(FULL).beside(tmp_path)
    assert request.drums == str(tmp_path / "beat.wav") and request.chords == "Am | F"
    assert request.inversions == (str(tmp_path / "word.safetensors"),)
    assert request.references == {"density": str(tmp_path / "busy.wav")}
    assert Request(chords="song.lab").beside(tmp_path).chords == str(tmp_path / "song.lab")
    assert Request(drums="/a/b.wav").beside(tmp_path).drums == "/a/b.wav"


def test_objects_are_named_and_never_written() -> None:
    request = Request(drums=(np.zeros(8), 8000))
    assert request.plain() == {"drums": {"in_memory": "tuple"}} and request.files == {}
    assert Request.read(request.plain()).plain() == request.plain()


def test_what_is_text_alone_and_what_is_composed() -> None:
    alone = Request(text="jazz")
    assert alone.is_text_alone and alone.composes and alone.replace(loop=True).composes
    for beside in (
        {"drums": "a.wav"},
        {"controls": "c.safetensors"},
        {"style": "s.wav"},
        {"vary": "v.wav"},
        {"context": "c.wav"},
        {"references": {"density": "d.wav"}},
    ):
        assert not alone.replace(**beside).composes and alone.replace(**beside, song=0).composes
    assert not alone.replace(compose=False).composes and not alone.replace(compose=False, song=1).composes
    assert not Request(text="a <word>").composes and not Request(text="a <word>", song=1).composes
    assert not Request(song=1).composes and not Request().composes


BAD: dict[str, tuple[object, str]] = {
    "unknown key": ({"tempo": 90}, "unknown key 'tempo'; expected some of text, drums"),
    "wrong type": ({"text": 5}, "text must be a text, got 5"),
    "empty text": ({"melody": "  "}, "melody must be a text that is not empty"),
    "number for a file": ({"melody": 3}, "melody must be a file, got 3"),
    "long": ({"duration": 1e6}, "duration must be a number from 0.5 to 3600, got 1000000"),
    "nan": ({"duration": float("nan")}, "duration must be a number"),
    "infinite": ({"bpm": float("inf")}, "bpm must be a number"),
    "bool": ({"duration": True}, "duration must be a number"),
    "text for a number": ({"duration": "12"}, "duration must be a number from 0.5 to 3600, got '12'"),
    "seed": ({"seed": -1}, "seed must be a whole number from 0 to 9223372036854775807, got -1"),
    "half a seed": ({"seed": 1.5}, "seed must be a whole number"),
    "steps": ({"steps": 0}, "steps must be a whole number from 1"),
    "solver": ({"solver": "leapfrog"}, "unknown solver 'leapfrog'"),
    "guidance": ({"guidance": "loud"}, "guidance 'loud'"),
    "infinite guidance": ({"guidance": float("inf")}, "guidance must be a finite"),
    "list for guidance": ({"guidance": [1]}, "guidance must be a number or a text"),
    "chart": ({"chords": "Am | Q7"}, "bar 2"),
    "flag": ({"loop": "yes"}, "loop must be true or false"),
    "compose": ({"compose": "no"}, "compose must be true or false"),
    "keep alone": ({"keep": "0-4"}, "need context"),
    "keep": ({"context": "a.wav", "keep": "4-2"}, "keep must be seconds such as"),
    "overlap": ({"context": "a.wav", "keep": "0-2,1-3"}, "must be spans that rise"),
    "spans": ({"context": "a.wav", "keep": "all"}, "such as 0-4,9-15"),
    "half a span": ({"context": "a.wav", "keep": "4"}, "such as 0-4,9-15"),
    "one span of two": ({"context": "a.wav", "keep": "0-4,x"}, "such as 0-4,9-15"),
    "place": ({"context": "a.wav", "context_at": float("nan")}, "context_at must be a number"),
    "extend": ({"context": "a.wav", "keep": "0-1", "extend": True}, "without keep"),
    "extend nothing": ({"extend": True}, "need context"),
    "strength alone": ({"strength": 0.5}, "strength needs vary"),
    "no strength": ({"vary": "a.wav", "strength": 0.0}, "strength must be a number from 0.01 to 1"),
    "loudness": ({"loudness": 0}, "loudness must be a number from -40"),
    "style": ({"style_codebooks": 2}, "need style"),
    "excerpt": ({"style": "a.wav", "style_excerpt": "4-2"}, "such as 10-14"),
    "excerpt text": ({"style": "a.wav", "style_excerpt": "abc"}, "style_excerpt must be .* got 'abc'"),
    "huge guidance": ({"guidance": "drums=1e308,chords=1e308"}, "finite numbers up to 1000"),
    "inversions": ({"inversions": "a"}, "inversions must be a list of files"),
    "references": ({"references": ["a"]}, "references must be a table of control: file"),
    "table of spans": ({"spans": "drums=0-4"}, "spans must be a table of control: seconds"),
    "span of a control": ({"spans": {"drums": "4-2"}}, "spans: drums must be seconds such as 0-4, got '4-2'"),
    "span's control": ({"spans": {"the drums": "0-4"}}, "spans must have names of controls for keys"),
    "a field as a reference": ({"references": {"drums": "a.wav"}}, "drums is a field of its own"),
    "list": ([1, 2], "expected an object of settings, got list"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_values_are_named(kind: str) -> None:
    values, message = BAD[kind]
    with pytest.raises(RequestError, match=message):
        Request.read(values)


def test_spans_are_read() -> None:
    asked = Request(context="a.wav", keep="0-4, 9-15.5", style="b.wav", style_excerpt="10-14")
    assert asked.kept_spans == ((0.0, 4.0), (9.0, 15.5)) and asked.excerpt == (10.0, 14.0)
    assert Request().kept_spans is None and Request().excerpt is None
