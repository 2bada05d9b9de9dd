"""What is read of inputs as their owners write them: one line a case.

    python -m benchmarks.input_cases                       # this version
    PYTHONPATH=OTHER python benchmarks/input_cases.py      # another one, checked out in OTHER

Each case is written as a file or given as text, read as a reference, and shown as what came out: chords,
notes, Hz, strokes, seconds, or the sentence that refuses it.
"""

from __future__ import annotations

import io
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from features.references import open_reference

RATE = 16_000
Case = tuple[str, str, Any]
"""Its name, the control that it is a reference for, and the source: a path, text or Python values."""


def cases(folder: Path) -> Iterator[Case]:
    """All cases, their files written into a folder."""
    yield from _tables(folder)
    yield from _charts(folder)
    yield from _midi(folder)
    yield from _sounds(folder)


def _tables(folder: Path) -> Iterator[Case]:
    row = "0.20,440.000{end}\n0.21,440.000{end}\n"
    for name, text in {
        "comma at the end of each row": row.format(end=","),
        "semicolon at the end": row.format(end=",").replace(",", ";"),
        "tab at the end": row.format(end=",").replace(",", "\t"),
        "header time,midi": "time,midi\n0.20,69.0\n0.21,69.0\n",
        "header time,cents": "time,cents\n0.20,6900\n0.21,6900\n",
        "header time_ms,f0": "time_ms,f0\n200,440\n210,440\n",
        "frames with a rate": "frame (100 Hz),f0\n20,440\n21,440\n",
        "frames without one": "frame,f0\n20,440\n21,440\n",
        "unknown unit (bark)": "time,bark\n0.20,4.4\n0.21,4.4\n",
        "a bass voice at 80 Hz": "0.20,80\n0.21,80\n",
        "one row": "0.20,440\n",
        "Praat's --undefined--": "0.20 440\n0.21 --undefined--\n0.22 440\n",
        "pandas' index column": ",time,frequency\n0,0.20,440\n1,0.21,440\n",
        "decimal commas": "0,20;440,0\n0,21;440,0\n",
    }.items():
        path = folder / f"{len(list(folder.iterdir()))}.csv"
        path.write_text(text, encoding="utf-8")
        yield f"table: {name}", "melody", path


def _charts(folder: Path) -> Iterator[Case]:
    for text in (
        "|: C | G | [1.] F :| [2.] Am ||",
        "Am | F [C] | G",
        "C | G [x2]",
        "[Em] [C] [G] [D/F#]",
        "C7/9",
        "C13b9",
        "C5-",
        "C5+",
        "C9-",
        "Cm+7",
        "C^7",
        "C-7",
        "Ch7",
        "C diminished",
        "C augmented",
        "C suspended",
        "[('C', 0.0), ('Am', 2.5)]",
        " ".join(["Am F C G"] * 70) + " Q",
    ):
        yield f"chart: {text[:40]}", "chords", text
    for name, ending, text in (
        ("JASCO's list in a file", ".txt", "[('C', 0.0), ('Am', 2.5)]"),
        ("100 ns units", ".lab", "0 25000000 C\n25000000 50000000 Am\n"),
        ("milliseconds", ".lab", "0 2500 C\n2500 5000 Am\n"),
        ("Audacity's labels as .txt", ".txt", "0.000000\t2.500000\tC\n2.500000\t5.000000\tAm\n"),
    ):
        path = folder / f"{len(list(folder.iterdir()))}{ending}"
        path.write_text(text, encoding="utf-8")
        yield f"labels: {name}", "chords", path


def _midi(folder: Path) -> Iterator[Case]:
    import mido

    def on(key: int, time: int = 0, channel: int = 0, velocity: int = 90) -> Any:
        return mido.Message("note_on", channel=channel, note=key, velocity=velocity, time=time)

    def line(keys: list[int], channel: Callable[[int], int] = lambda index: 0) -> list[Any]:
        pairs = [(on(key, 0, channel(i)), on(key, 480, channel(i), 0)) for i, key in enumerate(keys)]
        return [message for pair in pairs for message in pair]

    def saved(*chunks: list[Any], ending: str = ".mid", change: Callable[[bytes], bytes] = bytes) -> Path:
        file = mido.MidiFile(type=1, ticks_per_beat=480)
        file.tracks += [mido.MidiTrack(chunk) for chunk in chunks]
        out = io.BytesIO()
        file.save(file=out)
        path = folder / f"{len(list(folder.iterdir()))}{ending}"
        path.write_bytes(change(out.getvalue()))
        return path

    scale = [60, 62, 64, 65, 67, 69, 71, 72, 74, 76]
    program = mido.Message("program_change", program=40)
    tempo = mido.MetaMessage("set_tempo", tempo=1_000_000)
    signature = mido.MetaMessage("key_signature", key="C")
    name = lambda text: mido.MetaMessage("track_name", name=text)  # noqa: E731
    yield "midi: one channel a note", "melody", saved(line(scale, lambda i: i if i < 9 else 10))
    yield "midi: program change in the middle", "melody", saved([*line(scale[:5]), program, *line(scale[5:])])
    hats = [on(42, 0, 9), on(42, 0, 9, 0), on(42, 240, 9), on(42, 0, 9, 0), on(38, 240, 9), on(38, 100, 9, 0)]
    yield "midi: hats of no length", "drums", saved(hats)
    yield (
        "midi: notes of one key overlap",
        "melody",
        saved([on(60), on(60, 240), on(60, 240, 0, 0), on(60, 480, 0, 0)]),
    )
    bend = mido.Message("pitchwheel", pitch=8191, time=240)
    yield "midi: a bend of two semitones", "melody", saved([on(60), bend, on(60, 240, 0, 0)])
    pedal = mido.Message("control_change", control=64, value=127)
    yield (
        "midi: sustain pedal",
        "melody",
        saved([pedal, on(72), on(72, 120, 0, 0), on(60, 360), on(60, 480, 0, 0)]),
    )
    yield "midi: tempo on a later track", "melody", saved(line([60, 62]), [tempo])
    yield (
        "midi: SMPTE 25 x 40",
        "melody",
        saved(line([60, 62]), change=lambda d: d[:12] + b"\xe7\x28" + d[14:]),
    )
    wrong_key = lambda d: d.replace(b"\xff\x59\x02\x00\x00", b"\xff\x59\x02\x63\x09")  # noqa: E731
    yield "midi: nonsense key signature", "melody", saved([signature, *line([60, 62])], change=wrong_key)
    yield (
        "midi: Roland's hats 22 and 26",
        "drums",
        saved([on(22, 0, 9), on(22, 10, 9, 0), on(26, 0, 9), on(26, 10, 9, 0)]),
    )
    pad = [name("Voice Oohs"), mido.Message("program_change", program=53), *line([72, 72])]
    yield "midi: a pad named Voice Oohs", "melody", saved(pad, [name("Sax"), *line([60, 62])])
    yield (
        "midi: no ticks a quarter note",
        "melody",
        saved(line([60]), change=lambda d: d[:12] + b"\0\0" + d[14:]),
    )
    yield "midi: cut within its header", "melody", saved(line([60]), change=lambda d: d[:9])
    yield "midi: .kar", "melody", saved(line([60, 62]), ending=".kar")


