"""Seconds, frames and samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.frames import FrameGrid, frames_in


@pytest.mark.parametrize(
    ("duration_s", "expected"), [(0.0, 0), (0.001, 1), (0.02, 1), (0.0201, 2), (10.0, 500), (9.999, 500)]
)
def test_a_partly_filled_frame_counts(duration_s: float, expected: int) -> None:
    assert frames_in(duration_s, 50.0) == expected


def test_times_are_the_middles_of_frames() -> None:
    np.testing.assert_allclose(FrameGrid(50.0, 3).times_s(), [0.01, 0.03, 0.05])


@given(st.integers(1, 5000), st.sampled_from([25.0, 50.0, 86.13]))
def test_the_middle_of_a_frame_lies_in_it(n_frames: int, frame_rate: float) -> None:
    grid = FrameGrid(frame_rate, n_frames)
    for index in {0, n_frames // 2, n_frames - 1}:
        assert int(float(grid.times_s()[index]) * frame_rate) == index


@given(st.floats(0, 20), st.floats(0, 20), st.floats(0, 20))
def test_neighbouring_spans_share_no_frame_and_leave_none_out(a: float, b: float, c: float) -> None:
    start, middle, end = sorted((a, b, c))
    grid = FrameGrid(50.0, 700)
    first, second = grid.slice_between(start, middle), grid.slice_between(middle, end)
    whole = grid.slice_between(start, end)
    assert (first.stop - first.start) + (second.stop - second.start) == whole.stop - whole.start


def test_hops_are_whole_samples_or_refused() -> None:
    assert FrameGrid(50.0, 0).hop_samples(32000) == 640
    with pytest.raises(ValueError, match="does not divide"):
        FrameGrid(50.0, 0).hop_samples(22050 + 1)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_wrong_grids_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="frame_rate"):
        FrameGrid(wrong, 1)
    if wrong != 0.0:
        with pytest.raises(ValueError, match="duration_s"):
            FrameGrid.from_duration(wrong)
