"""Rendered songs -> what the flow model trains on: latents, controls, text states, one file a song.

Two passes: `exact` (fast) encodes the mix and takes controls from the labels and the true drum
stem; `heard` (slow, for a share of the songs) adds what the extractors hear in the mix, because
that is what real references will give.
"""

from __future__ import annotations

import argparse
import json
import logging
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
from features.filters import fit_frames
from features.frames import FrameGrid
from features.symbols import Note, notes_to_salience
from flowmusic.codec.spectral import SpectralCodec
from flowmusic.conditioning.text import TextEncoder
from flowmusic.data.score import STEMS
from flowmusic.training.checkpoint import save_tensors
from flowmusic.training.excerpts import list_songs

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
        drums=fit_frames(energies(torch.from_numpy(stems["drums"])), grid.n_frames),
        melody=notes_to_salience(notes, grid, blur_s=0.02),
        chords=torch.as_tensor(segments_to_channels(segments, grid)).float(),
    )


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
    # A song without drums stays without: alone, the leak would be scaled up to full strength.
    out["leaky_drums"] = (
        to_bytes(fit_frames(energies(torch.from_numpy(leaky)), grid.n_frames))
        if out["drums"].any()
        else out["drums"]
    )
    return out


class Extractors:
    """The default extractors, loaded once; `separator` may also be 'stems' (the true stems, with a leak)."""

    def __init__(self, separator: str, n_chord_models: int) -> None:
        from features.choices import drum_separator
        from features.chords import LvChordia
        from features.melody import CrepeMelody

        self.separator = None if separator == "stems" else drum_separator(separator)
        self.melody, self.chords = CrepeMelody(dtype=torch.bfloat16), LvChordia(n_models=n_chord_models)

    def hear(self, stems: dict[str, np.ndarray], sample_rate: int, n_frames: int) -> dict[str, Tensor]:
        """heard_melody, heard_chords and, unless the true stem stood in, heard_drums: uint8 (F, C) each."""
        mix = Audio(np.asarray(sum(stems.values()))[None], sample_rate)
        heard = {"heard_chords": self.chords.extract(mix).posteriors}
        if self.separator is None:
            rest = Audio(mix.samples - (1 - LEAK) * stems["drums"][None], sample_rate)
        else:
            stem = self.separator.separate(mix)
            rest = Audio(mix.samples - stem.samples, sample_rate)
            heard["heard_drums"] = energies(torch.from_numpy(stem.mono()))
        heard["heard_melody"] = self.melody.extract(rest).salience
        return {name: to_bytes(fit_frames(value, n_frames)) for name, value in heard.items()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["exact", "heard"])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument(
        "--codec", type=Path, required=True, help="components.safetensors or codec.safetensors"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shard", default="0/1", help="i/n: this process does every n-th song")
    parser.add_argument("--limit", type=int, help="songs of this shard at most")
    parser.add_argument("--span", type=float, default=20.0, help="heard: seconds of each song")
    parser.add_argument(
        "--separator", default="embedded", help="embedded, htdemucs, none, or stems: the true stems"
    )
    parser.add_argument(
        "--chord-models", type=int, default=1, help="networks of the chord recogniser, 1 to 5"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    index, count = (int(part) for part in args.shard.split("/"))
    folders = list_songs(args.corpus / args.split)[index::count][: args.limit]
    out = args.out / args.split
    if args.stage == "exact":
        _run_exact(folders, out, args.codec)
    else:
        _run_heard(folders, out, Extractors(args.separator, args.chord_models), args.span)


def _run_exact(folders: list[Path], out: Path, codec_file: Path) -> None:
    from flowmusic.conditioning.text import TransformersTextEncoder
    from flowmusic.training.codec import load_codec

    codec, text = load_codec(codec_file), TransformersTextEncoder()
    for folder in tqdm(folders, unit="song", desc="exact", mininterval=10):
        target = out / f"{folder.name}.safetensors"
        if not target.is_file():
            save_tensors(target, prepare_song(folder, codec, text), dtype=torch.float16)


def _run_heard(folders: list[Path], out: Path, extractors: Extractors, span_s: float) -> None:
    for folder in tqdm(folders, unit="song", desc="heard", mininterval=10):
        prepared, target = out / f"{folder.name}.safetensors", out / f"{folder.name}.heard.safetensors"
        if prepared.is_file() and not target.is_file():
            labels, stems = read_song(folder)
            sample_rate = int(labels.get("sample_rate", 32000))
            n_samples = min(round(span_s * sample_rate), len(stems["drums"]))
            cut = {name: stem[:n_samples] for name, stem in stems.items()}
            n_frames = n_samples * 50 // sample_rate
            save_tensors(target, extractors.hear(cut, sample_rate, n_frames))


if __name__ == "__main__":
    main()
