"""Three ways to stream prepared songs, measured on the same data: what the choice of format rests on.

    pip install litdata webdataset
    python benchmarks/shards.py --songs FOLDER --work EMPTY_FOLDER

FOLDER holds songs as safetensors files, one a song. Every way draws batches of random excerpts
(latents and three controls) in random order of songs. `resume` is the time until batch 400 is there
again in a fresh process, as after a crash.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load, load_file
from torch import Tensor

from flowmusic.data.shards import ShardReader, SongEntry, read_listing, shard_files, write_shard

NAMES = {"latents": 1, "drums": 2, "melody": 2, "chords": 2}
BATCH, FRAMES, SHARD, MEASURED, RESUMED = 12, 200, 32, 200, 400


def excerpt(song: dict[str, Tensor], n_frames: int, generator: torch.Generator) -> list[Tensor]:
    start = int(torch.randint(n_frames - FRAMES + 1, (1,), generator=generator))
    return [song[name][start * fold : (start + FRAMES) * fold].float() for name, fold in NAMES.items()]


def collate(items: list[list[Tensor]]) -> list[Tensor]:
    return [torch.stack(column) for column in zip(*items, strict=True)]


def safetensors_write(songs: list[Path], work: Path) -> None:
    for number in range(0, len(songs), SHARD):
        part = []
        for path in songs[number : number + SHARD]:
            tensors = load_file(path)
            part.append((SongEntry(path.stem, path.stem, len(tensors["latents"]), 0, ""), tensors))
        write_shard(work / "train" / f"{number:05d}.safetensors", part)


def safetensors_read(work: Path, first: int) -> Iterator[list[Tensor]]:
    reader = ShardReader()
    listing = [(path, song) for path in shard_files(work, "train") for song in read_listing(path)]
    listing = [item for item in listing if item[1].n_frames >= FRAMES]
    for number in itertools.count(first):
        generator = torch.Generator().manual_seed(number)
        drawn = torch.randint(len(listing), (BATCH,), generator=generator).tolist()
        items = []
        for path, song in (listing[index] for index in drawn):
            items.append(excerpt(reader.song(path, song.key), song.n_frames, generator))  # type: ignore[arg-type]
        yield collate(items)


def webdataset_write(songs: list[Path], work: Path) -> None:
    import webdataset

    work.mkdir(parents=True)
    with webdataset.ShardWriter(str(work / "%05d.tar"), maxcount=SHARD, verbose=0) as writer:
        for path in songs:
            writer.write({"__key__": path.stem, "safetensors": path.read_bytes()})


def webdataset_read(work: Path, first: int) -> Iterator[list[Tensor]]:
    import webdataset

    generator = torch.Generator().manual_seed(0)
    shards = [str(path) for path in sorted(work.glob("*.tar"))]
    data = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=0).repeat()
    data = data.shuffle(4 * SHARD, rng=random.Random(0))
    songs = (load(sample["safetensors"]) for sample in data)
    items = (
        excerpt(song, len(song["latents"]), generator) for song in songs if len(song["latents"]) >= FRAMES
    )
    batches = (collate([next(items) for _ in range(BATCH)]) for _ in itertools.count())
    return itertools.islice(batches, first, None)  # the only way to a place: through all before it


def litdata_write(songs: list[Path], work: Path) -> None:
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(work), chunk_size=SHARD)
    for index, path in enumerate(songs):
        writer[index] = {"song": path.read_bytes()}
    writer.done()
    writer.merge(1)


def litdata_read(work: Path, first: int) -> Iterator[list[Tensor]]:
    from litdata import StreamingDataset

    generator = torch.Generator().manual_seed(0)
    data = StreamingDataset(str(work), shuffle=True, seed=0)
    if first:  # its own state, of one epoch and a place in it
        iter(data)
        place = data.state_dict(first * BATCH % len(data), num_workers=1, batch_size=1)
        data = StreamingDataset(str(work), shuffle=True, seed=0)
        data.load_state_dict(place | {"current_epoch": 1 + first * BATCH // len(data)})
    songs = (load(bytes(sample["song"])) for _ in itertools.count() for sample in data)
    items = (
        excerpt(song, len(song["latents"]), generator) for song in songs if len(song["latents"]) >= FRAMES
    )
    return (collate([next(items) for _ in range(BATCH)]) for _ in itertools.count())


WAYS = {
    "safetensors": (safetensors_write, safetensors_read),
    "webdataset": (webdataset_write, webdataset_read),
    "litdata": (litdata_write, litdata_read),
}


def measure(way: str, work: Path, first: int) -> None:
    """Print the figures of one way, in a process of its own."""
    _, read = WAYS[way]
    list(map(len, []))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    batches = read(work, first)
    next(batches)
    opened = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(MEASURED):
        next(batches)
    batch_ms = (time.perf_counter() - started) / MEASURED * 1000
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sys.stdout.write(f"{opened:.2f} {batch_ms:.1f} {grown:.0f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--songs", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.one:
        measure(args.one[0], args.work / args.one[0], int(args.one[1]))
        return
    songs = [path for path in sorted(args.songs.glob("*.safetensors")) if ".heard." not in path.name][
        : args.n
    ]
    sys.stdout.write("| way | write (s) | ms a batch | grown memory (MB) | first batch (s) | resume (s) |\n")
    sys.stdout.write("| --- | --- | --- | --- | --- | --- |\n")
    for way, (write, _) in WAYS.items():
        shutil.rmtree(args.work / way, ignore_errors=True)
        started = time.perf_counter()
        write(songs, args.work / way)
        written = time.perf_counter() - started
        rows = []
        for first in (0, RESUMED):
            command = [sys.executable, __file__, "--songs", str(args.songs), "--work", str(args.work)]
            done = subprocess.run(
                [*command, "--one", way, str(first)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise RuntimeError(done.stderr[-2000:])
            rows.append(done.stdout.split())
        cells = [f"{written:.1f}", rows[0][1], rows[0][2], rows[0][0], rows[1][0]]
        sys.stdout.write(f"| {way} | " + " | ".join(cells) + " |\n")


if __name__ == "__main__":
    main()
