"""Reading any sound, writing it whole or not at all."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from features.audio import Audio, AudioError, normalise_peak, read_audio, resample, to_audio, write_audio


def tone(sample_rate: int, channels: int = 1, duration_s: float = 0.5) -> np.ndarray:
    times = np.arange(round(duration_s * sample_rate)) / sample_rate
    return (0.4 * np.sin(2 * np.pi * 440 * times) * np.ones((channels, 1))).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize(("sample_rate", "channels"), [(44100, 2), (32000, 1), (8000, 1)])
def test_every_format_rate_and_channel_count(
    tmp_path: Path, suffix: str, sample_rate: int, channels: int
) -> None:
    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, tone(sample_rate, channels).T, sample_rate)
    audio = read_audio(path, 16000)
    assert audio.sample_rate == 16000 and audio.samples.shape[0] == channels
    spectrum = np.abs(np.fft.rfft(audio.mono()[:8000]))
    assert abs(spectrum.argmax() * 16000 / len(audio.mono()[:8000]) - 440) < 5


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_written_sound_comes_back(tmp_path: Path, suffix: str) -> None:
    write_audio(tmp_path / f"a{suffix}", tone(32000, 2), 32000)
    np.testing.assert_allclose(read_audio(tmp_path / f"a{suffix}").samples, tone(32000, 2), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@settings(max_examples=40, deadline=None)
@given(
    channels=st.integers(1, 4),
    rate=st.sampled_from([4_000, 8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]),
    n_samples=st.integers(1, 20_000),
    peak=st.floats(0.001, 1.0),
    seed=st.integers(0, 2**31),
)
def test_whatever_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, channels: int, rate: int, n_samples: int, peak: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("written")
    samples = peak * np.random.default_rng(seed).uniform(-1, 1, (channels, n_samples)).astype(np.float32)
    for suffix in (".wav", ".flac"):
        audio = read_audio(write_audio(folder / f"x{suffix}", samples, rate))
        assert (audio.sample_rate, audio.samples.shape) == (rate, samples.shape)
        np.testing.assert_allclose(audio.samples, samples, atol=2**-15)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("n_samples", [1, 63, 4_096, 100_001])
def test_ogg_keeps_length_and_sound(tmp_path: Path, channels: int, rate: int, n_samples: int) -> None:
    times = np.arange(n_samples) / rate
    samples = np.stack([0.5 * np.sin(2 * np.pi * hz * times) for hz in (440, 700)][:channels])
    audio = read_audio(write_audio(tmp_path / "x.ogg", samples.astype(np.float32), rate))
    assert (audio.sample_rate, audio.samples.shape) == (rate, samples.shape)
    for read, written in zip(audio.samples, samples, strict=True):
        assert n_samples < 4_000 or np.corrcoef(read, written)[0, 1] > 0.99


def test_a_long_clip_does_not_overflow_the_encoder(tmp_path: Path) -> None:
    """libsndfile puts all that it is given at once on its stack: a process of its own would crash."""
    path = tmp_path / "long.ogg"
    code = (
        "import sys, numpy as np; from features.audio import write_audio;"
        "write_audio(sys.argv[1], np.zeros((2, 90 * 44_100), np.float32), 44_100)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=root, check=False).returncode == 0
    assert read_audio(path).n_samples == 90 * 44_100


def test_a_clip_written_twice_is_the_same_file(tmp_path: Path) -> None:
    """libsndfile gives each Ogg stream another serial number; a wrong checksum would cost a page."""
    samples = 0.3 * np.random.default_rng(0).standard_normal((2, 90_000)).clip(-3, 3).astype(np.float32)
    plain = tmp_path / "plain.ogg"
    soundfile.write(plain, samples.T, 44_100, format="OGG", subtype="VORBIS")
    one, two = (write_audio(tmp_path / name, samples, 44_100).read_bytes() for name in ("1.ogg", "2.ogg"))
    assert one == two and one[14:18] == bytes(4) and one.count(b"OggS") > 3
    assert one != plain.read_bytes() and len(one) == plain.stat().st_size
    assert np.array_equal(read_audio(tmp_path / "1.ogg").samples, read_audio(plain).samples)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.wav", b"", "is empty"),
        ("text.wav", b"this is text, not sound" * 50, "cannot be read as sound"),
        ("zeros.mp3", bytes(5000), "cannot be read as sound"),
    ],
)
def test_what_is_no_sound_is_named(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=f"{name}.*{says}"):
        read_audio(tmp_path / name)


def test_truncated_files_are_distinguished_from_short_ones(tmp_path: Path) -> None:
    for suffix, container in ((".wav", None), (".flac", None), (".aiff", None), (".mp3", "WAV")):
        path = tmp_path / f"cut{suffix}"
        samples = np.random.default_rng(0).uniform(-0.5, 0.5, 32000)
        soundfile.write(path, samples, 32000, subtype=container and "PCM_16", format=container)
        assert read_audio(path).n_samples == 32000
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(AudioError, match="cut"):
            read_audio(path)


def test_a_length_that_was_not_known_is_no_cut(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(8000)[0], 8000)
    data = path.read_bytes()
    at = data.index(b"data") + 4
    for length in (0x7FFFF000, 0xFFFFFFFF):
        path.write_bytes(data[:at] + length.to_bytes(4, "little") + data[at + 4 :])
        assert read_audio(path).n_samples == 4000


def test_folders_missing_files_and_long_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="is a folder"):
        read_audio(tmp_path)
    with pytest.raises(AudioError, match="/dev/null is a device or a pipe"):
        read_audio("/dev/null")
    with pytest.raises(AudioError, match="does not exist"):
        read_audio(tmp_path / "nothing.wav")
    write_audio(tmp_path / "long.wav", np.zeros(64000, dtype=np.float32), 32000)
    with pytest.raises(AudioError, match="lasts 2 s; expected at most 1 s"):
        read_audio(tmp_path / "long.wav", max_duration_s=1.0)


def test_nan_samples_are_refused(tmp_path: Path) -> None:
    samples = tone(32000)[0]
    samples[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 32000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN"):
        read_audio(tmp_path / "nan.wav")
    with pytest.raises(AudioError, match="NaN"):
        to_audio((samples, 32000))


def test_samples_that_would_clip_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"reach 1\.50"):
        write_audio(tmp_path / "loud.wav", np.full(100, 1.5, dtype=np.float32), 32000)
    with pytest.raises(AudioError, match="ends in"):
        write_audio(tmp_path / "a.xyz", np.zeros(10, dtype=np.float32), 32000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize("missing", [1, 1500])
def test_a_disk_that_is_full_at_the_last_byte_leaves_nothing(
    tmp_path: Path, suffix: str, missing: int
) -> None:
    """A limit on the size of files stands for the end of the disk."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000).astype(np.float32)
    size = write_audio(tmp_path / f"whole{suffix}", samples, 32000).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - missing, before[1]))
    try:
        with pytest.raises(AudioError, match=f"cannot write .*cut{suffix}"):
            write_audio(tmp_path / f"cut{suffix}", samples, 32000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == [f"whole{suffix}"]


def test_resampling_keeps_length_in_time_and_drops_what_no_longer_fits() -> None:
    high = np.sin(2 * np.pi * 12000 * np.arange(48000) / 48000).astype(np.float32)
    low = resample(high[None], 48000, 16000)
    assert low.shape == (1, 16000)
    assert float(np.abs(low[0, 1000:-1000]).max()) < 1e-3


def test_peaks_are_scaled_and_silence_is_left() -> None:
    assert np.abs(normalise_peak(tone(8000), 0.9)).max() == pytest.approx(0.9)
    assert not normalise_peak(np.zeros((1, 10), dtype=np.float32)).any()


def test_fitting_cuts_and_pads() -> None:
    audio = Audio(tone(8000), 8000)
    assert audio.fitted(0.25).n_samples == 2000
    assert not audio.fitted(1.0).samples[:, 4000:].any()


def inverted(share: float = 1.0) -> np.ndarray:
    left = tone(16_000)[0] + 0.1 * np.random.default_rng(0).standard_normal(8_000).astype(np.float32)
    return np.stack([left, -share * left])


@pytest.mark.parametrize("share", [1.0, 0.95, 1.1, 0.85])
def test_channels_that_cancel_out_are_not_silent_in_mono(share: float) -> None:
    samples = inverted(share).astype(np.float32)
    mono = Audio(samples, 16_000).mono()
    loudest = 0 if share <= 1 else 1
    np.testing.assert_allclose(mono, samples[loudest] * (1 + share) / (2 * max(1, share)), rtol=1e-5)
    turned = Audio(samples, 16_000).in_phase()
    assert np.array_equal(turned.mono(), mono)
    assert np.array_equal(turned.samples[loudest], samples[loudest])
    assert np.array_equal(Audio(samples, 16_000).in_channels(1)[0], mono)


@pytest.mark.parametrize(
    "samples",
    [
        inverted(0.5),
        inverted(-1.0),
        np.random.default_rng(0).standard_normal((2, 8_000)).astype(np.float32),
        np.random.default_rng(0).standard_normal((32, 8_000)).astype(np.float32),
        np.stack([tone(16_000)[0], np.zeros(8_000, np.float32)]),
        np.zeros((2, 8_000), np.float32),
        np.full((2, 10), 1e30, np.float32),
        np.zeros((2, 0), np.float32),
    ],
    ids=["wide", "same", "independent", "many", "one side", "silence", "huge", "none"],
)
def test_the_mono_of_other_recordings_is_their_mean(samples: np.ndarray) -> None:
    audio = Audio(samples, 16_000)
    assert np.array_equal(audio.mono(), samples.mean(axis=0, dtype=np.float32))
    assert audio.in_phase() is audio


@pytest.mark.parametrize(
    ("dtype", "scale", "middle"),
    [("f4", 1, 0), ("f8", 1, 0), ("i2", 2**15, 0), ("i4", 2**31, 0), ("u1", 128, 128)],
)
@pytest.mark.parametrize("order", ["(C, S)", "(S, C)"])
@pytest.mark.parametrize("rate_first", [False, True])
def test_arrays_as_other_libraries_give_them(
    dtype: str, scale: int, middle: int, order: str, rate_first: bool
) -> None:
    expected = tone(8000, 2) * np.array([[1.0], [-0.5]], dtype=np.float32)
    samples = (expected.astype(np.float64) * scale + middle).astype(dtype)  # (C, S)
    if order == "(S, C)":
        samples = samples.T
    rate: object = np.int64(8000) if rate_first else 8000
    given = (rate, samples) if rate_first else (samples, rate)
    audio = to_audio(given)  # type: ignore[arg-type]
    assert (audio.sample_rate, audio.samples.shape) == (8000, (2, 4000))
    assert audio.samples.dtype == np.float32
    np.testing.assert_allclose(audio.samples, expected, atol=1.01 / scale if scale > 1 else 1e-6)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ((np.zeros((3, 4, 5)), 8000), "shape"),
        ((np.zeros((100, 100)), 8000), "transpose"),
        ((np.zeros(100, dtype=np.int64), 8000), "int64"),
        ((np.zeros(100, dtype=complex), 8000), "complex128"),
        ((np.array(["a", "b"]), 8000), "<U1"),
        ((np.zeros(100), np.zeros(50)), "an array of shape \\(50,\\) for the rate"),
        ((np.zeros(100), "8000"), "'8000' for the rate"),
        ((np.zeros(100), None), "None for the rate"),
        ((np.zeros(100), True), "True for the rate"),
        ((np.zeros(100), 44100.5), "44100.5 for the rate"),
        ((np.zeros(100), float("nan")), "nan for the rate"),
        ((np.zeros(100), 441), "4000 to 768000 Hz, got 441"),
        ((np.zeros(100),), "a tuple of 1"),
    ],
)
def test_arrays_that_are_no_sound_are_told(source: tuple[np.ndarray, int], says: str) -> None:
    with pytest.raises(AudioError, match=says):
        to_audio(source)


def test_an_audio_that_lies_the_wrong_way_is_told() -> None:
    with pytest.raises(AudioError, match=r"got \(4000, 2\): if that is \(samples, channels\), transpose it"):
        Audio(tone(8000, 2).T, 8000)
    with pytest.raises(AudioError, match="got int16: divide whole numbers"):
        Audio(np.zeros((1, 100), np.int16), 8000)


def test_samples_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    """A digital audio workstation writes peaks over 1 in floats, which nothing has clipped yet."""
    loud = 4.0 * tone(8000)
    soundfile.write(tmp_path / "loud.wav", loud.T, 8000, subtype="FLOAT")
    assert np.array_equal(read_audio(tmp_path / "loud.wav").samples, loud)
