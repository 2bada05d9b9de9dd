"""Means, shares, tables and the file of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowmusic.evaluation.adherence import METRICS
from flowmusic.evaluation.report import (
    CEILING_NOTE,
    LABELS,
    SAME,
    Result,
    append_result,
    markdown_table,
    read_results,
    summarise,
    summary_tables,
    to_markdown,
)


def result(name: str, own: float | None, floor: float | None = 0.2, protocol: str = "all") -> Result:
    def table(value: float | None) -> dict[str, float | None]:
        return dict.fromkeys(METRICS, value)

    same = {"own": table(own), "floor": table(floor), "ceiling": table(1.0)}
    labels = {"own": table(own), "floor": table(floor), "ceiling": table(0.8), "original": table(0.9)}
    return Result(name, protocol, "key", {"drums": "a"}, {SAME: same, LABELS: labels})


def test_summary_by_hand() -> None:
    summary = summarise([result("a", 0.6), result("b", 0.8)], "drum_onset_f1")
    assert (summary.score.n, summary.not_applicable) == (2, 0)
    assert summary.score.value == pytest.approx(0.7)
    assert (summary.score.low, summary.score.high) == pytest.approx((0.6, 0.8))
    assert summary.gap_closed.value == pytest.approx((0.7 - 0.2) / (1.0 - 0.2))
    assert (summary.gap_closed.low, summary.gap_closed.high) == pytest.approx((0.5, 0.75))


def test_what_does_not_apply_is_left_out_and_counted() -> None:
    summary = summarise([result("a", 0.6), result("b", None), result("c", 0.6, floor=None)], "chord_overlap")
    assert (summary.score.n, summary.not_applicable) == (1, 2)
    assert summary.score.value == pytest.approx(0.6) and summary.score.low is None
    empty = summarise([result("b", None)], "chord_overlap")
    assert empty.score.n == 0 and empty.score.value is None and empty.gap_closed.value is None


def test_no_gap_where_floor_and_ceiling_meet() -> None:
    assert summarise([result("a", 0.9, floor=0.99)], "chord_iou").gap_closed.value is None


def test_every_judge_has_a_row() -> None:
    rows = summary_tables([result("a", 0.5), result("b", 0.7)])["all"]
    assert [row.judge for row in rows[:2]] == [SAME, LABELS] and len(rows) == 2 * len(METRICS.names())
    assert rows[1].ceiling == pytest.approx(0.8) and rows[1].original == pytest.approx(0.9)


def test_markdown_holds_every_protocol_and_says_what_a_ceiling_is_where_it_is_exceeded() -> None:
    results = [result("a", 0.5), result("a", 0.4, protocol="three")]
    results += [result("a", 0.3, protocol=f"alone:{name}") for name in ("drums", "melody", "chords")]
    text = to_markdown(summary_tables(results), "Adherence", ["a note"])
    assert text.startswith("# Adherence\n\na note\n")
    assert "three different references" in text and "One control alone" in text
    assert "All controls and the caption of one reference" in text
    assert "**0.300 (0.200)**" in text and "gap closed" in text
    assert CEILING_NOTE not in text
    assert CEILING_NOTE in to_markdown(summary_tables([result("a", 0.9)]), "Adherence")  # labels: above .8


def test_table_cells() -> None:
    text = markdown_table(["a", "b"], [["x", 0.12345], ["longer", None]])
    assert text.splitlines() == [
        "| a      | b     |",
        "| ------ | ----- |",
        "| x      | 0.123 |",
        "| longer | –     |",
    ]


def test_results_survive_and_a_cut_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert read_results(path) == []
    append_result(path, result("a", 0.5))
    append_result(path, result("b", None))
    with path.open("a") as file:
        file.write('{"name": "c", "prot')
    assert read_results(path) == [result("a", 0.5), result("b", None)]
    append_result(path, result("c", 0.1))
    assert [item.name for item in read_results(path)] == ["a", "b", "c"]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"name": 1}\n')
    with pytest.raises(ValueError, match=r"results\.jsonl, line 1"):
        read_results(path)
