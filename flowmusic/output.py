"""Writing a clip with its sidecar and its plot: all of them, or none."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from features.audio import Audio, check_writable, write_audio
from features.choices import drum_separator
from features.listen import Listener
from features.separators import NoSeparator

if TYPE_CHECKING:
    from flowmusic.pipeline import Generation


def output_paths(
    path: Path, plot: str | Path | bool = False, sidecar: str | Path | bool = True
) -> tuple[Path, Path | None, Path | None]:
    """Paths of clip, sidecar and plot, once it is sure that all can be written.

    Raises:
        ValueError: a name with a wrong ending, or a folder that takes no files; naming it.
    """
    clip = check_writable(path)
    json_path = _beside(clip, sidecar, ".json")
    png_path = _beside(clip, plot, ".png")
    if len({clip, json_path, png_path} - {None}) < 1 + (json_path is not None) + (png_path is not None):
        raise ValueError(
            f"clip, sidecar and plot need names of their own, got {clip}, {json_path}, {png_path}"
        )
    for item in (clip, json_path, png_path):
        if item is not None:
            check_folder(item)
    return clip, json_path, png_path


def _beside(clip: Path, wanted: str | Path | bool, suffix: str) -> Path | None:
    if isinstance(wanted, bool):
        return clip.with_suffix(suffix) if wanted else None
    return check_writable(wanted, (suffix,))


def check_folder(path: Path) -> None:
    """ValueError unless a file can really be made there: permissions alone do not tell (read-only disks)."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {folder} takes no file ({error.strerror})") from error


def save_generation(
    generation: Generation,
    path: Path,
    plot: str | Path | bool = False,
    sidecar: str | Path | bool = True,
    listener: Listener | None = None,
) -> list[Path]:
    """Write what `Generation.save` describes; returns the files in the order clip, sidecar, plot."""
    clip, json_path, png_path = output_paths(path, plot, sidecar)
    finals = [item for item in (clip, json_path, png_path) if item is not None]
    partials = {item: item.with_name(f".{item.stem}-{os.getpid()}{item.suffix}") for item in finals}
    try:
        for item in finals:
            item.parent.mkdir(parents=True, exist_ok=True)
        write_audio(partials[clip], generation.audio, generation.sample_rate)
        if json_path is not None:
            text = json.dumps(generation.metadata, indent=2, ensure_ascii=False) + "\n"
            partials[json_path].write_text(text, encoding="utf-8")
        if png_path is not None:
            draw(generation, partials[png_path], listener or Listener())
        for item in finals:
            os.replace(partials[item], item)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
    return finals


def draw(generation: Generation, path: Path, listener: Listener) -> Path:
    """Plot every control against what the extractors hear in the clip."""
    from flowmusic.evaluation.listening import Ears, listen_to
    from flowmusic.plots import plot_controls

    audio = Audio(generation.audio, generation.sample_rate)
    # A reference may be a drum stem already; the clip never is.
    is_none = isinstance(listener.separator, NoSeparator)
    separator = drum_separator("embedded") if is_none else listener.separator
    heard = listen_to(audio, Ears(separator, listener.melody, listener.chords))
    text = generation.metadata.get("text")
    return plot_controls(generation.controls, heard, audio, path, title=str(text) if text else "")
