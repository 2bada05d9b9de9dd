"""Copies are found, new clips are not taken for copies, and the table of few steps plans what it says."""

from __future__ import annotations

import numpy as np
import pytest

from flowmusic.evaluation.embeddings import EmbeddedClip
from flowmusic.evaluation.neighbours import cosines, knn_common, knn_overfit, nearest_in
from flowmusic.evaluation.novelty import compare, to_markdown
from flowmusic.evaluation.steps import plan

RNG = np.random.default_rng(0)


def random_clips(name: str, n: int, dim: int = 50) -> list[EmbeddedClip]:
    return [EmbeddedClip(f"{name}{i}", RNG.standard_normal((3, dim))) for i in range(n)]


def test_the_nearest_patch_and_its_song_are_found() -> None:
    training = random_clips("song", 20)
    copy = EmbeddedClip("copy", np.stack([RNG.standard_normal(50), 3 * training[7].patches[1]]))
    (found,) = nearest_in([copy], training)
    assert found.neighbour == "song7" and found.similarity == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least one clip"):
        nearest_in([copy], [])


def test_copies_stand_out_beside_the_references() -> None:
    training = random_clips("song", 40)
    references, fresh = random_clips("ref", 20), random_clips("new", 20)
    copies = [
        EmbeddedClip(f"copy{i}", item.patches + 0.1 * RNG.standard_normal((3, 50)))
        for i, item in enumerate(training[:20])
    ]
    rows, closest = compare(references, {"fresh": fresh, "copies": copies}, training)
    by_name = {row.name: row for row in rows}
    assert by_name["references"].above == pytest.approx(0.05)
    assert by_name["fresh"].above < 0.3 and by_name["fresh"].largest < 0.8
    assert by_name["copies"].above == 1.0 and by_name["copies"].median > 0.98
    assert all(
        item.name.removeprefix("copy") == item.neighbour.removeprefix("song") for item in closest["copies"]
    )
    text = to_markdown(rows, closest, len(training))
    assert "nearest of 40 training songs" in text and "copy" in text


def test_cosines_by_hand() -> None:
    table = cosines(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 5.0], [-3.0, 0.0]]))
    assert table == pytest.approx(np.array([[0.0, -1.0], [np.sqrt(0.5), -np.sqrt(0.5)]]))


def test_knn_common_of_copies_is_one_and_of_strangers_is_chance() -> None:
    pool, references = RNG.standard_normal((200, 30)), RNG.standard_normal((100, 30))
    assert knn_common(references, references, pool) == 1.0
    assert knn_common(RNG.standard_normal((100, 30)), references, pool) < 0.15  # chance: 5 / 199
    half = knn_common(references + RNG.standard_normal((100, 30)), references, pool)
    assert 0.15 < half < 0.95
    with pytest.raises(ValueError, match="at least 6"):
        knn_common(references[:3], references[:3], pool[:5])


def test_knn_overfit_tells_a_copy_from_the_same_style() -> None:
    songs = 5 * RNG.standard_normal((60, 30))
    references, others, results = (songs + RNG.standard_normal((60, 30)) for _ in range(3))
    itself, same_song = knn_overfit(results, references, others)
    assert itself + same_song > 0.95 and 0.3 < itself < 0.7  # in its style, nearer to neither
    assert knn_overfit(references + 0.01, references, others) == (1.0, 0.0)
    strangers = knn_overfit(5 * RNG.standard_normal((60, 30)), references, others)
    assert max(strangers) < 0.1
    with pytest.raises(ValueError, match="one shape"):
        knn_overfit(results[:5], references, others)


def test_steps_are_planned_by_evaluations() -> None:
    settings = plan(["euler", "heun", "rk4"], [2, 4, 8], [1.0, 2.0])
    planned = {(s.solver, s.evaluations): s.steps for s in settings}
    assert planned == {
        ("euler", 2): 2, ("euler", 4): 4, ("euler", 8): 8, ("heun", 2): 1, ("heun", 4): 2, ("heun", 8): 4,
        ("rk4", 4): 1, ("rk4", 8): 2,
    }  # fmt: skip
    assert len(settings) == 2 * len(planned) == len({s.name for s in settings})
    with pytest.raises(ValueError, match="'dopri5' is no solver of fixed step"):
        plan(["dopri5"], [4], [1.0])
    with pytest.raises(ValueError, match="no solver of rk4"):
        plan(["rk4"], [2], [1.0])
