"""What scripts that generate clips share: options, the maker and its clips, and how tables are written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.events import ExtractedStore
from features.extract import Extractors
from flowmusic.api.model import FlowMusic
from flowmusic.api.request import Request
from flowmusic.commands.evaluate import add_references, add_sampling, heading_of, load_model, sampling_of
from flowmusic.evaluation.clip_store import ClipStore, FlowMaker
from flowmusic.evaluation.references import Clip, find_references, load_clip
from flowmusic.evaluation.report import write_lines, write_text


def options_of(
    description: str | None, n: int, duration_s: float = 10.0, solver: bool = True
) -> argparse.ArgumentParser:
    """A parser with --references, --n, --duration, --out and how clips are sampled."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_references(parser, n, duration_s)
    add_sampling(parser, solver)
    return parser


@dataclass(frozen=True)
class Bench:
    """A model, its clips in `out`/clips, and what was asked for on the command line."""

    model: FlowMusic
    store: ClipStore
    extracted: ExtractedStore
    out: Path
    duration_s: float
    seed: int
    sampling: dict[str, Any]
    heading: str

    @classmethod
    def of(cls, options: argparse.Namespace, title: str, model: FlowMusic | None = None) -> Bench:
        """The bench of parsed options. ValueError for what no request can have."""
        sampling = sampling_of(options)
        model = model or load_model(options, sampling)
        store = ClipStore(FlowMaker(model), options.out / "clips")
        extracted = ExtractedStore(options.out / "extracted", Extractors())
        heading = heading_of(title, model, options)
        return cls(model, store, extracted, options.out, options.duration, options.seed, sampling, heading)

    def request(self, seed: int, **asked: Any) -> Request:
        """A request of the bench's length, sampled as its options say unless `asked` says otherwise."""
        return Request(**{"duration": self.duration_s, "seed": seed, **self.sampling, **asked})

    def write(self, name: str, text: str, numbers: object) -> None:
        """Write `out`/NAME.md and `out`/NAME.json."""
        write_text(self.out / f"{name}.json", json.dumps(numbers, indent=2) + "\n")
        write_text(self.out / f"{name}.md", f"{self.heading}.\n\n{text}\n")

    def show(self, name: str) -> None:
        """Print `out`/NAME.md."""
        write_lines((self.out / f"{name}.md").read_text(encoding="utf-8"), None)


def load_clips(options: argparse.Namespace) -> list[Clip]:
    """The excerpts of the references."""
    return [load_clip(item, options.duration) for item in find_references(options.references, options.n)]


def bar(items: Sequence[Any], title: str) -> Iterable[Any]:
    """A progress bar."""
    from tqdm import tqdm

    shown: Iterable[Any] = tqdm(items, desc=title)
    return shown
