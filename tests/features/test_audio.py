"""Reading any sound, writing it whole or not at all."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

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
