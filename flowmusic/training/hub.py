"""Publishing a model on the Hugging Face hub."""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub import ModelHubMixin

from flowmusic.weights import CONFIG_FILE


class ModelFolder(ModelHubMixin, library_name="flowmusic"):  # type: ignore[call-arg]
    """A model's folder, as `FlowMusic.save_pretrained` or `flowmusic export` wrote it.

    `ModelFolder(folder).push_to_hub("owner/name")` publishes it; `FlowMusic.from_pretrained("owner/name")`
    reads it back.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / CONFIG_FILE).is_file():
            raise ValueError(f"{folder} is not a model's folder: it has no {CONFIG_FILE}")
        self.folder = folder

    def _save_pretrained(self, save_directory: Path) -> None:
        for path in self.folder.iterdir():
            shutil.copy(path, save_directory / path.name)


def push_to_hub(folder: str | Path, repo_id: str, private: bool = True) -> str:
    """Publish a model's folder as `owner/name`; returns the address of the commit.

    ValueError where the hub refuses it or cannot be reached.
    """
    try:
        return str(ModelFolder(Path(folder)).push_to_hub(repo_id, private=private))
    except ValueError:
        raise
    except Exception as error:  # the hub client's network errors have no common type
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{folder} cannot be published as {repo_id}: {reason}") from error
