"""Renders the training corpus: labelled songs of our own and of lead sheets, resumably.

Layout: `OUT/<split>/<song_id>/{drums,melody,backing}.wav` (stereo, 16 bit, aligned; the mix is
their sum) and `song.json` with every label. A song is complete or absent: it is written beside
and moved into place. Song number `k` is a function of (seed, k) only, so a second run with the
same arguments goes on where the first stopped, and more hours only add songs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from flowmusic.composer.arranger import arrange
from flowmusic.composer.generator import make_brief, plan_sections, write_sheet
from flowmusic.composer.score import STEMS, Score
from flowmusic.data.leadsheets import LeadSheet, excerpt, read_lead_sheets
from flowmusic.data.render import Renderer, Stems

logger = logging.getLogger(__name__)

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} min [{elapsed}<{remaining}]"
SPLITS = ("train", "valid", "test")
_VALID_SHARE, _TEST_SHARE = 0.03, 0.05
_MIDDLE_SHARE = 0.3  # of the accompanying parts
_BASSES = range(32, 40)  # General MIDI programs
_LEAD_SHEET_SHARE = 0.46  # of the songs: theirs are longer, so this is half of the hours


@dataclass(frozen=True)
class CorpusPlan:
    """The arguments that decide every song."""

    out: Path
    soundfonts: tuple[Path, ...]
    leadsheets: Path | None
    seed: int
    sample_rate: int


@dataclass(frozen=True)
class RenderedSong:
    """What became of one song number."""

    song_id: str
    split: str
    duration_s: float
    fresh: bool


def _split_by_share(place: float) -> str:
    """A split from a place in 0..1."""
    if place < _VALID_SHARE:
        return "valid"
    return "test" if place < _VALID_SHARE + _TEST_SHARE else "train"


def split_lead_sheets(lead_sheets: Sequence[LeadSheet]) -> dict[str, str]:
    """Split of every composition, by the rank of its hash: every arrangement of it goes there."""
    ids = sorted({sheet.id for sheet in lead_sheets}, key=lambda i: hashlib.sha256(i.encode()).digest())
    return {identity: _split_by_share((rank + 0.5) / len(ids)) for rank, identity in enumerate(ids)}


def _split_of_number(number: int) -> str:
    """Own songs are dealt out in turn, so that every split exists early."""
    return _split_by_share((number * 37 % 100 + 0.5) / 100)


def _song_id(seed: int, number: int) -> str:
    return hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()[:12]


def compose(plan: CorpusPlan, lead_sheets: Sequence[LeadSheet], number: int) -> tuple[str, str, Score]:
    """Song `number` of a corpus: its id, split and score."""
    rng = np.random.default_rng([plan.seed, number])
    song_id = _song_id(plan.seed, number)
    n_fonts = len(plan.soundfonts)
    if lead_sheets and rng.random() < _LEAD_SHEET_SHARE:
        lead_sheet = lead_sheets[int(rng.integers(len(lead_sheets)))]
        brief = make_brief(rng, lead_sheet.metre, with_melody=True)
        sheet = excerpt(lead_sheet, brief, rng)
        sections = plan_sections(sheet.n_bars, brief, 0.85, rng)
        split = split_lead_sheets(lead_sheets)[lead_sheet.id]
        return song_id, split, placed(arrange(sheet, sections, brief, n_fonts, rng), plan.seed, number)
    brief = make_brief(rng)
    sheet, sections = write_sheet(rng, brief)
    score = arrange(sheet, sections, brief, n_fonts, rng)
    return song_id, _split_of_number(number), placed(score, plan.seed, number)


def placed(score: Score, seed: int, number: int) -> Score:
    """The score with its parts spread from left to right: bass in the middle, the melody near it."""
    # Random numbers of their own: all else of a song is what it was before there were places.
    rng = np.random.default_rng([seed, number, 1])
    side = float(rng.choice([-1.0, 1.0]))
    backing = []
    for part in score.backing:
        in_middle = part.program in _BASSES or rng.random() < _MIDDLE_SHARE
        pan = 0.0 if in_middle else side * float(rng.uniform(0.15, 0.7))
        side = side if in_middle else -side
        backing.append(replace(part, pan=pan))
    melody = score.melody and replace(score.melody, pan=float(rng.uniform(-0.2, 0.2)))
    return replace(score, backing=tuple(backing), melody=melody)


def song_record(score: Score, song_id: str, split: str, soundfonts: tuple[Path, ...]) -> dict[str, object]:
    """The contents of `song.json`."""
    melody, drums = score.melody, score.drums
    parts = [*score.backing, *([melody] if melody else [])]
    used = sorted({part.soundfont for part in parts} | ({drums.soundfont} if drums else set()))
    return {
        "id": song_id,
        "source": score.source,
        "split": split,
        "duration_s": score.duration_s,
        "bpm": score.bpm,
        "metre": score.metre,
        "beats_per_bar": score.beats_per_bar,
        "key": score.key,
        "mode": score.mode,
        "programs": {
            "drums": drums.kit if drums else None,
            "melody": melody.program if melody else None,
            "backing": [part.program for part in score.backing],
        },
        "soundfont": "+".join(soundfonts[index].stem for index in used),
        "chords": [asdict(span) for span in score.chords],
        "melody": [asdict(note) for note in melody.notes] if melody else [],
        "drums": [asdict(hit) for hit in drums.hits] if drums else [],
        "beats_s": list(score.beats_s),
        "captions": list(score.captions),
        "tags": {**score.tags, "mastering": asdict(score.mastering)},
    }


def write_song(folder: Path, stems: Stems, record: dict[str, object], sample_rate: int) -> None:
    """Writes a song beside `folder` and moves it into place."""
    import soundfile

    staging = folder.parent.parent / ".partial" / f"{folder.name}.{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for name in STEMS:
        soundfile.write(staging / f"{name}.wav", getattr(stems, name).T, sample_rate, subtype="PCM_16")
    (staging / "song.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.replace(staging, folder)


@dataclass
class _Worker:
    plan: CorpusPlan
    lead_sheets: Sequence[LeadSheet]
    renderer: Renderer


_worker: _Worker | None = None  # one a process, set by the pool's initialiser


def _start_worker(plan: CorpusPlan) -> None:
    global _worker
    lead_sheets = read_lead_sheets(plan.leadsheets) if plan.leadsheets else []
    _worker = _Worker(plan, lead_sheets, Renderer(plan.soundfonts, plan.sample_rate))


def _render_number(number: int) -> RenderedSong:
    if _worker is None:
        raise RuntimeError("expected the worker to be started before it renders")
    plan = _worker.plan
    song_id, split, score = compose(plan, _worker.lead_sheets, number)
    folder = plan.out / split / song_id
    if (folder / "song.json").is_file():
        return RenderedSong(song_id, split, score.duration_s, fresh=False)
    stems = _worker.renderer.render(score)
    write_song(folder, stems, song_record(score, song_id, split, plan.soundfonts), plan.sample_rate)
    return RenderedSong(song_id, split, score.duration_s, fresh=True)


def render_corpus(
    out: Path,
    hours: float,
    soundfonts: Sequence[Path],
    leadsheets: Path | None = None,
    seed: int = 1,
    workers: int = 2,
    sample_rate: int = 32000,
) -> float:
    """Renders songs until `hours` of audio exist for this seed; returns the hours there are.

    Raises:
        ValueError: hours or workers not positive, no soundfont, a file that is missing.
        RenderError: FluidSynth missing or a soundfont that it cannot read.
    """
    from tqdm import tqdm

    if hours <= 0:
        raise ValueError(f"hours: expected a positive number, got {hours}")
    if workers < 1:
        raise ValueError(f"workers: expected 1 or more, got {workers}")
    plan = CorpusPlan(Path(out), tuple(Path(f) for f in soundfonts), leadsheets, seed, sample_rate)
    # Bad arguments fail here, in one sentence, and not in a pool of processes.
    Renderer(plan.soundfonts, sample_rate).close()
    if leadsheets is not None:
        read_lead_sheets(leadsheets)
    plan.out.mkdir(parents=True, exist_ok=True)
    done_s, fresh, number = 0.0, 0, 0
    pending: deque[Future[RenderedSong]] = deque()
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(workers, context, _start_worker, (plan,)) as pool,
        tqdm(total=hours * 60, desc="rendering", bar_format=_BAR) as bar,
    ):
        while done_s < hours * 3600:
            while len(pending) < 2 * workers:
                pending.append(pool.submit(_render_number, number))
                number += 1
            song = pending.popleft().result()
            done_s += song.duration_s
            fresh += song.fresh
            bar.update(min(song.duration_s / 60, bar.total - bar.n))
        for future in pending:
            future.cancel()
    shutil.rmtree(plan.out / ".partial", ignore_errors=True)
    logger.info("%s: %.2f h, %d songs rendered now", plan.out, done_s / 3600, fresh)
    return done_s / 3600
