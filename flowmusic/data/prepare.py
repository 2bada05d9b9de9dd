"""A recording or a rendered song -> the tensors that training streams: latents, controls, text states."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
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
from features.files import whole_file
from features.filters import fit_frames
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.recordings import in_phase
from features.references import Reference, open_reference
from features.symbols import Note, notes_to_salience
from features.text_files import read_json
from flowmusic.codec.build import AnyCodec
from flowmusic.codec.protocol import encode_audio
from flowmusic.composer.score import STEMS
from flowmusic.conditioning.style_features import StyleExtractor
from flowmusic.conditioning.text import TextEncoder
from flowmusic.data.shards import (
    CODEC_FOLDER,
    INFO_FILE,
    PENDING_FOLDER,
    SPLITS,
    DataInfo,
    ShardReader,
    ShardStore,
    Share,
    SongEntry,
    Songs,
    digest,
    finished_files,
    naming,
    read_listing,
    shard_files,
)
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
    """All that extracts controls, encodes sound and reads captions.

    piece_s      longer recordings are cut into pieces of so many seconds
    extracted_s  seconds of a rendered song whose controls are extracted as well
    true_stems   rendered songs: the melody is extracted without the true drum stem, with a leak of it,
                 instead of from what a separator leaves
    style        extracts the features that style is made of, where they are not the codec's latents
    controls     names of the controls to extract
    """

    codec: AnyCodec
    text: TextEncoder
    extractors: Extractors
    piece_s: float = 60.0
    extracted_s: float = 16.0
    true_stems: bool = False
    style: StyleExtractor | None = None
    controls: tuple[str, ...] = CONTROL_NAMES

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
        audio = in_phase(str(source.path), read_audio(source.path, self.codec.sample_rate))
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
            latents = self._encode(part)
            n_frames = self.fold * latents.shape[0]
            tensors = {"latents": latents.half()} | self._text(list(source.captions)) | self._style(part)
            first = round(start / audio.sample_rate * CONTROL_FRAME_RATE)
            for name, value in labelled.items():
                tensors[name] = to_bytes(fit_frames(value[first : first + n_frames], n_frames))
            tensors |= self._extract(part, n_frames, [n for n in self.controls if n not in labelled])
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

    def _extract(self, audio: Audio, n_frames: int, names: list[str]) -> dict[str, Tensor]:
        references = [Reference(name, "", audio.duration_s, audio) for name in names]
        controls = self.extractors.extract(references, n_frames / CONTROL_FRAME_RATE)
        return {
            f"extracted_{name}": to_bytes(fit_frames(value, n_frames))
            for name in names
            if (value := controls.get(name)) is not None
        }

    def _rendered(self, source: Source) -> Piece:
        labels, parts = read_song(source.path)
        sample_rate = parts[STEMS[0]].sample_rate
        whole = Audio(np.asarray(sum(part.samples for part in parts.values())), sample_rate)  # (C, S)
        latents = self._encode(whole)
        stems = {stem: part.resampled(DRUMS_RATE).mono() for stem, part in parts.items()}
        mix = whole.resampled(DRUMS_RATE).mono()
        grid = FrameGrid(CONTROL_FRAME_RATE, self.fold * latents.shape[0])
        controls = exact_controls(labels, stems, grid)
        tensors = {"latents": latents.half()} | self._text(labels["captions"])
        tensors |= self._style(whole)
        tensors |= {name: to_bytes(v) for name in controls.given if (v := controls.get(name)) is not None}
        others = [name for name in self.controls if name not in CONTROL_NAMES]
        extracted = self._extract(whole, grid.n_frames, others)
        tensors |= {key.removeprefix("extracted_"): value for key, value in extracted.items()}
        leaky = stems["drums"] + LEAK * (mix - stems["drums"])
        # A song without drums stays without: alone, the leak would be scaled up to full strength.
        tensors["leaky_drums"] = (
            to_bytes(fit_frames(energies(torch.from_numpy(leaky)), grid.n_frames))
            if tensors["drums"].any()
            else tensors["drums"]
        )
        n_samples = min(round(self.extracted_s * DRUMS_RATE), len(mix))
        n_extracted = min(round(n_samples / DRUMS_RATE * CONTROL_FRAME_RATE), grid.n_frames)
        if n_extracted:
            cut = {stem: values[:n_samples] for stem, values in stems.items()}
            tensors |= self._extract_song(cut, n_extracted)
        return Piece(source.path.name, tensors, n_extracted)

    def _extract_song(self, stems: dict[str, np.ndarray], n_frames: int) -> dict[str, Tensor]:
        mix = Audio(np.asarray(sum(stems.values()))[None], DRUMS_RATE)
        if not self.true_stems:
            return self._extract(mix, n_frames, [name for name in CONTROL_NAMES if name in self.controls])
        rest = Audio(mix.samples - (1 - LEAK) * stems["drums"][None], DRUMS_RATE)
        extracted = {
            "extracted_melody": self.extractors.melody.extract(rest).salience,
            "extracted_chords": self.extractors.chords.extract(mix).posteriors,
        }
        return {name: to_bytes(fit_frames(value, n_frames)) for name, value in extracted.items()}

    def _encode(self, audio: Audio) -> Tensor:
        """Latents (T, D) on the CPU, made where the codec's weights are."""
        device = next(itertools.chain(self.codec.parameters(), self.codec.buffers()), torch.zeros(0)).device
        return encode_audio(self.codec, audio, device)[0].cpu()

    def _style(self, audio: Audio) -> dict[str, Tensor]:
        return {} if self.style is None else {"style_features": extract_in_parts(self.style, audio).half()}

    def _text(self, captions: list[str]) -> dict[str, Tensor]:
        """States of all captions in one row (sum of L, E), and how long each is."""
        tokens = self.text.encode(captions)
        states = tokens.states[tokens.mask] if captions else torch.zeros(0, self.text.text_dim)
        return {"text": states.half(), "text_lengths": tokens.mask.sum(dim=1)}


