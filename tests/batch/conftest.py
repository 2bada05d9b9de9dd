"""A tiny model for batches, and ways to run them in this process and in others."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from features.cache import FeatureCache
from features.extract import Extractors
from features.files import PARTIAL_PREFIX
from flowmusic.api.model import FlowMusic
from flowmusic.batch.run import default_settings, run_batch
from flowmusic.batch.table import BatchSummary

QUIET = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def model(tiny_model: Path) -> FlowMusic:
    return FlowMusic.from_pretrained(tiny_model, extractors=Extractors("none", cache=FeatureCache()))


def run(model: FlowMusic, manifest: Path, out: Path, scores: bool = False, **changes: object) -> BatchSummary:
    settings = replace(default_settings(model), scores=scores, **changes)  # type: ignore[arg-type]
    summary = run_batch(model, manifest, out, settings)
    assert summary is not None
    return summary


def command(tiny_model: Path, manifest: Path, out: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "flowmusic", "batch", str(manifest), "--out", str(out), "--no-scores"]
    return [*words, "--checkpoint", str(tiny_model), "--separator", "none", *more]


def finished(out: Path) -> list[Path]:
    """Sidecars of clips that are finished; one that is being written has another name."""
    return [path for path in out.glob("clips/*.json") if not path.name.startswith(PARTIAL_PREFIX)]
