"""A tiny soundfont made here, so that rendering is tested without any download, and a tiny codec."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from flowmusic.codec.build import AnyCodec
from flowmusic.codec.files import read_codec
from flowmusic.composer.instruments import KIT_NAMES

_RATE = 32000
_KEY_RANGE, _SCALE_TUNING, _INSTRUMENT, _SAMPLE_MODES, _SAMPLE_ID = 43, 56, 41, 54, 53
_ROOT_KEY = 69


def _samples() -> list[np.ndarray]:
    """A saw-like tone at 400 Hz, to be looped, and a burst of noise."""
    times_s = np.arange(_RATE // 4) / _RATE
    tone = sum(np.sin(2 * np.pi * 400 * k * times_s) / k for k in range(1, 6)) * 0.3
    noise = np.random.default_rng(0).standard_normal(_RATE // 4) * np.exp(-times_s * 40) * 0.3
    return [(np.clip(wave, -1, 1) * 32000).astype("<i2") for wave in (tone, noise)]


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _list(name: bytes, *chunks: bytes) -> bytes:
    return _chunk(b"LIST", name + b"".join(chunks))


def _headers(start: int, length: int, name: bytes, root: int, correction: int) -> bytes:
    # The loop covers whole periods of 80 samples.
    loop = (start + 800, start + 7200)
    return struct.pack("<20sIIIIIBbHH", name, start, start + length, *loop, _RATE, root, correction, 0, 1)


def _tiny_soundfont(presets: list[tuple[int, int]]) -> bytes:
    """Every preset of bank 128 plays the noise, every other the tone."""
    waves = _samples()
    gap = np.zeros(46, dtype="<i2")
    data = b"".join(wave.tobytes() + gap.tobytes() for wave in waves)
    second = len(waves[0]) + len(gap)
    # 400 Hz is 35 cents above G4, MIDI note 67.
    shdr = _headers(0, len(waves[0]), b"tone", 67, -35) + _headers(second, len(waves[1]), b"noise", 60, 0)
    shdr += struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    igen = struct.pack("<HHHH", _SAMPLE_MODES, 1, _SAMPLE_ID, 0)
    igen += struct.pack("<HHHH", _SCALE_TUNING, 0, _SAMPLE_ID, 1) + struct.pack("<HH", 0, 0)
    inst = b"".join(struct.pack("<20sH", n, k) for k, n in enumerate((b"tone", b"noise", b"EOI")))
    ibag = b"".join(struct.pack("<HH", 2 * k, 0) for k in range(3))
    phdr = b"".join(
        struct.pack("<20sHHHIII", f"p{k}".encode(), program, bank, k, 0, 0, 0)
        for k, (bank, program) in enumerate(presets)
    ) + struct.pack("<20sHHHIII", b"EOP", 0, 0, len(presets), 0, 0, 0)
    pbag = b"".join(struct.pack("<HH", k, 0) for k in range(len(presets) + 1))
    pgen = b"".join(struct.pack("<HH", _INSTRUMENT, int(bank == 128)) for bank, _ in presets)
    pgen += struct.pack("<HH", 0, 0)
    no_modulators = struct.pack("<HHhHH", 0, 0, 0, 0, 0)
    info = _list(
        b"INFO",
        _chunk(b"ifil", struct.pack("<HH", 2, 1)),
        _chunk(b"isng", b"EMU8000\0"),
        _chunk(b"INAM", b"tiny"),
    )
    tables = {"phdr": phdr, "pbag": pbag, "pmod": no_modulators, "pgen": pgen, "inst": inst,
              "ibag": ibag, "imod": no_modulators, "igen": igen, "shdr": shdr}  # fmt: skip
    pdta = _list(b"pdta", *(_chunk(name.encode(), body) for name, body in tables.items()))
    return _chunk(b"RIFF", b"sfbk" + info + _list(b"sdta", _chunk(b"smpl", data)) + pdta)


@pytest.fixture(scope="session")
def soundfont(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A General MIDI soundfont of two sounds: a steady tone and a drum."""
    path = tmp_path_factory.mktemp("fonts") / "tiny.sf2"
    path.write_bytes(_tiny_soundfont([*((0, p) for p in range(128)), *((128, k) for k in KIT_NAMES)]))
    return path


@pytest.fixture(scope="session")
def poor_soundfont(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A soundfont with a piano alone."""
    path = tmp_path_factory.mktemp("fonts") / "poor.sf2"
    path.write_bytes(_tiny_soundfont([(0, 0)]))
    return path


@pytest.fixture(scope="session")
def leadsheet_file() -> Path:
    return Path(__file__).parent / "leadsheets.jsonl"


@pytest.fixture(scope="session")
def codec(tiny_model: Path) -> AnyCodec:
    return read_codec(tiny_model)
