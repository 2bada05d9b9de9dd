"""Guidance as a specification: weights, merging, and what can be written."""

from __future__ import annotations

import math

import pytest

from flowmusic.flow.guidance import EVERYTHING, NOTHING, ConditionSet, GuidanceSpec

TEXT = ConditionSet(frozenset({"text"}))


def all_but(name: str) -> ConditionSet:
    return ConditionSet(frozenset({name}), all_but=True)


def weights(spec: GuidanceSpec) -> dict[ConditionSet, float]:
    return {item.conditions: item.weight for item in spec.sets}


@pytest.mark.parametrize(
    "text", ["2", "0", "1", "-1.5", "jasco:3,1", "double:3,2", "drums=2,chords=3,text=1.5"]
)
def test_weights_sum_to_one(text: str) -> None:
    spec = GuidanceSpec.parse(text)
    assert math.isclose(sum(item.weight for item in spec.sets), 1.0)
    assert len({item.conditions for item in spec.sets}) == len(spec.sets)
    assert all(item.weight != 0 for item in spec.sets)


def test_written_rules_are_the_constructors() -> None:
    assert GuidanceSpec.parse(" 2 ") == GuidanceSpec.simple(2)
    assert GuidanceSpec.parse("jasco: 3, 1") == GuidanceSpec.jasco(3, 1)
    assert GuidanceSpec.parse("double:3,2") == GuidanceSpec.double(3, 2)
    assert GuidanceSpec.parse("drums=2, text=1.5") == GuidanceSpec.per_control({"drums": 2, "text": 1.5})
    assert GuidanceSpec.parse("1") == GuidanceSpec.none()


def test_known_formulas() -> None:
    assert weights(GuidanceSpec.jasco(3, 1)) == {EVERYTHING: 3, TEXT: 1, NOTHING: -3}
    assert weights(GuidanceSpec.double(3, 2)) == {EVERYTHING: 6, all_but("text"): -3, NOTHING: -2}
    assert weights(GuidanceSpec.per_control({"drums": 2, "chords": 1})) == {
        EVERYTHING: 2,
        all_but("drums"): -1,
    }


def test_sets_that_cancel_are_left_out() -> None:
    drums = ConditionSet(frozenset({"drums"}))
    assert weights(GuidanceSpec.of((1.0, TEXT), (2.0, drums), (-2.0, drums))) == {TEXT: 1.0}


def test_a_set_is_taken_among_what_is_given() -> None:
    given = frozenset({"drums", "text"})
    assert EVERYTHING.among(given) == given and NOTHING.among(given) == frozenset()
    assert TEXT.among(given) == {"text"} and all_but("text").among(given) == {"drums"}
    assert TEXT.among(frozenset({"drums"})) == frozenset()


def test_weights_of_another_sum_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must sum to 1, got 1\.5"):
        GuidanceSpec.of((1.5, TEXT))
    with pytest.raises(ValueError, match="unknown conditions"):
        ConditionSet(frozenset({"bass"}))
    with pytest.raises(ValueError, match="unknown conditions"):
        GuidanceSpec.per_control({"context": 2.0})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not understood"),
        ("strong", "not understood at 'strong'"),
        ("nan", "finite"),
        ("inf", "finite"),
        ("drums=1e308,chords=1e308", "up to 1000"),
        ("jasco:3", "not understood"),
        ("jasco:3,x", "not understood at 'x'"),
        ("double:1,2,3", "not understood"),
        ("bass=2", "'bass' where one of drums, melody, chords, .*text, style was expected"),
        ("drums=2,drums=3", "'drums' twice"),
        ("drums=", "not understood"),
        ("drums=2;text=1", "not understood at '2;text=1'"),
        ("drums=2,", "names ''"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GuidanceSpec.parse(text)
