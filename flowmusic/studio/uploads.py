"""Files that are dropped on the page: opened in a process of their own, which a broken file may end.

    python -m flowmusic.studio.uploads FILE OUT SUFFIX

reads FILE and writes to OUT only what it has understood: a plain .wav of a recording, or the symbols as JSON.
The server never opens what was sent, only what was written here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.audio import READABLE_SUFFIXES
from features.files import whole_file
from features.suffixes import CHART_SUFFIXES, LAB_SUFFIXES, MIDI_SUFFIXES, TABLE_SUFFIXES

if TYPE_CHECKING:
    from features.audio import Audio

MAX_BYTES = 200_000_000
MAX_SYMBOL_BYTES = 32_000_000
MAX_UPLOADS = 64
MAX_OPEN_S = 120.0
MAX_SEND_S = 600.0
_MAX_ADDRESS_BYTES = 16 << 30
_MAX_OUT_BYTES = 1 << 30
_BAD_INPUT = 2

Kind = Literal["recording", "midi", "chords", "pitch"]


@dataclass(frozen=True)
class Upload:
    """What a file that was sent turned out to be; `duration` in seconds, `gives` what it is good for.

    One that is `deleted` is not shown any more; its sound stays, for the takes that follow it.
    """

    id: str
    name: str
    kind: Kind
    duration: float
    gives: tuple[str, ...]
    deleted: bool = False

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"gives": list(self.gives)}


class UploadError(ValueError):
    """A file that cannot be used; the message names it as its owner does."""


def suffix_of(name: str) -> str:
    """The ending of a name, if it is one of those that can be read; UploadError, naming it, otherwise."""
    known = (*READABLE_SUFFIXES, *MIDI_SUFFIXES, *LAB_SUFFIXES, *CHART_SUFFIXES, *TABLE_SUFFIXES)
    suffix = Path(name).suffix.lower() if "\0" not in name else ""
    if suffix not in known:
        raise UploadError(f"{name} cannot be read: expected a name that ends in {', '.join(known)}")
    return suffix


def open_upload(sent: Path, folder: Path, identity: str, name: str) -> Upload:
    """Have a file opened by another process, and keep what it understood as `identity`.wav or .json.

    Raises:
        UploadError: the file cannot be used, or the process that read it came to no end, or to a bad one.
    """
    suffix = suffix_of(name)
    if suffix not in READABLE_SUFFIXES and sent.stat().st_size > MAX_SYMBOL_BYTES:
        raise UploadError(f"{name} is larger than {MAX_SYMBOL_BYTES // 1_000_000} MB: expected symbols")
    named = sent.with_suffix(suffix)
    os.replace(sent, named)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [
        sys.executable,
        "-P",
        "-m",
        "flowmusic.studio.uploads",
        str(named),
        str(folder / identity),
        suffix,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=MAX_OPEN_S, env=environment, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UploadError(f"{name} cannot be read: it took longer than {MAX_OPEN_S:g} s") from error
    finally:
        named.unlink(missing_ok=True)
    if done.returncode == 0:
        found = json.loads(done.stdout)
        return Upload(identity, name, found["kind"], found["duration"], tuple(found["gives"]))
    said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    if done.returncode == _BAD_INPUT and said:
        raise UploadError(said.replace(str(named), name))
    raise UploadError(f"{name} cannot be read: the process that opened it ended with {done.returncode}")


def _limit() -> None:
    """Bound what opening a file may take of the machine, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in (
        (resource.RLIMIT_AS, _MAX_ADDRESS_BYTES),
        (resource.RLIMIT_FSIZE, _MAX_OUT_BYTES),
        (resource.RLIMIT_CPU, int(MAX_OPEN_S)),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        bounded = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bounded, bounded))


def read_upload(path: Path, out: Path, suffix: str) -> dict[str, Any]:
    """Read a file, write what it holds, and say what it is. ValueError where it cannot be used."""
    if suffix in MIDI_SUFFIXES:
        return _midi(path, out)
    if suffix in (*LAB_SUFFIXES, *CHART_SUFFIXES):
        return _chords(path, out)
    if suffix in READABLE_SUFFIXES:
        return _recording(path, out)
    return _pitch(path, out)


def _recording(path: Path, out: Path) -> dict[str, Any]:
    from features.audio import write_audio
    from features.recordings import open_recording

    _, audio = open_recording(path, str(path))
    with whole_file(out.with_suffix(".wav")) as partial:
        write_audio(partial, _within_one(audio), audio.sample_rate)
    return {
        "kind": "recording",
        "duration": audio.duration_s,
        "gives": ["drums", "melody", "chords", "style"],
    }


def _within_one(audio: Audio) -> Any:
    import numpy as np

    return audio.samples / max(1.0, float(np.abs(audio.samples).max()))


def _midi(path: Path, out: Path) -> dict[str, Any]:
    from features.notation import read_midi
    from features.symbols import NotationError
    from flowmusic.studio.lanes import items

    score = read_midi(path)
    lanes: dict[str, Any] = {}
    reasons = []
    for role, read in (("melody", score.melody), ("drums", score.drum_hits)):
        try:
            lanes[role] = items(role, read())
        except NotationError as error:
            reasons.append(error)
    lanes = {role: lane for role, lane in lanes.items() if lane}
    if not lanes:
        raise reasons[0] if reasons else NotationError(f"{path} holds no notes")
    ends = [item.get("end", item.get("time")) for lane in lanes.values() for item in lane]
    return _symbols(out, "midi", lanes, max(ends))


def _chords(path: Path, out: Path) -> dict[str, Any]:
    from features.notation import read_chords
    from flowmusic.studio.lanes import items

    segments = read_chords(path)
    return _symbols(out, "chords", {"chords": items("chords", segments)}, segments[-1].end_s)


def _pitch(path: Path, out: Path) -> dict[str, Any]:
    import numpy as np

    from features.references import open_reference
    from flowmusic.studio.lanes import items, notes_of_pitch

    reference = open_reference("melody", path)
    track = reference.pitch_track
    assert track is not None
    f0_hz = np.nan_to_num(track.f0_hz)
    sure = np.ones(f0_hz.size) if track.confidence is None else track.confidence
    notes = notes_of_pitch(track.times_s, f0_hz, sure)
    curve = [[round(float(t), 4), round(float(f), 2)] for t, f in zip(track.times_s, f0_hz, strict=True)]
    return _symbols(out, "pitch", {"melody": items("melody", notes), "curve": curve}, reference.duration_s)


def _symbols(out: Path, kind: Kind, lanes: dict[str, Any], duration_s: float) -> dict[str, Any]:
    with whole_file(out.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(lanes), encoding="utf-8")
    return {"kind": kind, "duration": duration_s, "gives": [role for role in lanes if role != "curve"]}


def main(path: str, out: str, suffix: str) -> int:
    """Exit code 0, and what was found as JSON on stdout; or 2, and one sentence on stderr."""
    from flowmusic.errors import is_bad_input, sentence

    _limit()
    try:
        found = read_upload(Path(path), Path(out), suffix)
    except Exception as error:
        if not is_bad_input(error):
            raise
        sys.stderr.write(f"{sentence(error)}\n")
        return _BAD_INPUT
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
