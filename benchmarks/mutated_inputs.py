"""Ten thousand damaged inputs: each is read, or refused in one sentence that names the file, within 5 s.

    python -m benchmarks.mutated_inputs --n 10000 --out /tmp/mutated

Good files of every kind are written, then changed at random: bytes and lines are dropped, doubled, swapped,
cut, replaced by others of the kind. A separate process reads each of them, so that one that would crash the
decoder is counted as well. What went wrong is kept in OUT, and listed.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

EXAMPLES = Path(__file__).parents[1] / "examples"
LIMIT_S = 5.0
CHARTS = (
    "|: C | G7/9 [1.] F :| [2.] Am ||\nbpm: 90\n[Chorus x2]\nDm7 . G7 . | Cmaj7 % | N.C.",
    "{tempo: 90}\n[Em]Hello [C]darkness [G]my old [D/F#]friend\n{soc}\n[Am]la\n{eoc}\n{chorus}",
    "C:maj@0 A:min@2.5 N@10",
    "[('C', 0.0), ('Am', 2.5), ('G7', 5.0)]",
    "C diminished | A minor seventh | B flat major | F#-7b5 C^7 x3",
)
LABELS = (
    "0.0\t2.5\tC:maj\n2.5\t5.0\tA:min/b3\n5.0\t7.5\tN\n",
    "0 25000000 C\n25000000 50000000 Am\n",
    "start,end,chord\n0,2.5,C\n2.5,5,G:7(b9)\n",
)
TABLES = (
    "time,frequency,confidence\n" + "".join(f"{i / 50},{220 + i},0.9\n" for i in range(40)),
    "Time_s   F0_Hz\n" + "".join(f"{i / 50}   {'--undefined--' if i % 5 else 200.5}\n" for i in range(40)),
    ",time_ms,midi,\n" + "".join(f"{i},{i * 20},{60 + i / 10},\n" for i in range(40)),
    "".join(f"0,{i:02d};440,{i}\n" for i in range(1, 40)),
)
REQUESTS: tuple[dict[str, Any], ...] = (
    {"text": "calm piano", "chords": "Am | F", "seed": 3, "duration": 4.5, "guidance": "drums=2,chords=3"},
    {"melody": "a.mid", "style": "b.wav", "style_excerpt": "1-3", "steps": 8, "loop": True, "loudness": -16},
    {"context": "c.wav", "keep": "0-4,6-8", "chords": [["C", 0], ["G", 2]], "bpm": 92.5, "song": 7},
)


@dataclass(frozen=True)
class Damaged:
    """A damaged file: how it is called, and what it holds."""

    kind: str
    name: str
    content: bytes


def originals() -> dict[str, list[tuple[str, bytes]]]:
    """Name and content of good files, by kind."""
    return {
        "chart": [(".txt", text.encode()) for text in CHARTS],
        "labels": [(".lab", text.encode()) for text in LABELS],
        "pitch table": [(".csv", text.encode()) for text in TABLES],
        "midi": [(".mid", _midi(i)) for i in range(4)],
        "sound": list(_sounds()),
        "request": [(".jsonl", _lines(REQUESTS)), (".jsonl", _lines(REQUESTS[:1]))],
    }


def _lines(requests: tuple[dict[str, Any], ...]) -> bytes:
    return "".join(json.dumps(request) + "\n" for request in requests).encode()


def _midi(seed: int) -> bytes:
    import mido

    draw = random.Random(seed)
    file = mido.MidiFile(type=seed % 2)
    for _ in range(1 if seed % 2 == 0 else 3):
        track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=draw.randint(200_000, 900_000))])
        for _ in range(30):
            channel, note = draw.choice((0, 1, 9)), draw.randint(30, 90)
            track.append(
                mido.Message("note_on", channel=channel, note=note, velocity=80, time=draw.randint(0, 99))
            )
            track.append(mido.Message("note_off", channel=channel, note=note, time=draw.randint(0, 240)))
        file.tracks.append(track)
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def _sounds() -> Iterator[tuple[str, bytes]]:
    import soundfile

    tone = 0.3 * np.sin(np.arange(22_050) / 9).astype(np.float32)
    stereo = np.stack([tone, tone[::-1]], axis=1)
    for ending, subtypes in (
        (".wav", ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610")),
        (".flac", ("PCM_16",)),
        (".ogg", ("VORBIS", "OPUS")),
        (".mp3", ("MPEG_LAYER_III",)),
        (".aiff", ("PCM_16",)),
        (".au", ("PCM_16",)),
    ):
        for subtype in subtypes:
            out = io.BytesIO()
            rate = 24_000 if subtype == "OPUS" else 22_050
            samples = tone if subtype == "GSM610" else stereo
            soundfile.write(out, samples, rate, format=ending[1:].upper(), subtype=subtype)
            yield ending, out.getvalue()


def damaged(n: int, seed: int) -> Iterator[Damaged]:
    """`n` damaged files: as many of each kind, with one to a few changes each."""
    draw = random.Random(seed)
    kinds = originals()
    everything = [content for files in kinds.values() for _, content in files]
    for i in range(n):
        kind = list(kinds)[i % len(kinds)]
        ending, content = draw.choice(kinds[kind])
        others = [other for _, other in kinds[kind]] if draw.random() < 0.9 else everything
        for _ in range(draw.choice((1, 1, 2, 3, 8))):
            content = _change(content, draw.choice(others), draw)
        yield Damaged(kind, f"{i:05d}{ending}", content)


def _change(content: bytes, other: bytes, draw: random.Random) -> bytes:
    def place(data: bytes) -> int:
        # Half of all changes are made to heads, where formats have most to say.
        return draw.randrange(max(1, min(len(data), 64) if draw.random() < 0.5 else len(data)))

    at = place(content)
    match draw.randrange(9):
        case 0:  # a bit
            return (
                content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]
                if content
                else b"\0"
            )
        case 1:  # some bytes
            return content[:at] + draw.randbytes(draw.choice((1, 2, 4, 64))) + content[at + 1 :]
        case 2:  # cut short
            return content[:at]
        case 3:  # a piece is missing
            return content[:at] + content[at + draw.choice((1, 2, 4, 100)) :]
        case 4:  # a piece of another file
            start = place(other)
            return content[:at] + other[start : start + draw.choice((4, 16, 200))] + content[at:]
        case 5:  # a value at its limits
            return (
                content[:at]
                + draw.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"-1", b"1e999", b"nan"))
                + content[at + 4 :]
            )
        case 6:  # lines in another order, or twice
            lines = content.split(b"\n")
            i, j = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[i] = lines[j] if draw.random() < 0.5 else b""
            return b"\n".join(lines)
        case 7:  # characters that mean something
            return (
                content[:at]
                + draw.choice(
                    ("|", ":|", "[", "]", "[1.]", "@", "x9999", "(", "{", ",", "\t", '"', "\ufeff", "é", "−")
                ).encode()
                + content[at:]
            )
        case _:  # another encoding
            return content.decode("latin-1").encode(draw.choice(("utf-16", "utf-8", "latin-1")))


def _read(kind: str, path: Path) -> object:
    """What a user would have read: references opened and turned into symbols or sound."""
    from features.references import open_reference
    from flowmusic.batch.manifest import Manifest

    if kind == "request":
        return len(list(Manifest(path)))
    role = {"chart": "chords", "labels": "chords", "pitch table": "melody"}.get(kind)
    if role is not None:
        reference = open_reference(role, path)
        return reference.chord_segments(10.0) if role == "chords" else reference.duration_s
    if kind == "sound":
        return open_reference("drums", path).duration_s
    problems = []
    for part in ("melody", "drums"):
        try:
            open_reference(part, path)
        except ValueError as error:
            problems.append(error)
    if len(problems) == 2:
        raise problems[0]
    return None


class _TooLong(BaseException):
    pass


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _TooLong


def tried(kind: str, path: Path) -> tuple[str, str, float]:
    """How reading went (`read`, `refused` or a fault), in which words, and how many seconds it took."""
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, 2 * LIMIT_S)
    started = time.perf_counter()
    try:
        _read(kind, path)
        outcome, words = "read", ""
    except ValueError as error:
        words = str(error)
        named = path.name in words and "\n" not in words and len(words) < 600 and _says_something(words, path)
        outcome = "refused" if named and type(error) is not UnicodeDecodeError else "fault: words"
    except _TooLong:
        outcome, words = "fault: time", ""
    except Exception as error:
        outcome, words = f"fault: {type(error).__name__}", str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.perf_counter() - started
    return (
        ("fault: time" if seconds > LIMIT_S and outcome in ("read", "refused") else outcome),
        words,
        seconds,
    )


def _says_something(words: str, path: Path) -> bool:
    """Whether more than the name stands there, and no words of the machinery."""
    rest = words.replace(str(path), "").strip(" :,.")
    machine = (
        "out of range",
        "division by zero",
        "empty sequence",
        "NoneType",
        "unpack",
        "object is not",
        "codec can't",
    )
    return len(rest) > 15 and not any(word in rest for word in machine)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=10_000, help="how many files (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the changes (default 0)")
    parser.add_argument("--out", type=Path, required=True, help="a folder for what went wrong")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Counter[str]] = {}
    slowest: dict[str, float] = {}
    faults = 0
    pool = ProcessPoolExecutor(1)
    for item in damaged(options.n, options.seed):
        path = options.out / item.name
        path.write_bytes(item.content)
        try:
            outcome, words, seconds = pool.submit(tried, item.kind, path).result()
        except BrokenProcessPool:
            outcome, words, seconds, pool = "fault: crash", "", 0.0, ProcessPoolExecutor(1)
        counts.setdefault(item.kind, Counter())[outcome.partition(":")[0]] += 1
        slowest[item.kind] = max(slowest.get(item.kind, 0.0), seconds)
        if outcome.startswith("fault"):
            faults += 1
            sys.stdout.write(f"{item.kind}, {item.name}: {outcome[7:]}: {words[:300]}\n")
        else:
            path.unlink()
    pool.shutdown()
    sys.stdout.write("\n| kind | read | refused | faults | slowest |\n| --- | ---: | ---: | ---: | ---: |\n")
    for kind, count in counts.items():
        sys.stdout.write(
            f"| {kind} | {count['read']} | {count['refused']} | {count['fault']} | {slowest[kind]:.2f} s |\n"
        )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