def read_song(folder: Path) -> tuple[dict[str, Any], dict[str, Audio]]:
    """Labels and stems of one rendered song. ValueError where the stems differ in rate or length."""
    labels = read_json(folder / SONG_FILE, "the labels of a song")
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


@dataclass(frozen=True)
class Report:
    """What became of the sources of one process; `replaced` older ones had other captions or labels."""

    prepared: int
    kept: int
    duplicates: int
    replaced: int
    failures: list[tuple[str, str]]

    @property
    def n_sources(self) -> int:
        return self.prepared + self.kept + self.duplicates + len(self.failures)


class Preparation:
    """Writes a data folder. Every source is finished by itself, so that a killed run loses one at most."""

    def __init__(self, folder: Path, info: DataInfo, preparer: Preparer, share: Share) -> None:
        self.folder, self.preparer, self.share = folder, preparer, share
        info = replace(info, piece_s=preparer.piece_s, extracted_s=preparer.extracted_s)
        if (folder / INFO_FILE).is_file():
            check_same(DataInfo.load(folder), info, folder)
        from flowmusic.codec.files import write_codec

        if not (folder / CODEC_FOLDER / "codec.safetensors").is_file():
            with naming(folder / CODEC_FOLDER):
                write_codec(preparer.codec, folder / CODEC_FOLDER)
        info.save(folder)
        self._store = ShardStore(folder, share, info.songs_per_shard)

    def run(self, sources: Sequence[Source], progress: Callable[[int, int], None]) -> Report:
        """Prepare this process's share of `sources`; failures are also written to failures-*.jsonl.

        OSError, naming the file, where something cannot be written: a full disk is no fault of a source.
        """
        mine = sources[self.share.index :: self.share.count]
        prepared = kept = duplicates = 0
        outdated: set[str] = set()
        failures: list[tuple[str, str]] = []
        for number, source in enumerate(mine):
            progress(number, len(mine))
            if source.same_as is not None:
                duplicates += 1
                continue
            try:
                key, sound = source.keys()
                current = {key, *source.siblings}
                older = self._store.outdated(sound, current)
                songs = None if key in self._store else self._songs(source, key, sound)
            except Exception as error:  # one file, whatever it does to an extractor, does not end the run
                failures.append((str(source.path), _reason(error)))
                continue
            outdated |= older
            if songs is None:
                kept += 1
                continue
            split = self._store.split_of(sound, current) or source.split
            self._store.add(key, split, songs)
            self._store.pack(split, self._store.songs_per_shard)
            prepared += 1
        for split in SPLITS:
            self._store.pack(split, 1)
        self._store.drop(outdated)
        progress(len(mine), len(mine))
        self._write_failures(failures)
        return Report(prepared, kept, duplicates, len(outdated), failures)

    def _write_failures(self, failures: list[tuple[str, str]]) -> None:
        report = self.folder / f"failures-{self.share}.jsonl"
        with naming(report), whole_file(report) as partial:
            partial.write_text("".join(json.dumps({"path": p, "reason": r}) + "\n" for p, r in failures))

    def _songs(self, source: Source, key: str, sound: str) -> Songs:
        songs = []
        for index, piece in enumerate(self.preparer.pieces(source)):
            n_frames = int(piece.tensors["latents"].shape[0])
            content = digest(piece.tensors)
            entry = SongEntry(
                f"{key}-{index:03d}", piece.name, n_frames, piece.extracted_frames, content, sound
            )
            songs.append((entry, piece.tensors))
        return songs


