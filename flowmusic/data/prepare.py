"""A recording or a rendered song -> the tensors that training streams: latents, controls, text states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from features.audio import Audio, read_audio
from features.chord_labels import ChordSegment, segments_to_channels
from features.controls import CONTROL_NAMES, Controls
from features.drums import SAMPLE_RATE as DRUMS_RATE
from features.drums import energies
from features.extract import Extractors, read_symbols
from features.filters import fit_frames
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.references import Reference, open_reference
from features.symbols import Note, notes_to_salience
from flowmusic.codec.build import AnyCodec
from flowmusic.codec.protocol import encode_audio
from flowmusic.composer.score import STEMS
from flowmusic.conditioning.style_features import StyleExtractor
from flowmusic.conditioning.text import TextEncoder
from flowmusic.data.sources import SONG_FILE, Source
from flowmusic.data.style_excerpts import extract_in_parts

LEAK = 0.12
"""How much of the rest a separated drum stem still holds, in amplitude."""
MIN_PIECE_S = 1.0
_LABEL_SLACK_S = 1.0


@dataclass(frozen=True)
class Piece:
    """A part of a source, ready for a shard."""

    name: str
    tensors: dict[str, Tensor]
    extracted_frames: int


@dataclass(frozen=True)
class Preparer:
    """All that listens, encodes and reads.

    piece_s      longer recordings are cut into pieces of so many seconds
    heard_s      seconds of a rendered song that the extractors listen to as well
    true_stems   rendered songs: the melody is heard without the true drum stem, with a leak of it, instead
                 of what a separator leaves
    style        hears the features that style is made of, where they are not the codec's latents
    """

    codec: AnyCodec
    text: TextEncoder
    extractors: Extractors
    piece_s: float = 60.0
    extracted_s: float = 16.0
    true_stems: bool = False
    style: StyleExtractor | None = None

    @property
    def fold(self) -> int:
        """Control frames a latent frame."""
        fold = CONTROL_FRAME_RATE / self.codec.frame_rate
        if abs(fold - round(fold)) > 1e-6:
            raise ValueError(
                f"the codec has {self.codec.frame_rate:g} latent frames a second; expected a divisor of "
                f"{CONTROL_FRAME_RATE:g}, the control frames a second"
            )
        return round(fold)

    @torch.inference_mode()
    def pieces(self, source: Source) -> Iterator[Piece]:
        """ValueError, naming the file, where a source cannot be used."""
        if source.is_rendered:
            yield self._rendered(source)
        else:
            yield from self._recording(source)

    def _recording(self, source: Source) -> Iterator[Piece]:
        audio = read_audio(source.path, self.codec.sample_rate)
        if audio.duration_s < MIN_PIECE_S:
            raise ValueError(
                f"{source.path} lasts {audio.duration_s:.2f} s; expected {MIN_PIECE_S:g} s or more"
            )
        if source.duration_s is not None and abs(source.duration_s - audio.duration_s) > 1.0:
            raise ValueError(
                f"{source.path} lasts {audio.duration_s:.1f} s; its manifest says {source.duration_s:.1f} s"
            )
        labelled = self._labelled(source, audio.duration_s)
        length = round(self.piece_s * self.codec.frame_rate) * round(
            audio.sample_rate / self.codec.frame_rate
        )
        for index, start in enumerate(range(0, audio.n_samples, length)):
            part = Audio(audio.samples[:, start : start + length], audio.sample_rate)
            if part.duration_s < MIN_PIECE_S:
                continue  # the end of a recording that was cut into pieces
            latents = encode_audio(self.codec, part)[0]  # (T, D)
            n_frames = self.fold * latents.shape[0]
            tensors = {"latents": latents.half()} | self._text(list(source.captions)) | self._style(part)
            first = round(start / audio.sample_rate * CONTROL_FRAME_RATE)
            for name, value in labelled.items():
                tensors[name] = to_bytes(fit_frames(value[first : first + n_frames], n_frames))
            tensors |= self._hear(part, n_frames, [n for n in CONTROL_NAMES if n not in labelled])
            yield Piece(f"{source.path.name}#{index}", tensors, n_frames)

    def _labelled(self, source: Source, duration_s: float) -> dict[str, Tensor]:
        """Controls of the whole recording that label files give."""
        grid = FrameGrid.from_duration(duration_s, CONTROL_FRAME_RATE)
        found = {}
        for name, path in source.labels.items():
            value, mask = read_symbols(open_reference(name, path), grid, loop_chords=False)
            known_s = float(mask.nonzero().max() + 1) / CONTROL_FRAME_RATE if bool(mask.any()) else 0.0
            if known_s < duration_s - _LABEL_SLACK_S:
                raise ValueError(f"{path} ends at {known_s:.1f} s; {source.path} lasts {duration_s:.1f} s")
            found[name] = value.float()
        return found

    def _hear(self, audio: Audio, n_frames: int, names: list[str]) -> dict[str, Tensor]:
        references = [Reference(name, "", audio.duration_s, audio) for name in names]
        controls = self.extractors.extract(references, n_frames / CONTROL_FRAME_RATE)
        return {
            f"heard_{name}": to_bytes(fit_frames(value, n_frames))
            for name in names
            if (value := controls.get(name)) is not None
        }

    def _rendered(self, source: Source) -> Piece:
        labels, parts = read_song(source.path)
        sample_rate = parts[STEMS[0]].sample_rate
        whole = Audio(np.asarray(sum(part.samples for part in parts.values())), sample_rate)  # (C, S)
        latents = encode_audio(self.codec, whole)[0]  # (T, D)
        stems = {stem: part.resampled(DRUMS_RATE).mono() for stem, part in parts.items()}
        mix = whole.resampled(DRUMS_RATE).mono()
        grid = FrameGrid(CONTROL_FRAME_RATE, self.fold * latents.shape[0])
        controls = exact_controls(labels, stems, grid)
        tensors = {"latents": latents.half()} | self._text(labels["captions"])
        tensors |= self._style(whole)
        tensors |= {name: to_bytes(v) for name in controls.given if (v := controls.get(name)) is not None}
        leaky = stems["drums"] + LEAK * (mix - stems["drums"])
        # A song without drums stays without: alone, the leak would be scaled up to full strength.
        tensors["leaky_drums"] = (
            to_bytes(fit_frames(energies(torch.from_numpy(leaky)), grid.n_frames))
            if tensors["drums"].any()
            else tensors["drums"]
        )
        n_samples = min(round(self.extracted_s * DRUMS_RATE), len(mix))
        n_heard = min(round(n_samples / DRUMS_RATE * CONTROL_FRAME_RATE), grid.n_frames)
        if n_heard:
            cut = {stem: values[:n_samples] for stem, values in stems.items()}
            tensors |= self._hear_song(cut, n_heard)
        return Piece(source.path.name, tensors, n_heard)

    def _hear_song(self, stems: dict[str, np.ndarray], n_frames: int) -> dict[str, Tensor]:
        mix = Audio(np.asarray(sum(stems.values()))[None], DRUMS_RATE)
        if not self.true_stems:
            return self._hear(mix, n_frames, list(CONTROL_NAMES))
        rest = Audio(mix.samples - (1 - LEAK) * stems["drums"][None], DRUMS_RATE)
        extracted = {
            "heard_melody": self.extractors.melody.extract(rest).salience,
            "heard_chords": self.extractors.chords.extract(mix).posteriors,
        }
        return {name: to_bytes(fit_frames(value, n_frames)) for name, value in extracted.items()}

    def _style(self, audio: Audio) -> dict[str, Tensor]:
        return {} if self.style is None else {"style_features": extract_in_parts(self.style, audio).half()}

    def _text(self, captions: list[str]) -> dict[str, Tensor]:
        """States of all captions in one row (sum of L, E), and how long each is."""
        tokens = self.text.encode(captions)
        states = tokens.states[tokens.mask] if captions else torch.zeros(0, self.text.text_dim)
        return {"text": states.half(), "text_lengths": tokens.mask.sum(dim=1)}


def read_song(folder: Path) -> tuple[dict[str, Any], dict[str, Audio]]:
    """Labels and stems of one rendered song. ValueError where the stems differ in rate or length."""
    labels = json.loads((folder / SONG_FILE).read_text(encoding="utf-8"))
    stems = {stem: read_audio(folder / f"{stem}.wav") for stem in STEMS}
    shapes = {(stem.sample_rate, stem.samples.shape) for stem in stems.values()}
    if len(shapes) > 1:
        raise ValueError(f"{folder}: the stems of a song must have one rate and length, got {sorted(shapes)}")
    return labels, stems


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
