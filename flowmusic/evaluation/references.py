"""The clips that an evaluation takes its controls from: corpus songs with labels, or any sound file."""

from __future__ import annotations

import argparse
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from features.audio import Audio, AudioError, read_audio
from features.chord_labels import ChordSegment
from features.chroma import CHROMA_HOP, CHROMA_SAMPLE_RATE, SILENT
from features.events import merge_onsets
from features.extracted import Extracted
from features.folders import is_sound, visible_files, warn_of_unread
from features.frames import CONTROL_FRAME_RATE, FrameGrid
from features.recordings import check_recording, in_phase
from features.text_files import read_json
from flowmusic.composer.score import STEMS

LABELS_FILE = "song.json"
MIN_CLIP_S = 2.0
MAX_NAME_BYTES = 160


@dataclass(frozen=True)
class FoundReference:
    """A sound file, or a corpus song folder (three stems and song.json); `name` is unique in its list."""

    name: str
    path: Path

    @property
    def is_song(self) -> bool:
        return self.path.is_dir()


@dataclass(frozen=True)
class Clip:
    """An excerpt of a reference: mono or stereo sound, and where labels exist what they say.

    `labels` is what extractors without fault would find; `caption` is "" without labels.
    """

    name: str
    audio: Audio
    start_s: float
    caption: str
    labels: Extracted | None


def find_references(paths: Sequence[Path], n: int | None = None) -> list[FoundReference]:
    """Songs and sound files under `paths` in a fixed order; at most `n`, spread evenly over them.

    A folder is a song (it holds song.json), a tree of songs, or else a tree of sound files.

    Raises:
        ValueError: a path that does not exist or holds nothing to read, naming it.
    """
    if n is not None and n < 1:
        raise ValueError(f"expected at least one reference, got n = {n}")
    found = [item for path in paths for item in _references_in(Path(path))]
    if not found:
        raise ValueError("expected at least one reference, got none")
    found = [FoundReference(_fitting(item.name), item.path) for item in found]
    names = [item.name for item in found]
    if len(set(names)) < len(names):
        found = [FoundReference(f"{i:03d}-{item.name}", item.path) for i, item in enumerate(found)]
    if n is None or n >= len(found):
        return found
    return [found[round(i)] for i in np.linspace(0, len(found) - 1, n)]


def _fitting(name: str) -> str:
    """A name as it is, or so much of it that names of clips, which go on after it, are not too long."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= MAX_NAME_BYTES else encoded[:MAX_NAME_BYTES].decode(errors="ignore")


def _references_in(path: Path) -> list[FoundReference]:
    if path.is_file():
        return [FoundReference(path.stem, path)]
    if not path.is_dir():
        raise ValueError(f"{path} does not exist; expected a sound file, a song folder or a folder of either")
    if (path / LABELS_FILE).is_file():
        return [FoundReference(path.name, path)]
    visible = visible_files(path)
    warn_of_unread(path, visible)
    songs = sorted(item.parent for item in visible if item.name == LABELS_FILE)
    files = songs or [item for item in visible if is_sound(item)]
    if not files:
        raise ValueError(f"{path} holds neither songs ({LABELS_FILE}) nor sound files")
    return [FoundReference("-".join(item.relative_to(path).with_suffix("").parts), item) for item in files]


def load_clip(reference: FoundReference, duration_s: float, allow_shorter: bool = False) -> Clip:
    """The middle `duration_s` seconds of a reference; all of it where it is shorter and may be.

    Raises:
        ValueError: unreadable sound or labels, or sound that is too short, silent or of many channels,
            naming the file.
    """
    if not MIN_CLIP_S <= duration_s < float("inf"):
        raise ValueError(f"expected a duration of at least {MIN_CLIP_S:g} s, got {duration_s:g}")
    audio = read_song_mix(reference.path) if reference.is_song else read_audio(reference.path)
    shortest_s = MIN_CLIP_S if allow_shorter else duration_s
    if audio.duration_s < shortest_s:
        raise AudioError(
            f"{reference.path} lasts {audio.duration_s:.2f} s; expected at least {shortest_s:g} s"
        )
    start_s = max(0.0, (audio.duration_s - duration_s) / 2)
    first = round(start_s * audio.sample_rate)
    samples = audio.samples[:, first : first + round(duration_s * audio.sample_rate)]
    excerpt = Audio(samples, audio.sample_rate)
    check_recording(f"{reference.path}, from {start_s:g} s on,", excerpt)
    excerpt = in_phase(str(reference.path), excerpt)
    clip = Audio(excerpt.in_channels(min(excerpt.n_channels, 2)), audio.sample_rate)
    if not reference.is_song:
        return Clip(reference.name, clip, start_s, "", None)
    song = read_labels(reference.path / LABELS_FILE)
    captions = song.get("captions") or [""]
    caption = str(captions[zlib.crc32(os.fsencode(reference.name)) % len(captions)])
    return Clip(reference.name, clip, start_s, caption, labels_as_extracted(song, start_s, clip.duration_s))


def files_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Options of commands that measure sounds one by one: --files, --n, --duration and --out."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument(
        "--files", nargs="+", required=True, type=Path, help="sound files, corpus songs or folders of them"
    )
    parser.add_argument("--n", type=int, help="at most so many, spread over the list")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds from the middle of each (10)")
    parser.add_argument("--out", type=Path, help="write the table here too (markdown)")
    return parser


def read_stem(folder: Path, stem: str) -> Audio:
    """One stem of a corpus song. AudioError, naming the file, if it is missing."""
    return read_audio(folder / f"{stem}.wav")


def read_clip_stem(reference: FoundReference, clip: Clip, stem: str) -> Audio:
    """One stem of the part of a corpus song that `clip` is. AudioError as `read_stem`."""
    whole = read_stem(reference.path, stem)
    first = round(clip.start_s * whole.sample_rate)
    return Audio(whole.samples[:, first : first + clip.audio.n_samples], whole.sample_rate)


def read_song_mix(folder: Path) -> Audio:
    """Sum of a corpus song's stems, (C, S)."""
    stems = [read_stem(folder, stem) for stem in STEMS]
    if len({(stem.samples.shape, stem.sample_rate) for stem in stems}) != 1:
        raise AudioError(f"{folder}: the stems {', '.join(STEMS)} differ in length, channels or sample rate")
    mix = np.sum([stem.samples for stem in stems], axis=0)  # (C, S)
    return Audio(np.asarray(mix, dtype=np.float32), stems[0].sample_rate)


