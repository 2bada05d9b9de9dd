"""Drum bands and onsets on strokes whose times and frequencies are known, and the separators."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from features.audio import Audio, AudioError, read_audio
from features.channels import N_DRUM_BANDS
from features.drums import (
    DRUM_BANDS_HZ,
    RANGE_DB,
    SAMPLE_RATE,
    band_powers,
    drum_features,
    drum_stem,
    energies,
    onsets,
)
from features.separators import (
    BUNDLED_WEIGHTS,
    HTDemucsSeparator,
    NoSeparator,
    SmallDemucsSeparator,
    _drums,
    build_demucs,
)
from tests.features.sounds import bursts, tone

EXAMPLE = Path(__file__).parents[2] / "examples" / "drums.ogg"
TIMES_S = [0.25, 0.75, 1.0, 1.5]


@pytest.mark.parametrize(("band", "centre_hz"), enumerate([70.0, 300.0, 1500.0, 9000.0]))
def test_a_stroke_lights_its_own_band(band: int, centre_hz: float) -> None:
    power = band_powers(torch.from_numpy(bursts(TIMES_S, centre_hz, 2.0, SAMPLE_RATE))).sum(0)
    assert power.argmax() == band
    others = power[[other for other in range(N_DRUM_BANDS) if other != band]]
    assert others.max() < 0.05 * power[band]


def test_an_offset_changes_nothing() -> None:
    stem = bursts(TIMES_S, 300.0, 2.0, SAMPLE_RATE)
    stem -= stem.mean()
    plain, shifted = (drum_features((stem + offset, SAMPLE_RATE)).energies for offset in (0.0, 0.3))
    assert (plain - shifted).abs().max() < 1e-3


def test_the_bands_share_the_power_of_noise() -> None:
    noise = np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE).astype(np.float32)
    powers = band_powers(torch.from_numpy(noise))[4:-4].mean(0)
    widths = torch.tensor([(high - low) / (SAMPLE_RATE / 2) for low, high in DRUM_BANDS_HZ])
    assert torch.allclose(powers, widths, rtol=0.1, atol=0.002)


def test_energies_rise_in_the_frame_of_the_stroke() -> None:
    extracted = energies(torch.from_numpy(bursts(TIMES_S, 2000.0, 2.0, SAMPLE_RATE)), blur_s=0.0)
    for time_s in TIMES_S:
        frame = round(time_s * 50)
        assert extracted[frame, 2] > 0.8
        assert extracted[frame - 3, 2] < 0.4


def test_energies_do_not_depend_on_the_level() -> None:
    stem = torch.from_numpy(
        bursts(TIMES_S, 100.0, 2.0, SAMPLE_RATE) + bursts([0.4], 8000.0, 2.0, SAMPLE_RATE)
    )
    assert (energies(stem) - energies(0.01 * stem)).abs().max() < 1e-4


def test_energies_are_a_scale_of_decibels() -> None:
    stem = bursts([0.2], 2000.0, 2.0, SAMPLE_RATE) + 10 ** (-20 / 20) * bursts(
        [1.2], 2000.0, 2.0, SAMPLE_RATE
    )
    extracted = energies(torch.from_numpy(stem), blur_s=0.0)[:, 2]
    assert float(extracted[:50].max() - extracted[50:].max()) == pytest.approx(20 / RANGE_DB, abs=0.02)


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_is_zero_and_not_amplified_noise(level: float) -> None:
    noise = level * np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    extracted = drum_features((noise, SAMPLE_RATE))
    assert not extracted.energies.any()
    assert extracted.onsets_s.size == 0


@pytest.mark.parametrize("n_samples", [1, 639, 640, 641, 33_333])
def test_frames_cover_the_stem(n_samples: int) -> None:
    stem = bursts([0.0], 500.0, 2.0, SAMPLE_RATE)[:n_samples]
    assert energies(torch.from_numpy(stem)).shape == (-(-n_samples // 640), N_DRUM_BANDS)
    assert drum_features((stem, SAMPLE_RATE)).energies.shape == (-(-n_samples // 640), N_DRUM_BANDS)


def test_long_stems_are_computed_in_pieces() -> None:
    stem = torch.from_numpy(np.random.default_rng(0).standard_normal(45 * SAMPLE_RATE).astype(np.float32))
    whole = band_powers(stem)
    start = 40 * SAMPLE_RATE
    assert torch.allclose(whole[2004:2200], band_powers(stem[start:])[4:200], rtol=1e-4)


@pytest.mark.parametrize("sample_rate", [16_000, 32_000, 44_100])
def test_onsets_are_found_on_time(sample_rate: int) -> None:
    stem = bursts(TIMES_S, 300.0, 2.0, sample_rate) + bursts(TIMES_S, 5000.0, 2.0, sample_rate)
    extracted = drum_features((stem, sample_rate)).onsets_s
    assert extracted.size == len(TIMES_S)
    assert np.abs(extracted - TIMES_S).max() < 0.03
    assert np.array_equal(onsets(drum_stem((stem, sample_rate)).mono()), extracted)


def test_bad_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no samples"):
        drum_features((np.zeros(0, dtype=np.float32), 32_000))
    with pytest.raises(AudioError, match="NaN"):
        drum_features((np.array([np.nan], dtype=np.float32), 32_000))
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        drum_features(tmp_path / "nowhere.wav")


@pytest.fixture(scope="module")
def small_demucs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained model, as the trainer writes it."""
    from flowmusic.training.separator_module import SeparatorConfig

    torch.manual_seed(0)
    config = SeparatorConfig(channels=4).demucs()
    weights = tmp_path_factory.mktemp("separator") / "small.safetensors"
    save_file({name: value.half() for name, value in build_demucs(config).state_dict().items()}, weights)
    weights.with_suffix(".json").write_text(json.dumps(config))
    return weights


