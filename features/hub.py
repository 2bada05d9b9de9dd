"""Models from a folder or the hub: weights as safetensors alone, no code of theirs, no question asked.

A model's configuration may name any other model, so everything that is loaded by name passes through here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import HTTPError

from features.text_files import placeholder_at, read_json

logger = logging.getLogger(__name__)

TIMEOUT_S = 10.0
_SETTINGS_FILES = ("config.json", "tokenizer_config.json", "preprocessor_config.json")


def split_revision(source: str) -> tuple[str, str | None]:
    """The place and the revision of "owner/name@revision"; None for a folder and for a plain name."""
    if Path(source).exists():
        return source, None
    place, _, revision = source.partition("@")
    return place, revision or None


def load_model(kind: Any, source: str, what: str, local_files_only: bool = False) -> Any:
    """A model of the transformers class `kind` (`AutoModel`, `EncodecModel` ...), in float32.

    Args:
        source: a folder, or "owner/name" or "owner/name@revision" of the hub.
        what: what the model is for, as the error says it.
        local_files_only: look into folders and the hub's cache, not into the hub.

    Raises:
        ValueError: it is not there, its weights are pickled, or it needs code of its own.
    """
    import torch

    return _load(kind, source, what, local_files_only, use_safetensors=True, dtype=torch.float32)


def load_settings(kind: Any, source: str, what: str, local_files_only: bool = False) -> Any:
    """The tokenizer or feature extractor of a model, by a transformers class; else as `load_model`."""
    return _load(kind, source, what, local_files_only)


def _load(kind: Any, source: str, what: str, local_files_only: bool, **options: Any) -> Any:
    from safetensors import SafetensorError

    place, revision = split_revision(source)
    try:
        if not local_files_only and not (local_files_only := _is_here(place, revision)):
            _check_reachable()
        # transformers would have a hub revision named "main" converted by a service; None is the same one
        where = {"revision": None if revision == "main" else revision, "local_files_only": local_files_only}
        with _no_progress_bar():
            _refuse_stand_ins(Path(place))
            _refuse_code(place, where)
            # without trust_remote_code=False transformers would ask on the terminal
            return kind.from_pretrained(place, trust_remote_code=False, **where, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        note = " (pickled weights are never read)" if "safetensors" in first_line else ""
        raise ValueError(f"{what} {source!r} cannot be loaded: {first_line}{note}") from error


def _refuse_stand_ins(folder: Path) -> None:
    """ValueError where a file of weights in a folder is a Git LFS pointer, a web page or empty."""
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
        if found := placeholder_at(path):
            raise ValueError(f"its {path.name} {found}")


def _refuse_code(place: str, where: dict[str, Any]) -> None:
    """ValueError where a model's settings name code: its own (auto_map), or attention kernels of the hub.

    transformers would take its own class for the one that `auto_map` names where the model's type is known
    to it, and compute something else.
    """
    from transformers.utils import cached_file

    for name in _SETTINGS_FILES:
        path = cached_file(
            place,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **where,
        )
        settings = {} if path is None else read_json(path, "settings of a model")
        if not isinstance(settings, dict):
            raise ValueError(f"its {name} holds no settings")
        kernels = "/" in str(settings.get("attn_implementation", ""))
        if named := "auto_map" if "auto_map" in settings else "attn_implementation" if kernels else None:
            raise ValueError(f"it needs custom code ({named} in its {name}), and none is executed")


def _is_here(place: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    if Path(place).exists():
        return True
    return isinstance(try_to_load_from_cache(place, "config.json", revision=revision), str)


def _check_reachable() -> None:
    """ValueError where the hub does not answer; transformers would try again for most of a minute."""
    from huggingface_hub import constants

    try:
        request.urlopen(constants.ENDPOINT, timeout=TIMEOUT_S).close()
    except HTTPError:
        logger.debug("%s answers", constants.ENDPOINT)
    except OSError as error:
        raise ValueError(
            "it is neither a folder nor in the hub's cache, and the hub "
            f"({constants.ENDPOINT}) cannot be reached: {error}"
        ) from error


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