def check_same(found: DataInfo, wanted: DataInfo, folder: Path) -> None:
    """Check that a data folder was prepared with the settings that are wanted.

    Raises:
        ValueError: it was not; the message gives each setting that differs, as it was and as it is now.
    """
    before, now = asdict(found), asdict(wanted)
    differing = [f"{key} {before[key]!r} (now {now[key]!r})" for key in now if before[key] != now[key]]
    if differing:
        raise ValueError(
            f"{folder} was prepared with {', '.join(differing)}: choose another folder, or the same settings"
        )


def _reason(error: Exception) -> str:
    """The message of an error on one line, with its kind where that is not what this program says."""
    message = " ".join(str(error).split())
    return (
        message
        if isinstance(error, (ValueError, OSError))
        else f"{type(error).__name__}: {message}".rstrip(": ")
    )


@dataclass(frozen=True)
class Checked:
    """What a data folder holds, by split."""

    songs: dict[str, int]
    hours: dict[str, float]
    problems: list[str]


def check_data(folder: Path) -> Checked:
    """Read everything in a data folder and compare it with what it should be."""
    import torch

    info = DataInfo.load(folder)
    songs, hours, problems = {}, {}, []
    for split in SPLITS:
        count, frames = 0, 0
        for path in shard_files(folder, split):
            try:
                entries, reader = read_listing(path), ShardReader()
            except ValueError as error:
                problems.append(str(error))
                continue
            for entry in entries:
                tensors = {name: part[:] for name, part in reader.song(path, entry.key).items()}
                latents = tensors.get("latents")
                if digest(tensors) != entry.digest:
                    problems.append(f"{path}: {entry.name} is not what was written (its digest differs)")
                elif latents is None or tuple(latents.shape) != (entry.n_frames, info.latent_dim):
                    problems.append(
                        f"{path}: {entry.name} has no latents ({entry.n_frames}, {info.latent_dim})"
                    )
                elif not bool(
                    torch.isfinite(latents.float()).all() & torch.isfinite(tensors["text"].float()).all()
                ):
                    problems.append(f"{path}: {entry.name} holds NaN or infinite values")
                count, frames = count + 1, frames + entry.n_frames
        songs[split], hours[split] = count, frames / info.frame_rate / 3600
    waiting = len(finished_files(folder / PENDING_FOLDER, "*/*/*.safetensors"))
    if waiting:
        problems.append(
            f"{folder / PENDING_FOLDER} holds {waiting} sources that no shard has: run prepare again"
        )
    if not songs["train"]:
        problems.append(f"{folder / 'train'} holds no music")
    return Checked(songs, hours, problems)