@pytest.mark.parametrize(("channels", "sample_rate", "n_samples"), [(1, 32_000, 40_001), (2, 44_100, 30_001)])
def test_a_stem_has_the_rate_and_length_of_the_mix(
    small_demucs: Path, channels: int, sample_rate: int, n_samples: int
) -> None:
    sound = np.random.default_rng(0).standard_normal((channels, n_samples)).astype(np.float32)
    stem = SmallDemucsSeparator(small_demucs).separate(Audio(0.1 * sound, sample_rate))
    assert (stem.n_samples, stem.sample_rate) == (n_samples, sample_rate)
    assert np.isfinite(stem.samples).all()


def test_separation_is_the_same_every_time(small_demucs: Path) -> None:
    audio = Audio(0.1 * np.random.default_rng(0).standard_normal((1, 20_000)).astype(np.float32), 32_000)
    separator = SmallDemucsSeparator(small_demucs)
    assert np.array_equal(separator.separate(audio).samples, separator.separate(audio).samples)
    assert separator.version == SmallDemucsSeparator(small_demucs).version


def test_separators_on_silence_one_sample_and_nothing(small_demucs: Path) -> None:
    separator = SmallDemucsSeparator(small_demucs)
    assert not separator.separate(Audio(np.zeros((2, 9000), dtype=np.float32), 44_100)).samples.any()
    assert separator.separate(Audio(np.full((1, 1), 0.5, dtype=np.float32), 32_000)).n_samples == 1
    with pytest.raises(AudioError, match="no samples"):
        separator.separate(Audio(np.zeros((1, 0), dtype=np.float32), 32_000))


def test_no_separator_takes_the_recording_as_the_stem() -> None:
    audio = Audio(np.ones((1, 10), dtype=np.float32), 32_000)
    assert NoSeparator().separate(audio) is audio


