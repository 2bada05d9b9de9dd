"""`flowmusic invert`: learn a pseudo-word from recordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flowmusic.arguments import number, whole_number
from flowmusic.commands.options import add_model

EPILOG = """The word then stands in any prompt, beside references and --style.

examples:
  flowmusic invert song.wav --name "<mysong>" --out mysong.safetensors
  flowmusic generate --text "a calm <mysong> with piano" --inversions mysong.safetensors -o clip.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Learn a pseudo-word that stands for the sound of recordings (textual inversion)."
    parser.epilog = EPILOG
    parser.add_argument("audio", metavar="AUDIO", type=Path, nargs="+", help="recordings of 4 s or more")
    parser.add_argument("--name", required=True, help="the pseudo-word, such as '<mysong>'")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.safetensors)")
    parser.add_argument(
        "--initial-words",
        default="music",
        help="words that the pseudo-word begins as; it has as many vectors as they (default: music)",
    )
    parser.add_argument(
        "--steps",
        type=whole_number("steps", 1, 100_000),
        default=300,
        help="most training steps (default: 300)",
    )
    parser.add_argument(
        "--learning-rate",
        type=number("a rate", 0, 1, low_included=False),
        default=0.005,
        help="learning rate of Adam (default: 0.005)",
    )
    parser.add_argument(
        "--seed", type=whole_number("a seed", 0, 2**31), default=0, help="random seed (default: 0)"
    )
    add_model(parser)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from flowmusic.api.output import check_folder
    from flowmusic.api.pretrained import load_pretrained
    from flowmusic.conditioning.encoders import word_encoder
    from flowmusic.conditioning.inversion import check_inversion_path
    from flowmusic.conditioning.pseudo_words import check_name
    from flowmusic.training.invert import InversionPlan, invert

    check_name(args.name)
    check_folder(check_inversion_path(args.out))
    model = load_pretrained(args.checkpoint, args.device)
    encoder = word_encoder(model.defaults.text_encoder)
    plan = InversionPlan(steps=args.steps, learning_rate=args.learning_rate, seed=args.seed)
    with tqdm(total=args.steps, desc="inverting", leave=False, disable=None) as bar:

        def show(step: int, steps: int, best: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(loss=f"{best:.4f}")

        result = invert(
            model,
            encoder,
            args.audio,
            args.name,
            args.initial_words,
            plan,
            show,
        )
    result.inversion.save(args.out)
    sys.stdout.write(
        f"{args.out}: loss {result.start_loss:.4f} -> {result.best_loss:.4f} in {result.steps} steps\n"
    )
    return 0