def read_labels(path: Path) -> dict[str, Any]:
    """song.json as a dict. ValueError, naming the file, where it is broken or lacks a list."""
    song = read_json(path, "the labels of a song")
    missing = [key for key in ("chords", "melody", "drums") if not isinstance(song, dict) or key not in song]
    if missing:
        raise ValueError(
            f"{path} lacks {', '.join(missing)}; expected the labels that `flowmusic corpus` writes"
        )
    return dict(song)


def labels_as_extracted(song: dict[str, Any], start_s: float, duration_s: float) -> Extracted:
    """The labels of a song between `start_s` and `start_s + duration_s`, on that excerpt's own clock."""
    end_s = start_s + duration_s
    chords = tuple(
        ChordSegment(
            max(item["start_s"], start_s) - start_s, min(item["end_s"], end_s) - start_s, str(item["label"])
        )
        for item in song["chords"]
        if item["start_s"] < end_s and item["end_s"] > start_s
    )
    hits = np.sort([item["time_s"] - start_s for item in song["drums"] if start_s <= item["time_s"] < end_s])
    times_s = FrameGrid.from_duration(duration_s, CONTROL_FRAME_RATE).times_s()
    chroma_times_s = (
        np.arange(1 + int(duration_s * CHROMA_SAMPLE_RATE) // CHROMA_HOP) * CHROMA_HOP / CHROMA_SAMPLE_RATE
    )
    midi = _midi_at(song["melody"], times_s + start_s)
    chroma_midi = _midi_at(song["melody"], chroma_times_s + start_s)
    return Extracted(
        duration_s=duration_s,
        chords=chords,
        onsets_s=merge_onsets(hits),
        f0_times_s=times_s,
        f0_hz=np.where(midi > 0, 440.0 * 2.0 ** ((midi - 69) / 12), 0.0),
        confidence=(midi > 0).astype(np.float64),
        chroma=np.where(chroma_midi > 0, chroma_midi % 12, SILENT),
    )


def _midi_at(notes: list[dict[str, Any]], times_s: np.ndarray) -> np.ndarray:
    """MIDI number of the latest note that sounds at each time, 0 where none does; (T,) int."""
    midi = np.zeros(len(times_s), dtype=np.int64)
    for note in sorted(notes, key=lambda item: float(item["start_s"])):
        midi[(times_s >= note["start_s"]) & (times_s < note["end_s"])] = note["midi"]
    return midi
