"""Copies are found, and new clips are not taken for copies."""

from __future__ import annotations

import numpy as np
import pytest

from flowmusic.evaluation.embeddings import EmbeddedClip
from flowmusic.evaluation.novelty import compare, nearest_in, to_markdown

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
    rows = compare({"fresh": fresh, "copies": copies}, references, training)
    by_name = {row.name: row for row in rows}
    assert by_name["references"].above.value == pytest.approx(0.05)
    assert (by_name["fresh"].above.value or 0) < 0.3 and by_name["fresh"].largest < 0.8
    copied = by_name["copies"]
    assert copied.above.value == 1.0 and (copied.similarity.value or 0) > 0.98
    assert all(
        item.name.removeprefix("copy") == item.neighbour.removeprefix("song") for item in copied.closest
    )
    text = to_markdown(rows, len(training))
    assert "nearest of 40 training songs" in text and "copy" in text
