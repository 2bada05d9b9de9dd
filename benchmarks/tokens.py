"""What do the tokens of a language model leave of a recording, by the number of codebooks?

    python -m benchmarks.tokens --tokens tokens.safetensors --references corpus/valid --n 32 --out tokens

Each reference is encoded, its latents replaced by the first codebooks of the sound (and that of the stereo
image), and decoded as a clip is: no clip of the model can be more like music. Beside it stands the codec
alone. Headline adherence of the resynthesis to the reference is by the extractors that make controls, the
Fréchet distance as in `flowmusic evaluate`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.common import bar
from features.audio import Audio
from features.events import ExtractedStore
from features.extract import Extractors
from flowmusic.api.pretrained import load_pretrained
from flowmusic.api.refine import refined
from flowmusic.codec.build import AnyCodec
from flowmusic.codec.files import read_codec
from flowmusic.codec.protocol import encode_audio
from flowmusic.commands.evaluate import add_references
from flowmusic.conditioning.condition import Condition
from flowmusic.evaluation import fidelity
from flowmusic.evaluation.adherence import HEADLINE, score
from flowmusic.evaluation.embeddings import EMBEDDING, EmbeddingStore
from flowmusic.evaluation.estimates import mean
from flowmusic.evaluation.references import find_references, load_clip
from flowmusic.evaluation.report import markdown_table, write_lines, write_text
from flowmusic.lm.config import LmConfig
from flowmusic.lm.tokens import LatentTokens
from flowmusic.weights import load_exactly, read_weights


def read_tokens(path: Path) -> LatentTokens:
    """The codebooks of a file that `flowmusic.training.latent_tokens` wrote."""
    tensors = read_weights(path)
    if "sound" not in tensors or "image" not in tensors:
        raise ValueError(f"{path} holds no codebooks; expected what flowmusic.training.latent_tokens wrote")
    sound, image = tensors["sound"], tensors["image"]
    shape = LmConfig(
        latent_dim=sound.shape[2] + image.shape[2],
        image_dim=image.shape[2],
        codebooks=sound.shape[0],
        codes=sound.shape[1],
    )
    tokens = LatentTokens(shape)
    load_exactly(tokens, tensors, path)
    return tokens


@torch.no_grad()
def resynthesise(
    codec: AnyCodec, tokens: LatentTokens | None, n_codebooks: int, audio: Audio, refine: float = 0.0
) -> Audio:
    """What the codec leaves of a sound, through its first codebooks where there are tokens.

    With `refine` the bundled flow, which is given no condition, takes up their latents at that t.
    """
    original = audio.resampled(codec.sample_rate)
    latents = encode_audio(codec, original)
    if tokens is not None:
        latents = tokens.decode(tokens.encode(latents), n_codebooks)
    if refine:
        flow = load_pretrained().flow
        nothing = Condition.null(1, latents.shape[1], flow.config.condition_shape)
        latents = refined(flow, latents, nothing, refine, 0, codec.frame_rate)
    decoded = codec.decode(latents, generated=tokens is not None)[0, :, : original.n_samples]
    return Audio(decoded.numpy(), codec.sample_rate)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `tokens.md` and `tokens.json` anew after each number of codebooks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_references(parser, n=32)
    parser.add_argument("--tokens", type=Path, required=True, help="file of the codebooks (.safetensors)")
    parser.add_argument("--codec", default="bundled", help="codec that they are of (default: bundled)")
    parser.add_argument("--codebooks", help="numbers of them (default: 1, 2, 4 and so on, up to all)")
    parser.add_argument(
        "--refine", type=float, nargs="*", default=[], help="also all of them, refined from these t on"
    )
    options = parser.parse_args(arguments)
    tokens, codec = read_tokens(options.tokens), read_codec(Path(options.codec))
    n_all = len(tokens.sound)
    counts = [2**power for power in range(n_all.bit_length()) if 2**power < n_all] + [n_all]
    if options.codebooks:
        counts = [int(word) for word in options.codebooks.split(",")]
    if not all(1 <= count <= n_all for count in counts):
        raise ValueError(f"--codebooks must be from 1 to {n_all}, got {options.codebooks}")
    clips = [load_clip(item, options.duration) for item in find_references(options.references, options.n)]
    extracted, embeddings = ExtractedStore(options.out / "extracted", Extractors()), EmbeddingStore()
    originals = [embeddings.clip(clip.name, clip.audio) for clip in clips]
    own = fidelity.measure("references", originals, originals)
    rows: list[list[str | float | None]] = [["references", "", "", "", str(own.across), own.whole]]
    numbers: list[dict[str, object]] = []
    ways = [(count, 0.0) for count in (None, *counts)] + [(n_all, start) for start in options.refine]
    for count, start in ways:
        name, by = ("codec", None) if count is None else (f"{count} of {n_all} codebooks", tokens)
        name += f", refined from t = {start:g}" if start else ""
        scores, embedded = [], []
        for clip in bar(clips, name):
            made = resynthesise(codec, by, count or 0, clip.audio, start)
            scores.append(score(extracted.extract(clip.audio), extracted.extract(made)))
            embedded.append(embeddings.clip(clip.name, made))
        distance = fidelity.measure(name, embedded, originals)
        found = {control: mean(item.get(metric) for item in scores) for control, metric in HEADLINE.items()}
        rows.append([name, *(str(value) for value in found.values()), str(distance.across), distance.whole])
        figures = {control: asdict(value) for control, value in found.items()}
        numbers.append(
            {"codebooks": count, "refine": start, "followed": figures, "fidelity": asdict(distance)}
        )
        header = ["resynthesis by", *(f"{control} [95 %]" for control in HEADLINE)]
        header += ["Fréchet, across halves [95 %]", "all against all"]
        heading = f"Tokens: {len(clips)} references of {options.duration:g} s. Embedding: {EMBEDDING}.\n\n"
        write_text(options.out / "tokens.json", json.dumps(numbers, indent=2) + "\n")
        write_text(options.out / "tokens.md", heading + markdown_table(header, rows) + "\n")
    write_lines((options.out / "tokens.md").read_text(encoding="utf-8"), None)


if __name__ == "__main__":
    main()
