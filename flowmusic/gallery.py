"""The gallery: a fixed set of clips with their plots, so that every model can be compared with the last."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowmusic.api.model import FlowMusic

EXAMPLES = Path(__file__).parents[1] / "examples"
DRUMS, MELODY, CHORDS = "drums.ogg", "melody.ogg", "chords.txt"
PAGE = "index.html"


@dataclass(frozen=True)
class Item:
    """One clip of the gallery; `drums`, `melody` and `chords` are files of examples/, or a chord chart."""

    name: str
    text: str = ""
    drums: str = ""
    melody: str = ""
    chords: str = ""
    bpm: float | None = None
    duration_s: float = 10.0
    seed: int = 1


_TURN = "Am | F | C | G"
ITEMS: tuple[Item, ...] = (
    # Text alone: what the model makes of words.
    Item("text-piano", "calm solo piano, slow"),
    Item("text-rock", "a driving rock song with distorted guitars and drums, fast"),
    Item("text-jazz", "late-night jazz trio with piano, upright bass and brushes"),
    Item("text-strings", "a mournful string ensemble in a minor key, without drums"),
    Item("text-synth", "upbeat electronic dance track with synth lead and a four-on-the-floor beat"),
    Item("text-guitar", "gentle acoustic guitar, folk, in a major key"),
    Item("text-brass", "big band swing with trumpets and trombones"),
    Item("text-organ", "slow gospel ballad with organ"),
    # One control alone.
    Item("drums-alone", drums=DRUMS),
    Item("melody-alone", melody=MELODY),
    Item("chords-alone", chords=_TURN, bpm=100),
    Item("chords-jazz", "slow jazz ballad", chords="Dm7 | G7 | Cmaj7 | A7", bpm=76),
    # The same controls under other words: what they play stays, how it sounds changes.
    Item("all-jazz", "a mellow jazz trio with electric piano, relaxed", DRUMS, MELODY, CHORDS),
    Item("all-metal", "heavy metal with distorted guitar", DRUMS, MELODY, CHORDS),
    Item("all-orchestra", "orchestra with strings and french horn", DRUMS, MELODY, CHORDS),
    Item("all-synth", "synth pop with synth bass and pads", DRUMS, MELODY, CHORDS),
    # Pairs, and chords that are not the melody's own.
    Item("drums-chords", "funk band with clavinet", DRUMS, chords=_TURN, bpm=110),
    Item("melody-chords", "music box and harp", melody=MELODY, chords=CHORDS),
    Item("drums-melody", "bossa nova with nylon guitar and flute", DRUMS, MELODY),
    Item("minor-chart", "sad piano and cello", chords="Am | Dm | E7 | Am", bpm=70),
    # Other seeds, a short clip and a long one.
    Item("seed-2", "late-night jazz trio with piano, upright bass and brushes", seed=2),
    Item("seed-3", "late-night jazz trio with piano, upright bass and brushes", seed=3),
    Item("short", "a happy ukulele tune", chords="C | G", bpm=120, duration_s=4.0),
    Item("long", "cinematic ambient pad with slow piano", chords=_TURN, bpm=80, duration_s=24.0),
)


def make_gallery(
    model: FlowMusic, out: Path, examples: Path = EXAMPLES, items: Sequence[Item] = ITEMS
) -> Path:
    """Render what `out` does not hold yet of this model, and its page; returns the page.

    Raises:
        ValueError: the example references are not there.
    """
    from tqdm import tqdm

    for name in {file for item in items for file in (item.drums, item.melody, item.chords) if "." in file}:
        if not (examples / name).is_file():
            raise ValueError(
                f"{examples} has no {name}; expected the folder of the example references (--examples)"
            )
    shown: Iterable[Item] = tqdm(items, desc="gallery", unit="clip")
    for item in shown:
        if not is_done(model, item, out):
            render(model, item, out, examples)
    return write_page(model.model.name, items, out)


def render(model: FlowMusic, item: Item, out: Path, examples: Path) -> list[Path]:
    """Make one clip: sound, plot and settings."""

    def source(name: str) -> Path | str | None:
        if not name:
            return None
        return examples / name if "." in name else name

    clip = model.generate(
        text=item.text or None,
        drums=source(item.drums),
        melody=source(item.melody),
        chords=source(item.chords),
        duration_s=item.duration_s,
        seed=item.seed,
        bpm=item.bpm,
    )
    return clip.save(out / f"{item.name}.wav", plot=True, extractors=model.extractors)


def is_done(model: FlowMusic, item: Item, out: Path) -> bool:
    """Whether `out` holds this clip, made by this very model."""
    sidecar = out / f"{item.name}.json"
    files = (sidecar, sidecar.with_suffix(".wav"), sidecar.with_suffix(".png"))
    if not all(path.is_file() for path in files):
        return False
    kept = json.loads(sidecar.read_text(encoding="utf-8"))
    made = (kept["model"]["fingerprint"], kept["text"] or "", kept["seed"], kept["duration_s"])
    return bool(made == (model.model.fingerprint, item.text, item.seed, item.duration_s))


def write_page(name: str, items: Sequence[Item], out: Path) -> Path:
    """index.html: every clip with its player, its plot and what was asked for."""
    from features.files import whole_file

    parts = [
        '<!doctype html>\n<meta charset="utf-8">\n'
        f"<title>flowmusic gallery</title>\n<h1>flowmusic gallery: {html.escape(name)}</h1>\n"
        "<style>body { font-family: sans-serif; max-width: 60em; margin: auto } img { width: 100% }</style>"
    ]
    for item in items:
        sidecar = (out / f"{item.name}.json").read_text(encoding="utf-8")
        asked = [f"“{item.text}”"] if item.text else []
        asked += [
            f"{role}: {value}"
            for role, value in (("drums", item.drums), ("melody", item.melody), ("chords", item.chords))
            if value
        ]
        parts.append(
            f"<h2>{item.name}</h2>\n<p>{html.escape('; '.join(asked))}; seed {item.seed}</p>\n"
            f'<audio controls preload="none" src="{item.name}.wav"></audio>\n'
            f'<img loading="lazy" src="{item.name}.png" alt="controls of {item.name}">\n'
            f"<details><summary>settings</summary><pre>{html.escape(sidecar)}</pre></details>"
        )
    with whole_file(out / PAGE) as partial:
        partial.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return out / PAGE