def _sounds(folder: Path) -> Iterator[Case]:
    import soundfile

    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE)).astype(np.float32)

    def encoded(samples: np.ndarray, kind: str, subtype: str | None = None) -> bytes:
        out = io.BytesIO()
        soundfile.write(out, samples, RATE, format=kind, subtype=subtype)
        return out.getvalue()

    def saved(ending: str, content: bytes) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}{ending}"
        path.write_bytes(content)
        return path

    wav, ogg, mp3 = encoded(tone, "WAV"), encoded(tone, "OGG"), encoded(tone, "MP3")
    noise = np.random.default_rng(0).normal(0, 0.2, 2 * RATE).astype(np.float32)
    varied = io.BytesIO()
    with soundfile.SoundFile(
        varied, "w", RATE, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
    ) as file:
        file.write(np.concatenate([noise, np.zeros(14 * RATE, np.float32)]))
    data = varied.getvalue()
    start = data.find(b"\xff", 1)
    while data[start + 1] & 0xE0 != 0xE0:
        start = data.find(b"\xff", start + 1)
    yield "sound: 16 s of VBR MP3 without a Xing header", "drums", saved(".mp3", data[start:])
    yield "sound: inverted stereo", "melody", (np.stack([tone, -tone]), RATE)
    yield "sound: 4 s of WAV, data size 0", "drums", saved(".wav", wav[:40] + bytes(4) + wav[44:])
    yield (
        "sound: 4 s of WAV, data size of 1 s",
        "drums",
        saved(".wav", wav[:40] + (2 * RATE).to_bytes(4, "little") + wav[44:]),
    )
    yield "sound: two Ogg files, chained (8 s)", "drums", saved(".ogg", ogg + encoded(tone[::-1], "OGG"))
    yield "sound: two MP3 files, joined (8 s)", "drums", saved(".mp3", mp3 + mp3)
    yield "sound: GSM in WAV", "drums", saved(".wav", encoded(tone, "WAV", "GSM610"))
    yield (
        "sound: a web page as .mp3",
        "drums",
        saved(".mp3", b"<!DOCTYPE html><html><body>404</body></html>" * 30),
    )
    yield "sound: soundfile's (samples, channels)", "drums", (np.stack([tone, tone], axis=1), RATE)


def shown(role: str, source: Any) -> str:
    """What a reference is read as."""
    from features.symbols import DrumHit, Note

    try:
        reference = open_reference(role, source)
        if role == "chords":
            return " ".join(f"{s.label}@{s.start_s:g}" for s in reference.chord_segments(12.0))[:90]
    except ValueError as error:
        return f"refused: {error}"[:220]
    except Exception as error:  # of another version, perhaps
        return f"{type(error).__name__}: {error}"[:160]
    if reference.pitch_track is not None:
        track = reference.pitch_track
        sure = "" if track.confidence is None else f", confidence {track.confidence.max():g}"
        return f"{track.f0_hz.round(1).tolist()} Hz{sure}"
    if reference.symbols:
        notes = [f"{n.midi} ({n.start_s:g}-{n.end_s:g})" for n in reference.symbols if isinstance(n, Note)]
        hits = [f"{h.midi}@{h.time_s:g}" for h in reference.symbols if isinstance(h, DrumHit)]
        return " ".join(notes or hits)[:110]
    audio: Any = reference.content
    level = float(np.abs(audio.mono()).max())
    return f"{reference.duration_s:.2f} s, {audio.n_channels} channels, peak of the mono sum {level:.2f}"


class _Kept(logging.Handler):
    """Keeps the words of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())


def main() -> int:
    kept = _Kept()
    logging.getLogger().addHandler(kept)
    with tempfile.TemporaryDirectory() as name:
        for what, role, source in cases(Path(name)):
            kept.words.clear()
            words = shown(role, source)
            if kept.words:
                words += f" (warns: {'; '.join(kept.words)[:120]})"
            sys.stdout.write(
                f"| {what} | {words} |\n".replace(f"{name}/", "").replace("\n", " ").strip() + "\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
