"""Guidance with spans and options: what can be written, and what cannot."""

from __future__ import annotations

import math

import pytest

from flowmusic.flow.guidance import GuidanceSpec
from flowmusic.flow.schedule import Guidance, GuidedSpan


def test_without_spans_it_is_the_rule_all_along() -> None:
    for text in ("2", "jasco:3,1", "double:3,2", "drums=2,chords=3"):
        assert Guidance.parse(text) == Guidance.of(GuidanceSpec.parse(text))


def test_spans_are_one_rule_between_any_two_edges() -> None:
    guidance = Guidance.parse("chords=3@0-8, 1.5@8-, text=2@4-12, drums=4")
    scales = {(span.start_s, span.end_s): span.spec for span in guidance.spans}
    assert scales == {
        (0, 4): GuidanceSpec.per_control({"chords": 3, "drums": 4}),
        (4, 8): GuidanceSpec.per_control({"chords": 3, "text": 2, "drums": 4}),
        (8, 12): GuidanceSpec.per_control({"chords": 1.5, "text": 2, "drums": 4}),
        (12, math.inf): GuidanceSpec.per_control({"chords": 1.5, "drums": 4}),
    }


def test_a_scale_of_all_conditions_has_spans_too_and_is_one_in_between() -> None:
    assert Guidance.parse("3@1-2, 2@4-").spans == (
        GuidedSpan(0, 1, GuidanceSpec.none()),
        GuidedSpan(1, 2, GuidanceSpec.simple(3)),
        GuidedSpan(2, 4, GuidanceSpec.none()),
        GuidedSpan(4, math.inf, GuidanceSpec.simple(2)),
    )


def test_options_follow_a_semicolon() -> None:
    guidance = Guidance.parse("3; t=0.1-0.8; rescale=0.5")
    assert guidance == Guidance(Guidance.parse("3").spans, 0.1, 0.8, 0.5)
    assert not guidance.whole_way and Guidance.parse("3;t=0-1").whole_way


def test_a_span_beyond_the_clip_is_said() -> None:
    guidance = Guidance.parse("chords=3@0-8,1@8-")
    guidance.check_duration(8.0)
    Guidance.parse("chords=3@0-8").check_duration(8.0)
    with pytest.raises(ValueError, match=r"an edge at 8 s, but the clip ends at 7\.9 s"):
        guidance.check_duration(7.9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chords=3@8-2", "ends before it begins, at 'chords=3@8-2'"),
        ("chords=3@4-4", "ends before it begins"),
        ("chords=3@0-8,1@6-", "two values of chords at 6 s"),
        ("3@0-8,1@6-", "two values of all at 6 s"),
        ("chords=3@0-8,drums=1,chords=2@8-", "'chords' twice"),
        ("bass=3@0-8", "'bass' where one of"),
        ("3@0-8,drums=2", "with and without a name"),
        ("chords=x@0-8", "not understood at 'x'"),
        ("chords=3@a-8", "not understood at 'a'"),
        ("chords=3@8", "not understood at 'chords=3@8'"),
        ("chords=3@0-8@9-", "not understood"),
        ("chords=nan@0-8", "finite"),
        ("2; t=0.5", "at 't=0.5': after ';' stand"),
        ("2; t=0.8-0.1", "from below to above, got 0.8 to 0.1"),
        ("2; rescale=1.5", "share from 0 to 1, got 1.5"),
        ("2; rescale=x", "not understood at 'x'"),
        ("drums=2;text=1", "not understood at 'text=1'"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Guidance.parse(text)


def test_spans_must_cover_the_clip() -> None:
    with pytest.raises(ValueError, match="follow each other from 0 to infinity"):
        Guidance((GuidedSpan(0, 3, GuidanceSpec.none()),))
