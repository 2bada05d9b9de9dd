"""Names of a clip, its sidecar and its plot, and whether they can be written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from features.audio import check_writable


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
    if wanted is False:
        return None
    return check_writable(clip.with_suffix(suffix) if wanted is True else wanted, (suffix,))


def check_folder(path: Path) -> None:
    """ValueError unless a file can really be made there: permissions alone do not tell (read-only disks)."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        (folder / path.name).lstat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # a name that is too long, or has NUL in it
        raise ValueError(f"cannot write {path}: {getattr(error, 'strerror', error)}") from error
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {folder} takes no file ({error.strerror})") from error


def check_new(paths: Iterable[Path]) -> None:
    """ValueError, naming it, where one of the files stands there already."""
    for path in paths:
        if path.exists():
            raise ValueError(f"{path} exists already: choose another name, or --overwrite it")
