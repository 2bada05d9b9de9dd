from __future__ import annotations

import logging
import math

import pytest
import torch

from features import drums
from features.drum_templates import DRUM_TEMPLATES, DrumTemplate, hits_to_band_powers, hits_to_drum_energies
from features.frames import FrameGrid
from features.symbols import DrumHit

GRID = FrameGrid.from_duration(4.0)


def test_drum_templates_are_one_for_each_key() -> None:
    keys = [template.midi for template in DRUM_TEMPLATES]
    assert keys == list(range(35, 82))
    assert all(decay > 0 for template in DRUM_TEMPLATES for decay in template.decays_db_per_s)


def test_drums_strike_at_once_and_decay() -> None:
    energies = hits_to_drum_energies([DrumHit(1.0, 38)], GRID, blur_s=0.0)
    assert energies.shape == (200, 4) and float(energies.min()) >= 0 and float(energies.max()) <= 1
    # The analysis window of 32 ms reaches 16 ms ahead, hence one frame early.
    assert not energies[:49].any() and bool((energies[50] > 0.9).any())
    tail = energies[51:60]
    assert bool((tail[1:] <= tail[:-1]).all())


def test_drums_excite_their_bands() -> None:
    kick, hat = (hits_to_drum_energies([DrumHit(1.0, key)], GRID).sum(0) for key in (36, 42))
    assert int(kick.argmax()) == 0 and int(hat.argmax()) == 3
    assert float(hat[0]) < 0.1 * float(hat[3])


def test_closed_hi_hat_damps_the_open_one() -> None:
    rings = hits_to_band_powers([DrumHit(0.5, 46)], GRID)
    damped = hits_to_band_powers([DrumHit(0.5, 46), DrumHit(1.0, 44, 1)], GRID)
    assert damped[60, 3] < 1e-3 * rings[60, 3] and damped[40, 3] == pytest.approx(rings[40, 3])


def test_no_hits_are_silence_and_velocity_counts() -> None:
    assert not hits_to_drum_energies([], GRID).any()
    assert not hits_to_drum_energies([DrumHit(9.0, 36)], GRID).any()
    soft, loud = (hits_to_band_powers([DrumHit(1.0, 36, velocity)], GRID).max() for velocity in (50, 100))
    assert loud / soft == pytest.approx(16.0)


def test_unknown_keys_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert hits_to_drum_energies([DrumHit(1.0, 100), DrumHit(2.0, 36)], GRID).any()
    assert "1 of 2 drum hits" in caplog.text


def _stroke(template: DrumTemplate) -> torch.Tensor:
    """A stroke as one tone a band, with the template's levels (the tilt taken off again) and decays."""
    seconds = torch.arange(4 * drums.SAMPLE_RATE) / drums.SAMPLE_RATE
    sound = torch.zeros(seconds.numel())
    for band, (low_hz, high_hz) in enumerate(drums.DRUM_BANDS_HZ):
        level_db = template.levels_db[band] - drums._TILT_DB[band] - template.decays_db_per_s[band] * seconds
        tone = math.sqrt(2) * torch.sin(2 * math.pi * math.sqrt(low_hz * high_hz) * seconds)
        sound += tone * 10 ** (level_db / 20)
    return sound


def test_symbols_look_like_the_sound_they_stand_for() -> None:
    by_key = {template.midi: template for template in DRUM_TEMPLATES}
    hits = [DrumHit(0.1 + 0.25 * i, (36, 42, 38, 42)[i % 4], 100 if i % 2 == 0 else 70) for i in range(14)]
    hits.append(DrumHit(0.1, 49))
    samples = torch.zeros(8 * drums.SAMPLE_RATE)
    for hit in hits:
        start = round(hit.time_s * drums.SAMPLE_RATE)
        stroke = _stroke(by_key[hit.midi])
        samples[start : start + stroke.numel()] += stroke * (hit.velocity / 100) ** 2
    extracted = drums.energies(0.05 * samples[: 4 * drums.SAMPLE_RATE])
    read = hits_to_drum_energies(hits, GRID)
    for band in range(4):
        assert float(torch.corrcoef(torch.stack([extracted[:, band], read[:, band]]))[0, 1]) > 0.98
    assert float((extracted - read).abs().mean()) < 0.05


@pytest.mark.parametrize(("key", "like"), [(22, 42), (26, 46), (28, 39), (82, 69), (86, 41)])
def test_keys_of_other_drum_maps_sound_like_theirs(
    key: int, like: int, caplog: pytest.LogCaptureFixture
) -> None:
    """22 and 26 are edges of Roland's hi-hat; an open one ends where a closed one is struck."""
    grid = FrameGrid.from_duration(2.0)
    for others in ([], [DrumHit(0.3, 42)]):
        expected = hits_to_drum_energies([DrumHit(0.1, like), *others], grid)
        assert torch.equal(hits_to_drum_energies([DrumHit(0.1, key), *others], grid), expected)
    assert not caplog.records
