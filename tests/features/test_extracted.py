"""What was extracted: cut in time, kept in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import Audio
from features.chord_labels import ChordSegment
from features.controls import Controls
from features.events import merge_onsets, mix_separator
from features.extract import Extractors
from features.extracted import Extracted, load_extracted, save_extracted
from features.melody import CrepeMelody
from features.separators import NoSeparator, SmallDemucsSeparator

TIMES_S = np.arange(0.01, 4.0, 0.02)
CHORDS = (ChordSegment(0.0, 2.0, "C:maj"), ChordSegment(2.0, 4.0, "N"))


def full() -> Extracted:
    controls = Controls(200, drums=torch.rand(200, 4), melody=torch.rand(200, 53))
    onsets_s, f0_hz, confidence = np.array([0.5, 1.5, 2.5]), np.full(200, 440.0), np.ones(200)
    return Extracted(
        4.0, CHORDS, onsets_s, TIMES_S, f0_hz, confidence, np.arange(5), controls, ("drums", "melody")
    )


def test_only_what_is_inside_the_spans_is_left() -> None:
    inside = full().within([(0.0, 1.0), (1.5, 2.5)])
    assert inside.onsets_s.tolist() == [0.5, 1.5]
    assert [(item.start_s, item.end_s) for item in inside.chords] == [(0.0, 1.0), (1.5, 2.0), (2.0, 2.5)]
    voiced = inside.confidence > 0
    assert voiced.sum() == 100 and voiced[:50].all() and not voiced[50:75].any()
    assert full().within([]).chords == () and full().within([(0.0, 4.0)]).chords == CHORDS


@pytest.mark.parametrize("extracted", [full(), Extracted(1.0), Extracted(1.0, given=())])
def test_it_survives_the_disk(extracted: Extracted, tmp_path: Path) -> None:
    save_extracted(extracted, tmp_path / "x.safetensors")
    again = load_extracted(tmp_path / "x.safetensors")
    assert (again.duration_s, again.chords, again.given) == (
        extracted.duration_s,
        extracted.chords,
        extracted.given,
    )
    for name in ("onsets_s", "f0_times_s", "f0_hz", "confidence", "chroma"):
        assert np.array_equal(getattr(again, name), getattr(extracted, name)), name
    assert again.controls.n_frames == extracted.controls.n_frames
    assert again.controls.given == extracted.controls.given
    for name in extracted.controls.given:
        one, other = again.controls.get(name), extracted.controls.get(name)
        assert one is not None and other is not None and torch.equal(one, other)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "y.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"y\.safetensors cannot be read"):
        load_extracted(tmp_path / "y.safetensors")
    Controls(10).save(tmp_path / "z.safetensors")
    with pytest.raises(ValueError, match=r"z\.safetensors is not an extractor's result"):
        load_extracted(tmp_path / "z.safetensors")


def test_unequal_tracks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"equally long, got \[0, 200\]"):
        Extracted(4.0, f0_times_s=TIMES_S)


def test_hits_at_one_time_are_one_onset() -> None:
    assert merge_onsets(np.array([0.0, 0.01, 0.029, 0.05, 1.0])).tolist() == [0.0, 0.05, 1.0]
    assert merge_onsets(np.zeros(0)).size == 0


def test_a_clip_is_separated_even_where_references_are_stems() -> None:
    assert isinstance(mix_separator(Extractors("none")), SmallDemucsSeparator)
    own = SmallDemucsSeparator()
    assert mix_separator(Extractors(own)) is own
    assert isinstance(Extractors("none").separator, NoSeparator)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_here_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no device 'cuda' here; expected cpu: there is no GPU"):
        Extractors(device="cuda")


def test_extractors_made_by_name_compute_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that holds no numbers stands for a GPU: what is sent there can be seen, not computed."""
    monkeypatch.setattr("features.extract.find_device", torch.device)
    extractors = Extractors(device="meta")
    networks = [extractors.separator.model, extractors.melody.network, *extractors.chords.networks]  # type: ignore[attr-defined]
    assert {parameter.device.type for network in networks for parameter in network.parameters()} == {"meta"}
    own = CrepeMelody()
    assert next(Extractors(melody=own, device="meta").melody.network.parameters()).device.type == "cpu"  # type: ignore[attr-defined]
    of_clips = mix_separator(Extractors("none", device="meta"))
    assert next(of_clips.model.parameters()).device.type == "meta"  # type: ignore[attr-defined]


def test_what_a_device_extracts_in_large_batches_is_the_same() -> None:
    sound = Audio(0.1 * np.random.default_rng(0).standard_normal((1, 64_000)).astype(np.float32), 16_000)
    plain, batched = CrepeMelody(), CrepeMelody()
    batched._batch = 2048
    torch.testing.assert_close(batched.bins(sound), plain.bins(sound), atol=1e-4, rtol=1e-4)
