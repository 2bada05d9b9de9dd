"""What a musician takes home: a chart, a command line, a whole session as a zip."""

from __future__ import annotations

import io
import shlex
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from features.chord_chart import parse_chord_chart
from features.files import PARTIAL_PREFIX
from features.symbols import NotationError
from flowmusic.api.clip import ClipInfo
from flowmusic.studio.lanes import Item, items, symbols
from flowmusic.studio.session import Session
from flowmusic.studio.takes import read_sound, take_paths

_CHUNK = 1 << 20
_SAME_S = 0.02


def chart_of(lane: Sequence[Item], bpm: float, beats_per_bar: float) -> str:
    """The chords of a lane as a chart: in bars where all of them lie on beats, else with their times."""
    barred = _in_bars(lane, bpm, beats_per_bar)
    if barred is not None:
        return barred
    return " ".join(f"{item['label']}@{item['start']:.3f}" for item in lane) + "\n"


def _in_bars(lane: Sequence[Item], bpm: float, beats_per_bar: float) -> str | None:
    """Bars of one chord, or of one a beat; None where that says something else than the lane."""
    n_beats = round(beats_per_bar)
    if not lane or abs(n_beats - beats_per_bar) > 1e-6:
        return None
    beat_s = 60.0 / bpm
    end = round(lane[-1]["end"] / beat_s)
    n_bars = -(-end // n_beats)
    labels = [_label_at(lane, (beat + 0.5) * beat_s) for beat in range(n_bars * n_beats)]
    bars = [labels[first : first + n_beats] for first in range(0, len(labels), n_beats)]
    text = " | ".join(bar[0] if len(set(bar)) == 1 else " ".join(bar) for bar in bars)
    lines = "\n".join(" | ".join(text.split(" | ")[first : first + 4]) for first in range(0, len(bars), 4))
    metre = f"bpm: {bpm:g}\nmetre: {n_beats}/4\n"
    try:
        back = items("chords", parse_chord_chart(metre + lines, bpm, beats_per_bar))
    except NotationError:
        return None
    return metre + lines + "\n" if _same(_joined(back), _joined(lane)) else None


def _label_at(lane: Sequence[Item], time_s: float) -> str:
    return next((item["label"] for item in lane if item["start"] <= time_s < item["end"]), "N.C.")


def _joined(lane: Sequence[Item]) -> list[tuple[float, str]]:
    """Where another chord begins; silence at the end and in gaps counts as none."""
    from features.chord_labels import NO_CHORD, parse_chord

    changes: list[tuple[float, str]] = []
    last_end = 0.0
    for segment in symbols("chords", lane):
        if segment.start_s - last_end > _SAME_S:
            changes.append((last_end, NO_CHORD))
        changes.append((segment.start_s, parse_chord(segment.label).label))
        last_end = segment.end_s
    found: list[tuple[float, str]] = []
    for time_s, label in [*changes, (last_end, NO_CHORD)]:
        if label != (found[-1][1] if found else NO_CHORD):
            found.append((time_s, label))
    return found


def _same(first: list[tuple[float, str]], second: list[tuple[float, str]]) -> bool:
    return len(first) == len(second) and all(
        a[1] == b[1] and abs(a[0] - b[0]) <= _SAME_S for a, b in zip(first, second, strict=True)
    )


def command_of(info: ClipInfo, bundled: bool) -> dict[str, str]:
    """The command line, and the Python, that make a take again."""
    values = info.request.plain()
    words = ["flowmusic", "generate"]
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{name.replace('_', '-')}")
        elif isinstance(value, dict):
            words += [word for key, item in value.items() for word in (option, f"{key}={item}")]
        elif isinstance(value, list):
            words += [word for item in value for word in (option, str(item))]
        else:
            words += [option, str(value)]
    if not bundled:
        words += ["--checkpoint", info.model.name]
    arguments = "".join(f"    {name}={value!r},\n" for name, value in values.items())
    source = "" if bundled else repr(info.model.name)
    python = (
        "from flowmusic import FlowMusic\n\n"
        f"model = FlowMusic.from_pretrained({source})\n"
        f"clip = model.generate(\n{arguments})\n"
        'clip.save("clip.wav")\n'
    )
    return {"command": shlex.join([*words, "-o", "clip.wav"]), "python": python}


def zip_of(session: Session) -> Iterator[bytes]:
    """The session's files as a zip, piece by piece: takes that were not deleted, uploads, lanes, its JSON."""
    files = [session.folder / "session.json"]
    for take in session.takes():
        if not take.deleted:
            paths = take_paths(session.takes_folder, take.id)
            files += [paths.sound, paths.sidecar, paths.plot, paths.asked, paths.extracted]
    for folder in (session.uploads_folder, session.lanes_folder):
        files += sorted(path for path in folder.iterdir() if not path.name.startswith(PARTIAL_PREFIX))
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path in files:
            if not path.is_file():
                continue
            entry = zipfile.ZipInfo.from_file(path, path.relative_to(session.folder).as_posix())
            with archive.open(entry, "w", force_zip64=True) as out, path.open("rb") as file:
                while piece := file.read(_CHUNK):
                    out.write(piece)
                    yield sink.taken()
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """What a zip is written to, and taken from at once: nothing of it is kept."""

    def __init__(self) -> None:
        self._pieces = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces += data
        return len(data)

    def taken(self) -> bytes:
        pieces, self._pieces = bytes(self._pieces), bytearray()
        return pieces


def download_name(name: str, suffix: str) -> str:
    """A name that every system takes for a file, from what a take is called."""
    plain = "".join(letter if letter.isalnum() or letter in " -_.()" else "_" for letter in name).strip(" .")
    return f"{plain[:100] or 'take'}{suffix}"


def converted(sound: Path, suffix: str) -> Path:
    """The take in another format, written once beside it."""
    from features.audio import write_audio

    path = sound.with_suffix(suffix)
    if not path.is_file():
        audio = read_sound(sound)
        write_audio(path, audio.samples, audio.sample_rate)
    return path
