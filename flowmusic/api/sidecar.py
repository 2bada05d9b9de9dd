"""Jobs -> clips: one way for the command line, for batches, and for making a clip again from its sidecar."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from features.cache import content_hash
from features.controls import Controls
from features.extract import Progress, no_progress
from flowmusic.api.clip import Generation
from flowmusic.api.loudness import loudness_gain
from flowmusic.api.model import CLIP_FORMAT, FlowMusic
from flowmusic.api.request import Job, read_job

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How a clip was made, as its sidecar says: the job, the model and the extractors."""

    job: Job
    model_name: str
    fingerprint: str
    extractors: dict[str, str]
    threads: int | None = None
    composed: bool = False


def make_clip(model: FlowMusic, job: Job, progress: Progress = no_progress) -> Generation:
    """The clip that a job asks for; its metadata hold the job, with a hash of every file.

    Raises:
        ValueError: a reference that cannot be used.
    """
    clip = model.generate(
        text=job.text,
        controls=None if job.controls is None else Controls.load(job.controls),
        duration_s=job.duration_s,
        seed=job.seed or 0,
        steps=job.steps,
        solver=job.solver,
        guidance=job.guidance,
        bpm=job.bpm,
        beats_per_bar=job.beats_per_bar,
        loop_chords=job.loop_chords,
        edit=job.edit(),
        style=job.style,
        style_codebooks=job.style_codebooks,
        style_excerpt=job.style_span(),
        inversions=job.inversions,
        compose=job.compose,
        song=job.song,
        progress=progress,
        **job.sources(),  # type: ignore[arg-type]
    )
    if job.loudness_lufs is not None:
        clip = _at_loudness(clip, job.loudness_lufs, model.model.defaults.peak)
    files = {key: {"path": path, "sha256": _hash(Path(path))} for key, path in job.files.items()}
    made_of = {
        "job": job.to_dict(),
        "files": files,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    return replace(clip, metadata=clip.metadata | made_of)


def varied_from(clip: str | Path) -> Job:
    """The job of a clip that is to be varied, with the next seed: of its own noise the same clip would come.

    Without a sidecar beside the clip, a job that asks for nothing.

    Raises:
        ValueError: a sidecar that does not say how the clip was made, or whose references are gone.
    """
    beside = Path(clip).with_suffix(".json")
    if not beside.is_file():
        return Job()
    recipe = read_recipe(beside)
    job = recipe.job
    seed = job.seed or 0
    if recipe.composed and job.song is None:
        job = replace(job, song=seed)  # the same song, played anew
    return replace(job, seed=(seed + 1) % 2**63)


def with_controls(job: Job) -> Job:
    """The job; a variation takes what it does not say from its clip. ValueError as of `varied_from`."""
    return job if job.vary_from is None else replace(varied_from(job.vary_from), **job.given())


def _hash(path: Path) -> str:
    try:
        return content_hash(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error


def _at_loudness(clip: Generation, target_lufs: float, peak: float) -> Generation:
    gain = loudness_gain(clip.audio, clip.sample_rate, target_lufs, peak)
    before = clip.metadata["gain"]
    assert isinstance(before, float)
    return replace(
        clip,
        audio=np.asarray(clip.audio * np.float32(gain), dtype=np.float32),
        metadata=clip.metadata | {"gain": before * gain},
    )


def read_recipe(sidecar: str | Path) -> Recipe:
    """How to make a clip again, from its sidecar.

    A reference that has moved is looked for beside the sidecar.

    Raises:
        ValueError: no sidecar, or a reference that is gone or no longer what it was.
    """
    sidecar = Path(sidecar)
    values = _read_sidecar(sidecar)
    try:
        job, model = read_job(values["job"]), values["model"]
        recipe = Recipe(
            job,
            str(model["name"]),
            str(model["fingerprint"]),
            dict(values["listener"]),
            values.get("threads"),
            bool(values.get("composed")),
        )
        paths = {key: _found(sidecar, item["path"], item["sha256"]) for key, item in values["files"].items()}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{sidecar} does not say how its clip was made (it lacks {error})") from error
    if recipe.threads is not None and (type(recipe.threads) is not int or not 1 <= recipe.threads <= 4096):
        raise ValueError(f"{sidecar} does not say how its clip was made (threads are {recipe.threads!r})")
    if values.get("torch") != torch.__version__:
        log.warning(
            "%s was made with torch %s, this is %s: the bytes may differ",
            sidecar,
            values.get("torch"),
            torch.__version__,
        )
    return replace(recipe, job=job.with_files(paths))


def _read_sidecar(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); expected a clip's .json") from error
    except ValueError as error:
        raise ValueError(f"{path} is not a clip's .json: {error}") from error
    if not isinstance(values, dict) or values.get("format") != CLIP_FORMAT:
        raise ValueError(f"{path} is not the .json of a clip; expected format {CLIP_FORMAT!r}")
    return values


def _found(sidecar: Path, path: str, sha256: str) -> str:
    places = [Path(path), sidecar.parent / Path(path).name]
    there = [place for place in places if place.is_file()]
    if not there:
        raise ValueError(f"{path}, from which {sidecar} was made, is gone")
    for place in there:
        if _hash(place) == sha256:
            return str(place)
    raise ValueError(f"{there[0]} has changed since {sidecar} was made from it")


def check_model(model: FlowMusic, recipe: Recipe, sidecar: str | Path) -> None:
    """ValueError unless the model is the one that made the clip."""
    if model.model.fingerprint != recipe.fingerprint:
        raise ValueError(
            f"{sidecar} was made by the model {recipe.model_name} ({recipe.fingerprint}), "
            f"not by {model.model.name} ({model.model.fingerprint})"
        )
