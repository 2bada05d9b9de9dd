"""Sound files whose headers are wrong, missing or followed by something: read as their owners mean them."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.audio import AudioError, read_audio
from features.mpeg import find_streams

RATE = 16_000
N = 2 * RATE


def tone(rate: int = RATE, duration_s: float = 2.0, hz: float = 440.0) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * hz * np.arange(round(duration_s * rate)) / rate)


def encoded(
    path: Path, form: str, subtype: str | None = None, samples: np.ndarray | None = None, rate: int = RATE
) -> bytes:
    soundfile.write(path, tone() if samples is None else samples, rate, format=form, subtype=subtype)
    return path.read_bytes()


def hz_of(samples: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax()) * rate / len(samples)


def mp3(path: Path, rate: int = 44_100, channels: int = 1, vbr: bool = True, hz: float = 440.0) -> bytes:
    """4 s of a tone, 4 s of next to nothing and 4 s of noise: frames of very different lengths."""
    rng = np.random.default_rng(0)
    quiet, noise = 1e-3 * rng.standard_normal(4 * rate), rng.uniform(-0.4, 0.4, 4 * rate)
    samples = np.concatenate([tone(rate, 4.0, hz), quiet, noise])[:, None].repeat(channels, axis=1)
    mode, level = ("VARIABLE", 0.2) if vbr else ("CONSTANT", 0.5)
    soundfile.write(path, samples, rate, format="MP3", bitrate_mode=mode, compression_level=level)
    return path.read_bytes()


def without_tag(data: bytes) -> bytes:
    """The frames alone: soundfile writes a Xing tag before them."""
    (stream,) = find_streams(data)
    assert stream.tag and stream.announced == stream.n_frames
    return b"".join(data[start:end] for start, end in stream.spans)


def id3v2(n_bytes: int) -> bytes:
    size = bytes(n_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + b"APIC" + np.random.default_rng(1).bytes(n_bytes - 4)


APE = b"APETAGEX" + struct.pack("<IIII8x", 2000, 3032, 1, 0x80000000) + bytes(3032)


class TestMp3:
    def test_variable_bit_rates_are_read_to_the_end_without_a_header(self, tmp_path: Path) -> None:
        path = tmp_path / "x.mp3"
        whole = mp3(path)
        path.write_bytes(without_tag(whole))
        with soundfile.SoundFile(path) as file:
            assert file.frames < 0.5 * 12 * 44_100  # what libsndfile takes it for
        audio = read_audio(path)
        assert audio.duration_s == pytest.approx(12.0, abs=0.06)
        assert hz_of(audio.samples[0, : 3 * 44_100], 44_100) == pytest.approx(440, abs=1)
        assert np.sqrt(np.mean(audio.samples[0, 9 * 44_100 : 11 * 44_100] ** 2)) == pytest.approx(
            0.23, abs=0.03
        )

    @pytest.mark.parametrize("rate", [44_100, 48_000, 32_000, 24_000, 22_050, 16_000, 11_025, 8_000])
    @pytest.mark.parametrize("channels", [1, 2])
    def test_every_rate_and_channel_count(self, tmp_path: Path, rate: int, channels: int) -> None:
        path = tmp_path / "x.mp3"
        path.write_bytes(without_tag(mp3(path, rate, channels)))
        audio = read_audio(path)
        assert (audio.sample_rate, audio.n_channels) == (rate, channels)
        assert audio.duration_s == pytest.approx(12.0, abs=3 * 1152 / rate)

    @pytest.mark.parametrize("vbr", [True, False])
    @pytest.mark.parametrize("tagged", [True, False])
    @pytest.mark.parametrize(
        ("before", "behind"),
        [
            (id3v2(1_500_000), b""),
            (b"", b"TAG" + bytes(125)),
            (b"", APE),
            (b"", id3v2(9_000)),
            (id3v2(3_000), APE + b"TAG" + bytes(125)),
            (np.random.default_rng(2).bytes(3_000), b""),
            (bytes(3_000), bytes(3_000)),
            (np.random.default_rng(3).bytes(200_000), b""),
        ],
        ids=["cover", "id3v1", "ape", "id3v2 behind", "all", "junk", "zeros", "much junk"],
    )
    def test_tags_and_junk_are_no_sound(
        self, tmp_path: Path, vbr: bool, tagged: bool, before: bytes, behind: bytes
    ) -> None:
        path = tmp_path / "x.mp3"
        whole = mp3(path, vbr=vbr)
        path.write_bytes(before + (whole if tagged else without_tag(whole)) + behind)
        assert read_audio(path, max_duration_s=13.0).duration_s == pytest.approx(12.0, abs=0.06)

    @pytest.mark.parametrize("first_tagged", [True, False])
    @pytest.mark.parametrize("second_tagged", [True, False])
    def test_files_that_were_joined(self, tmp_path: Path, first_tagged: bool, second_tagged: bool) -> None:
        first, second = (mp3(tmp_path / name, hz=hz) for name, hz in (("a.mp3", 440.0), ("b.mp3", 880.0)))
        joined = (first if first_tagged else without_tag(first)) + b"TAG" + bytes(125) + id3v2(500)
        (tmp_path / "ab.mp3").write_bytes(joined + (second if second_tagged else without_tag(second)))
        audio = read_audio(tmp_path / "ab.mp3")
        assert audio.duration_s == pytest.approx(24.0, abs=0.12)
        assert hz_of(audio.samples[0, : 3 * 44_100], 44_100) == pytest.approx(440, abs=1)
        assert hz_of(audio.samples[0, 13 * 44_100 : 15 * 44_100], 44_100) == pytest.approx(880, abs=1)

    def test_files_of_other_rates_and_channels_that_were_joined(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, second = mp3(tmp_path / "a.mp3", channels=2), mp3(tmp_path / "b.mp3", 24_000, 1, hz=880.0)
        (tmp_path / "ab.mp3").write_bytes(first + second)
        audio = read_audio(tmp_path / "ab.mp3")
        assert (audio.sample_rate, audio.n_channels) == (44_100, 2)
        assert audio.duration_s == pytest.approx(24.0, abs=0.12)
        assert hz_of(audio.samples[1, 13 * 44_100 : 15 * 44_100], 44_100) == pytest.approx(880, abs=1)
        assert "ab.mp3 consists of streams that differ" in caplog.text

    def test_one_that_is_cut_is_told_by_its_tag(self, tmp_path: Path) -> None:
        whole = mp3(tmp_path / "x.mp3")
        (tmp_path / "x.mp3").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(AudioError, match=r"x\.mp3 is cut short"):
            read_audio(tmp_path / "x.mp3")

    def test_a_stream_without_end_is_refused_soon(self, tmp_path: Path) -> None:
        frames = without_tag(mp3(tmp_path / "a.mp3"))
        (tmp_path / "x.mp3").write_bytes(frames * 400)
        started = time.perf_counter()
        with pytest.raises(AudioError, match=r"x\.mp3 lasts longer than 600 s"):
            read_audio(tmp_path / "x.mp3", max_duration_s=600)
        assert time.perf_counter() - started < 2

    def test_in_a_wav_file(self, tmp_path: Path) -> None:
        data = mp3(tmp_path / "a.mp3")
        head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 0x55, 1, 44_100, 16_000, 1, 0)
        head += b"data" + struct.pack("<I", len(data))
        (tmp_path / "x.wav").write_bytes(b"RIFF" + struct.pack("<I", len(head) + len(data)) + head + data)
        assert read_audio(tmp_path / "x.wav").duration_s == pytest.approx(12.0, abs=0.06)


class TestOgg:
    @pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
    def test_a_chain_is_read_to_its_end(
        self, tmp_path: Path, codec: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        stereo = np.stack([tone(24_000, 3.0, 880.0)] * 2, axis=1)
        second = encoded(tmp_path / "b.ogg", "OGG", codec, stereo, 24_000)
        alone = encoded(tmp_path / "a.ogg", "OGG", codec, tone(48_000), 48_000)
        (tmp_path / "x.ogg").write_bytes(alone + second)
        audio = read_audio(tmp_path / "x.ogg")
        assert (audio.n_channels, audio.sample_rate, audio.n_samples) == (1, 48_000, 5 * 48_000)
        assert hz_of(audio.samples[0, 2 * 48_000 + 9_000 : 4 * 48_000], 48_000) == pytest.approx(880, abs=1)
        assert "x.ogg consists of streams that differ" in caplog.text
        (tmp_path / "y.ogg").write_bytes(alone * 3)  # with one serial number
        assert read_audio(tmp_path / "y.ogg").n_samples == 6 * 48_000
        with pytest.raises(AudioError, match=r"y\.ogg lasts 6 s; expected at most 5 s"):
            read_audio(tmp_path / "y.ogg", max_duration_s=5)

    @pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_one_that_is_cut_is_told(self, tmp_path: Path, codec: str, share: float) -> None:
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, 10 * 48_000)
        whole = encoded(tmp_path / "x.ogg", "OGG", codec, noise, 48_000)
        assert read_audio(tmp_path / "x.ogg").n_samples == 10 * 48_000
        (tmp_path / "x.ogg").write_bytes(whole[: round(share * len(whole))])
        with pytest.raises(AudioError, match=r"x\.ogg is cut short"):
            read_audio(tmp_path / "x.ogg")

    def test_one_that_lacks_its_last_pages_is_warned_of(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, 10 * 48_000)
        whole = encoded(tmp_path / "x.ogg", "OGG", "VORBIS", noise, 48_000)
        (tmp_path / "x.ogg").write_bytes(whole[: whole.rfind(b"OggS")])
        assert 8 < read_audio(tmp_path / "x.ogg").duration_s < 10
        assert "x.ogg does not say where it ends" in caplog.text


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


TRAILERS = {
    "nothing": b"",
    "LIST": chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"a recorder" * 800)),
    "odd": chunk(b"id3 ", b"ID3" + bytes(9_002)),
    "several": chunk(b"bext", bytes(602)) + chunk(b"cue ", bytes(5_000)) + chunk(b"iXML", b"<x/>" * 999),
    "cut": chunk(b"LIST", b"INFO" + bytes(9_000))[:-700],
}


class TestLengthsOfWav:
    """The size of `data` at the place that it has in what soundfile writes."""

    def wav(self, path: Path, size: int | None, behind: bytes = b"", riff: int | None = None) -> Path:
        whole = encoded(path, "WAV", "PCM_16")
        at = whole.index(b"data") + 4
        said = 2 * N if size is None else size
        data = whole[:at] + struct.pack("<I", said) + whole[at + 4 :] + behind
        path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8 if riff is None else riff) + data[8:])
        return path

    @pytest.mark.parametrize("size", [0, 1_000, 2 * N - 8_000])
    @pytest.mark.parametrize("riff", [None, 0, 8, 36, 0xFFFFFFFF])
    def test_too_small_a_length_is_that_of_a_killed_recorder(
        self, tmp_path: Path, size: int, riff: int | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        audio = read_audio(self.wav(tmp_path / "x.wav", size, riff=riff))
        np.testing.assert_allclose(audio.samples[0], tone(), atol=1e-4)
        assert f"x.wav says that it holds {size} bytes of sound: {2 * N} are there" in caplog.text

    @pytest.mark.parametrize("behind", TRAILERS.values(), ids=TRAILERS)
    @pytest.mark.parametrize("tag", [b"", b"TAG" + bytes(125), bytes(9_000)], ids=["", "id3v1", "zeros"])
    def test_what_stands_behind_the_sound_is_no_sound(
        self, tmp_path: Path, behind: bytes, tag: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        audio = read_audio(self.wav(tmp_path / "x.wav", None, behind + tag))
        np.testing.assert_allclose(audio.samples[0], tone(), atol=1e-4)
        assert not caplog.records

    @pytest.mark.parametrize("size", [0x7FFFF000, 0xFFFFFFFF])
    @pytest.mark.parametrize("behind", [value for key, value in TRAILERS.items() if key != "cut"])
    def test_an_unknown_length_ends_before_the_chunks(self, tmp_path: Path, size: int, behind: bytes) -> None:
        audio = read_audio(self.wav(tmp_path / "x.wav", size, behind, 0xFFFFFFFF))
        np.testing.assert_allclose(audio.samples[0], tone(), atol=1e-4)

    def test_no_sound_at_all_is_told(self, tmp_path: Path) -> None:
        whole = encoded(tmp_path / "x.wav", "WAV", "PCM_16")
        for behind in (b"", TRAILERS["LIST"]):
            (tmp_path / "x.wav").write_bytes(whole[: whole.index(b"data") + 4] + bytes(4) + behind)
            with pytest.raises(AudioError, match=r"x\.wav holds no samples"):
                read_audio(tmp_path / "x.wav")

    @pytest.mark.parametrize(
        ("form", "subtype", "name", "at", "width"),
        [
            ("RF64", "PCM_16", b"ds64", 16, 8),
            ("W64", "PCM_16", b"data", 16, 8),
            ("CAF", "PCM_16", b"data", 4, 8),
            ("AIFF", "PCM_16", b"SSND", 4, 4),
            ("WAV", "GSM610", b"data", 4, 4),
            ("WAV", "MS_ADPCM", b"data", 4, 4),
            ("WAV", "ALAW", b"data", 4, 4),
        ],
    )
    def test_in_other_files(
        self, tmp_path: Path, form: str, subtype: str, name: bytes, at: int, width: int
    ) -> None:
        path = tmp_path / "x.wav"
        whole = encoded(path, form, subtype)
        expected = read_audio(path)
        assert N <= expected.n_samples < 1.02 * N
        start = whole.index(name) + at
        path.write_bytes(whole[:start] + bytes(width) + whole[start + width :])
        np.testing.assert_array_equal(read_audio(path).samples, expected.samples)
        path.write_bytes(whole[: -len(whole) // 3])
        with pytest.raises(AudioError, match=r"x\.wav is cut short"):
            read_audio(path)

    def test_lengths_that_are_said_not_to_be_known(self, tmp_path: Path) -> None:
        caf, au = encoded(tmp_path / "x.caf", "CAF", "PCM_16"), encoded(tmp_path / "x.au", "AU", "PCM_16")
        at = caf.index(b"data") + 4
        (tmp_path / "x.caf").write_bytes(caf[:at] + b"\xff" * 8 + caf[at + 8 :])
        (tmp_path / "x.au").write_bytes(au[:8] + b"\xff" * 4 + au[12:])
        flac = bytearray(encoded(tmp_path / "x.flac", "FLAC", "PCM_16"))
        flac[21:26] = bytes([flac[21] & 0xF0]) + bytes(4)  # the number of samples (36 bits)
        (tmp_path / "x.flac").write_bytes(flac)
        for name in ("x.caf", "x.au", "x.flac"):
            np.testing.assert_allclose(read_audio(tmp_path / name).samples[0], tone(), atol=1e-4)
        with pytest.raises(AudioError, match="lasts longer than 1 s"):
            read_audio(tmp_path / "x.flac", max_duration_s=1.0)

    @pytest.mark.parametrize("form", ["WAV", "AIFF", "FLAC"])
    def test_files_that_were_joined(self, tmp_path: Path, form: str) -> None:
        path = tmp_path / "x"
        first, second = encoded(path, form), encoded(path, form, samples=-tone())
        path.write_bytes(first + second)
        np.testing.assert_allclose(read_audio(path).samples[0], np.r_[tone(), -tone()], atol=1e-4)
        path.write_bytes(first + second[:-20_000])
        with pytest.raises(AudioError):
            read_audio(path)

    def test_bw64_is_rf64(self, tmp_path: Path) -> None:
        (tmp_path / "x.wav").write_bytes(b"BW64" + encoded(tmp_path / "x.wav", "RF64", "PCM_16")[4:])
        np.testing.assert_allclose(read_audio(tmp_path / "x.wav").samples[0], tone(), atol=1e-4)


@pytest.mark.parametrize(
    ("form", "subtype", "error"),
    [
        ("WAV", "GSM610", 0.3),
        ("WAV", "G721_32", 0.1),
        ("WAV", "NMS_ADPCM_16", 0.2),
        ("WAV", "IMA_ADPCM", 0.05),
        ("WAV", "MS_ADPCM", 0.05),
        ("WAV", "ALAW", 0.02),
        ("WAV", "ULAW", 0.02),
        ("WAV", "PCM_U8", 0.01),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "DOUBLE", 1e-6),
        ("AIFF", "GSM610", 0.3),
        ("AIFF", "DWVW_16", 1e-4),
        ("CAF", "ALAC_16", 1e-4),
        ("W64", "PCM_16", 1e-4),
    ],
)
def test_every_encoding_is_read(tmp_path: Path, form: str, subtype: str, error: float) -> None:
    encoded(tmp_path / "x.wav", form, subtype)
    audio = read_audio(tmp_path / "x.wav")
    assert N <= audio.n_samples < 1.02 * N
    middle = audio.samples[0, 4_000:N].astype(float)
    assert np.abs(middle).max() == pytest.approx(0.4, abs=error)
    assert hz_of(middle, RATE) == pytest.approx(440, abs=1)


def test_little_endian_aiff_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.aifc", tone(), RATE, format="AIFF", subtype="PCM_16", endian="LITTLE")
    assert b"sowt" in (tmp_path / "x.aifc").read_bytes()[:100]
    np.testing.assert_allclose(read_audio(tmp_path / "x.aifc").samples[0], tone(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.mp3", b"\n<!DOCTYPE html>\n<html><title>404", "is a web page (HTML), not the file itself"),
        ("x.wav", b"\xef\xbb\xbf<HTML><body>", "is a web page (HTML), not the file itself"),
        ("x.mp3", b'{"error": "not found"}', "cannot be read as sound: it is JSON"),
        ("x.mp3", b"[1, 2, 3]", "it is JSON"),
        ("x.mp3", "Grüße\n".encode() * 900, "it is text"),
        ("x.wav", bytes(9000), "it is zeros"),
        ("x.mp3", b"%PDF-1.7\n" + bytes(900), "is a PDF document, not sound"),
        ("x.wav", b"PK\x03\x04" + bytes(900), "is a zip archive, not sound"),
        ("x.mp3", b"MThd" + bytes(90), "is a MIDI file, not sound"),
        ("x.ape", b"MAC \x96\x0f" + bytes(90), "is a Monkey's Audio file"),
        ("x.ogg", b"OggS", "x.ogg is cut short"),
        ("x.ogg", b"OggS" + bytes(90), "cannot be read as sound"),
        ("x.mp3", b"\xff" * 2**24, "cannot be read as sound"),
        ("x.mp3", np.random.default_rng(0).bytes(9_000), "cannot be read as sound (its format is not known)"),
        ("x.wav", np.random.default_rng(0).bytes(9_000), "cannot be read as sound (Format not recognised)"),
        ("x.mp3", b"\x89PNG\r\n" + bytes(90), "is a picture, not sound"),
        ("._x.ogg", b"\0\5\x16\7\0\2\0\0" + bytes(4_000), "what macOS keeps beside a file (AppleDouble)"),
        ("x.m4a", b"\0\0\0\x20ftypM4A " + bytes(900), "is an MP4 file (such as AAC or ALAC)"),
        ("x.m4a", b"\0\0\0\x20ftypM4A " + bytes(900), "e.g. ffmpeg -i x.m4a x.wav"),
        ("my x.mp3", b"\0\0\0\x18ftypisom" + bytes(900), 'ffmpeg -i "my x.mp3" "my x.wav"'),
        ("x.wav", b"\0\0\0\x18ftypisom" + bytes(900), "ffmpeg -i x.wav converted.wav"),
        ("x.wma", bytes.fromhex("3026b2758e66cf11") + bytes(900), "is a Windows Media file (WMA)"),
        ("x.aac", (b"\xff\xf1\x50\x80\x0c\x80" + bytes(94)) * 9, "is an AAC file (ADTS)"),
        ("x.webm", b"\x1a\x45\xdf\xa3" + bytes(900), "is a Matroska or WebM file"),
    ],
)  # fmt: skip
def test_what_a_file_is_instead_of_sound_is_told(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError) as told:
        read_audio(tmp_path / name)
    assert str(told.value).startswith(str(tmp_path / name)) and says in str(told.value)


_FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ALAW"), ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"), ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None),
]  # fmt: skip


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(1, len(data))]


def _in_header(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 8)):
        changed[rng.integers(min(len(data), 120))] = rng.choice([0, 1, 127, 128, 255])
    return bytes(changed)


def _anywhere(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 40)):
        changed[rng.integers(len(data))] = rng.integers(256)
    return bytes(changed)


def _moved(data: bytes, rng: np.random.Generator) -> bytes:
    at, end = sorted(rng.integers(len(data), size=2))
    return data[:end] + data[at:]


@pytest.mark.parametrize("change", [_cut, _in_header, _anywhere, _moved])
def test_a_file_that_was_changed_is_sound_or_one_sentence(
    tmp_path: Path, change: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "x.wav"
    samples = tone() + 0.01 * rng.standard_normal(N)
    files = [encoded(path, form, subtype, samples) for form, subtype in _FORMATS]
    files += [files[-1] * 2, id3v2(2_000) + files[-1], files[-2] + files[-3], files[0] + files[0]]
    read = 0
    for index in range(15 * len(files)):
        path.write_bytes(change(files[index % len(files)], rng))
        started = time.perf_counter()
        try:
            read += read_audio(path, max_duration_s=600).n_samples > 0
        except AudioError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
        assert time.perf_counter() - started < 5
    assert 0 < read < 15 * len(files)
