"""The files of a model: where its folder lies, here or on the hub, and its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.hub import split_revision
from features.text_files import read_json
from flowmusic.weights import CONFIG_FILE

FORMAT = "flowmusic.model.1"
BUNDLED = "bundled"
"""The name of the model that comes with the package."""

BUNDLED_LM = "lm"
"""The name of the language model that comes with it."""

_ASSETS = Path(__file__).parent / "assets"
BUNDLED_FOLDER = _ASSETS / "default"
_BUNDLED_FOLDERS = {BUNDLED: BUNDLED_FOLDER, BUNDLED_LM: _ASSETS / "lm"}
CODEC_FILE, CARD_FILE, LICENSE_FILE = "codec.safetensors", "README.md", "LICENSE"
NETWORK_FILES = {"flow": "flow.safetensors", "lm": "lm.safetensors"}
"""Weights of what makes latents, by the section of the configuration that describes it: one of both."""

MODEL_FILES = (CONFIG_FILE, CODEC_FILE, *NETWORK_FILES.values(), CARD_FILE, LICENSE_FILE)
FLOW_FILE = NETWORK_FILES["flow"]

PICKLE_SUFFIXES = (".ckpt", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".th")
"""How files end that torch, or Python, pickles."""


@dataclass(frozen=True)
class Terms:
    """Under which licence (an SPDX expression) weights may be used, and whom to credit; empty where not
    known.
    """

    license: str = ""
    credits: str = ""

    @classmethod
    def of(cls, source: str | Path) -> Terms:
        """The terms of a model: a folder, a hub id, or 'bundled'; empty for weights without a model."""
        folder = (
            resolve(source) if str(source) in _BUNDLED_FOLDERS or not Path(source).exists() else Path(source)
        )
        folder = folder.parent if folder.is_file() else folder
        if not (folder / CONFIG_FILE).is_file():
            return cls()
        config = read_config(folder / CONFIG_FILE)
        return cls(str(config.get("license", "")), str(config.get("credits", "")))


def resolve(source: str | Path | None) -> Path:
    """The folder of a model; fetched from the hub where `source` is an id such as `owner/name`."""
    source = BUNDLED if source is None else source
    bundled = _BUNDLED_FOLDERS.get(str(source))
    if bundled is not None:
        if not (bundled / CONFIG_FILE).is_file():
            raise ValueError(f"the bundled model is missing from {bundled}: install flowmusic again")
        return bundled
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        pickled = folder.suffix.lower() in PICKLE_SUFFIXES
        note = (
            "; no pickle is loaded, and `flowmusic export` makes a model of a checkpoint" if pickled else ""
        )
        raise ValueError(
            f"{source} is a file; expected the folder of a model, with a {CONFIG_FILE} in it{note}"
        )
    repo_id, revision = split_revision(str(source))
    parts = repo_id.split("/")
    if len(parts) != 2 or not all(parts) or str(source).startswith((".", "~")):
        raise ValueError(
            f"{source} does not exist; expected the folder of a model, or a hub id owner/name[@revision]"
        )
    return _download(repo_id, revision)


def _download(repo_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        return Path(
            snapshot_download(repo_id, revision=revision, allow_patterns=list(MODEL_FILES), etag_timeout=5)
        )
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise ValueError(f"{repo_id} is neither a folder here nor a model on the hub") from error
    except Exception as error:  # the hub client's network errors have no common type
        raise ValueError(
            f"{repo_id} is no folder here and the hub cannot be reached ({type(error).__name__}); "
            "give the folder of a model, or leave it out for the bundled one"
        ) from error


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of a model. ValueError, naming the file, where it is something else."""
    if not path.is_file():
        raise ValueError(f"{path.parent} is not a model: it has no {path.name}")
    config = read_json(path, f"the configuration of a model ({FORMAT})")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else None
        raise ValueError(f"{path} has format {found!r}; expected {FORMAT!r}")
    networks = [key for key in NETWORK_FILES if key in config]
    if len(networks) > 1:
        raise ValueError(f"{path} has the sections {' and '.join(networks)}; expected one of them")
    for key in ("codec", *(networks or ["flow"]), "defaults"):
        if not isinstance(config.get(key), dict) and not (key == "codec" and config.get(key) == BUNDLED):
            raise ValueError(f"{path} lacks the section {key!r}")
    return config


def network_of(config: dict[str, Any]) -> str:
    """Which section of a configuration describes what makes latents: 'flow' or 'lm'."""
    return next(key for key in NETWORK_FILES if key in config)


def codec_place(folder: Path, config: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """The folder that holds a model's codec, and the codec's description: its own, or the bundled model's."""
    if config["codec"] == BUNDLED:
        folder = resolve(BUNDLED)
        config = read_config(folder / CONFIG_FILE)
    return folder, config["codec"]
