"""Files of tensors (safetensors): opened, written whole or not at all, and distinguished from other files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from features.files import whole_file
from features.text_files import placeholder

if TYPE_CHECKING:
    from torch import Tensor

_HEAD_BYTES = 512
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How the files of torch.save begin, and other pickles."""


def open_tensors(path: str | Path, what: str = "weights") -> Any:
    """A safetensors file, opened by `safetensors.safe_open`.

    Raises:
        ValueError: names the file and what it is instead: a Git LFS pointer, a web page, a pickle (none is
            loaded), cut short ...; `what` is what was expected in it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if _is_utf8(Path(path)):
            return safe_open(str(path), framework="pt")
        with TemporaryDirectory() as folder:  # safetensors takes only paths in UTF-8
            link = Path(folder) / "tensors"
            link.symlink_to(Path(path).absolute())
            return safe_open(str(link), framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} {_what_is_amiss(Path(path), what, error)}") from error


def read_tensors(path: str | Path, what: str = "weights") -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, and its metadata. ValueError as of `open_tensors`."""
    with open_tensors(path, what) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
        return tensors, file.metadata() or {}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write safetensors, whole or not at all. OSError where the system takes no file there."""
    from safetensors import SafetensorError
    from safetensors.torch import save, save_file

    try:
        with whole_file(path) as partial:
            if _is_utf8(partial):
                save_file(dict(tensors), partial, metadata=metadata)
            else:  # a path that safetensors does not take
                partial.write_bytes(save(dict(tensors), metadata=metadata))
    except SafetensorError as error:  # a full disk
        raise OSError(f"{path} cannot be written: {error}") from error


def _what_is_amiss(path: Path, what: str, error: Exception) -> str:
    refusal = f"cannot be read as {what} (safetensors)"
    if not path.exists():
        return f"{refusal}: it does not exist"
    if not path.is_file():
        return f"{refusal}: it is no file"
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as problem:
        return f"{refusal}: {problem.strerror}"
    if found := placeholder(head):
        return f"{found}; expected {what} (safetensors)"
    if head.startswith(_PICKLES):
        return f"{refusal}: it is a pickle, and no pickle is loaded; convert it to safetensors"
    if head[8:9] == b"{":
        return f"{refusal}: it is cut short or damaged ({error})"
    return f"{refusal}: {error}"


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
