"""What tests of preparing share: tones with labels, a small text encoder, and what a data folder holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from features.audio import write_audio
from features.extract import Extractors
from flowmusic.codec.build import AnyCodec
from flowmusic.commands.prepare import data_info
from flowmusic.conditioning.text import TextTokens
from flowmusic.data.prepare import Preparation, Preparer, Report
from flowmusic.data.shards import DataInfo, Share, read_listing, shard_files
from flowmusic.data.sources import find_sources

RATE = 32_000
LAB = "0.0 1.0 C:maj\n1.0 9.0 A:min\n"
MELODY = "time,f0\n" + "".join(f"{i / 10},440\n" for i in range(100))


class Letters:
    """A text encoder of one state a letter: small, and told apart at a glance."""

    text_dim = 4

    def encode(self, prompts: object) -> TextTokens:
        assert isinstance(prompts, list)
        return TextTokens.of_prompts([torch.full((len(p), 4), float(ord(p[0]))) for p in prompts], 4)


def preparer(codec: AnyCodec, piece_s: float = 60.0) -> Preparer:
    return Preparer(codec, Letters(), Extractors(), piece_s)


def info(codec: AnyCodec, per_shard: int = 3) -> DataInfo:
    return replace(data_info("tiny", codec, "letters", 4, {}), songs_per_shard=per_shard)


def tone(path: Path, duration_s: float, f0_hz: float) -> None:
    times_s = np.arange(round(duration_s * RATE)) / RATE
    write_audio(path, 0.3 * np.sin(2 * np.pi * f0_hz * times_s)[None].astype(np.float32), RATE)


def manifest(folder: Path, n: int, duration_s: float = 2.0) -> Path:
    """`n` tones with labels for all three controls, so that no extractor has to listen."""
    import pretty_midi

    kit = pretty_midi.PrettyMIDI()
    kit.instruments.append(pretty_midi.Instrument(0, is_drum=True))
    kit.instruments[0].notes = [pretty_midi.Note(90, 36, i / 2, i / 2 + 0.1) for i in range(20)]
    folder.mkdir(parents=True, exist_ok=True)
    kit.write(str(folder / "kit.mid"))
    (folder / "a.lab").write_text(LAB)
    (folder / "a.csv").write_text(MELODY)
    lines = []
    for index in range(n):
        tone(folder / f"{index}.wav", duration_s, 220.0 * 1.1**index)
        line = {"path": f"{index}.wav", "captions": ["ab", "c"], "duration": duration_s}
        lines.append(line | {"drums": "kit.mid", "melody": "a.csv", "chords": "a.lab"})
    path = folder / "music.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(music: Path, out: Path, codec: AnyCodec, share: Share | None = None, per_shard: int = 3) -> Report:
    sources = find_sources(music, 0.2)
    work = Preparation(out, info(codec, per_shard), preparer(codec), share or Share())
    return work.run(sources, lambda done, total: None)


def contents(out: Path) -> dict[str, str]:
    """Digest of every song of a data folder by its key, and its split."""
    return {
        song.key: f"{path.parent.name} {song.digest}"
        for split in ("train", "valid")
        for path in shard_files(out, split)
        for song in read_listing(path)
    }