def test_models_that_do_not_fit_are_refused(small_demucs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.safetensors"):
        SmallDemucsSeparator(tmp_path / "gone.safetensors")
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(small_demucs.read_bytes())
    config = json.loads(small_demucs.with_suffix(".json").read_text())
    for text in (
        json.dumps(config | {"class": "Wave"}),
        "{",
        json.dumps(config).replace('"channels": 4', '"channels": 6'),
    ):
        wrong.with_suffix(".json").write_text(text)
        with pytest.raises(ValueError, match=r"HDemucs|does not fit|wrong\.json cannot be read as JSON"):
            SmallDemucsSeparator(wrong)
    wrong.write_bytes(small_demucs.read_bytes()[:1000])
    with pytest.raises(ValueError, match="it is cut short or damaged"):
        SmallDemucsSeparator(wrong)


@pytest.fixture(scope="module")
def htdemucs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained HTDemucs in the files that demucs publishes, arguments of older versions included."""
    from demucs.htdemucs import HTDemucs

    sizes = {"channels": 8, "depth": 4, "t_layers": 1, "t_heads": 2, "nfft": 4096, "audio_channels": 2}
    torch.manual_seed(0)
    model = HTDemucs(["drums", "bass", "other", "vocals"], segment=Fraction(6, 5), **sizes)
    fraction = {"_type": "fraction", "numerator": 6, "denominator": 5}
    about = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": json.dumps([["drums", "bass", "other", "vocals"]]),
        "kwargs": json.dumps(sizes | {"segment": fraction, "no_longer": 1}),
    }
    folder = tmp_path_factory.mktemp("demucs")
    save_file(
        {key: value.half() for key, value in model.state_dict().items()}, folder / "abc.safetensors", about
    )
    (folder / "htdemucs.yaml").write_text("models: ['abc']\n")
    return folder


def test_the_full_separator_is_read_from_safetensors(htdemucs_folder: Path, tmp_path: Path) -> None:
    separator = HTDemucsSeparator(repo=htdemucs_folder)
    sound = 0.1 * np.random.default_rng(0).standard_normal((2, 66_150)).astype(np.float32)
    stem = separator.separate(Audio(sound, 44_100))
    assert stem.samples.shape == sound.shape and stem.samples.any()
    weights = {key: value.half() for key, value in separator.model.models[0].state_dict().items()}
    published = load_file(htdemucs_folder / "abc.safetensors")
    assert weights.keys() == published.keys() and all(torch.equal(weights[k], published[k]) for k in weights)
    assert separator.model.models[0].segment == Fraction(6, 5)


@pytest.mark.parametrize("seconds", [0.7, 3.0, 4.3])
def test_segments_are_joined_as_demucs_joins_them(
    seconds: float, small_demucs: Path, htdemucs_folder: Path
) -> None:
    """One segment at a time to the bit, several in a batch but for the last bits."""
    from demucs.apply import apply_model

    separators: tuple[Any, ...] = (
        SmallDemucsSeparator(small_demucs),
        HTDemucsSeparator(repo=htdemucs_folder),
    )
    for separator in separators:
        model = separator.model
        if not hasattr(model, "models"):
            model.segment = 1.3  # several of them
        rate, channels = model.samplerate, model.audio_channels
        sound = 0.1 * torch.randn(channels, int(seconds * rate), generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            theirs = apply_model(model, sound[None], shifts=0)[0, model.sources.index("drums")]
        assert torch.equal(_drums(model, sound, 1), theirs)
        torch.testing.assert_close(_drums(model, sound, 3), theirs, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("klass", "os.system", r"its class os\.system is none of HDemucs, HTDemucs"),
        ("klass", "demucs.htdemucs.os", "is none of"),
        ("klass", "evil.htdemucs.HTDemucs", "is none of"),
        ("structure", '{"_class": "os.system"}', "is none of"),
        ("kwargs", "{", "cannot be read as a demucs model"),
        ("kwargs", '{"segment": {"_type": "fraction", "numerator": 1, "denominator": 0}}', "cannot be read"),
        ("kwargs", '{"channels": 12}', "cannot be read as a demucs model"),
    ],
)
def test_a_file_that_names_other_code_is_refused(
    key: str, value: str, message: str, htdemucs_folder: Path, tmp_path: Path
) -> None:
    with safe_open(str(htdemucs_folder / "abc.safetensors"), "pt") as file:
        about = file.metadata()
    save_file(
        load_file(htdemucs_folder / "abc.safetensors"), tmp_path / "abc.safetensors", about | {key: value}
    )
    (tmp_path / "htdemucs.yaml").write_text("models: ['abc']\n")
    with pytest.raises(ValueError, match=message):
        HTDemucsSeparator(repo=tmp_path)


def test_the_full_separator_needs_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="not a folder"):
        HTDemucsSeparator(repo=tmp_path / "gone")
    with pytest.raises(ValueError, match=r"htdemucs.*is not in"):
        HTDemucsSeparator(repo=tmp_path)
    for text in ("models: [", "models: 3", "[]", "models: []"):
        (tmp_path / "htdemucs.yaml").write_text(text)
        with pytest.raises(ValueError, match="does not describe a demucs model"):
            HTDemucsSeparator(repo=tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"'htdemucs@v2' could not be fetched from adefossez/HTDemucs"):
        HTDemucsSeparator("htdemucs@v2")


def test_a_pickled_separator_is_never_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "run",))

    torch.save({"klass": Trap()}, tmp_path / "abc.th")
    (tmp_path / "htdemucs.yaml").write_text("models: ['abc']\n")
    with pytest.raises(ValueError, match=r"expected abc\.safetensors there \(its \.th files are pickles"):
        HTDemucsSeparator(repo=tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not BUNDLED_WEIGHTS.is_file(), reason="the bundled separator is not there")
def test_the_embedded_separator_takes_drums_out_of_a_mix() -> None:
    mix = read_audio(EXAMPLE)
    stem = SmallDemucsSeparator().separate(mix)
    struck = energies(torch.from_numpy(stem.resampled(SAMPLE_RATE).mono()))
    assert struck.max() > 0.9
    held = Audio(np.stack([tone(52, 6.0, 32_000) + tone(59, 6.0, 32_000) + tone(64, 6.0, 32_000)]), 32_000)
    left = SmallDemucsSeparator().separate(held)
    assert (left.samples**2).mean() < 0.1 * (held.samples**2).mean()
    strokes = Audio(
        bursts(TIMES_S, 120.0, 2.0, 32_000)[None] + bursts(TIMES_S, 6000.0, 2.0, 32_000)[None], 32_000
    )
    mixed = Audio(strokes.samples + 0.5 * held.samples[:, : strokes.n_samples], 32_000)
    found = drum_features(SmallDemucsSeparator().separate(mixed)).onsets_s
    assert all(np.abs(found - time_s).min() < 0.05 for time_s in TIMES_S)
