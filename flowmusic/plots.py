"""Pictures: controls, controls against what a result was heard to do, spectrograms. PNG, no display needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.audio import Audio, AudioSource, to_audio
from features.chord_labels import parse_chord
from features.controls import N_DRUM_BANDS, PITCH_LOW_MIDI, Controls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from flowmusic.evaluation.adherence import Heard

WIDTH_IN = 11.0
DOTS_PER_INCH = 130
INK, FAINT, ABSENT = "#222222", "#8a8a8a", "#e6e6e6"
COLOURS = {"drums": "#b3541e", "melody": "#3a4cc0", "chords": "#1b7a4b"}
MAPS = {"drums": "Oranges", "melody": "Purples", "chords": "Greens"}
ROW_HEIGHTS_IN = {"drums": 0.55, "melody": 1.15, "chords": 0.95}
SPECTROGRAM_HEIGHT_IN = 1.35
LEFT_IN, RIGHT_IN, TOP_IN, BOTTOM_IN = 0.62, 0.3, 0.1, 0.5
TITLE_IN, GROUP_GAP_IN, PAIR_GAP_IN = 0.32, 0.3, 0.05
DRUM_BAND_NAMES = ("kick", "low", "snare", "hats")
PITCH_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
MEL_FLOOR_DB = -70.0
VOICED_CONFIDENCE = 0.5
# Minor chords are written as players write them.
_QUALITY_NAMES = {"maj": "", "min": "m", "maj7": "maj7", "min7": "m7", "7": "7", "dim": "°", "aug": "+", "hdim7": "ø"}


@dataclass(frozen=True)
class _Row:
    """One strip of the figure: a control, as it was asked for or heard, with what may be drawn over it."""

    control: str
    caption: str
    controls: Controls
    heard: Heard | None


def plot_controls(
    controls: Controls,
    heard: Heard,
    audio: AudioSource,
    path: str | Path,
    title: str = "",
    reference: Heard | None = None,
) -> Path:
    """What was asked for above what was heard in the result, for every control that was given.

    Args:
        controls: what the clip was to follow.
        heard: what the extractors hear in `audio`, the result.
        path: a PNG to write, whole or not at all.
        reference: what they heard where the controls came from; adds its onsets, pitch and chord labels.

    Raises:
        ValueError: the path does not end in .png.
    """
    rows = []
    for name in controls.given:
        rows.append(_Row(name, "asked", controls, reference))
        rows.append(_Row(name, "heard", heard.controls, heard))
    return _draw(rows, to_audio(audio), Path(path), title)


def plot_features(controls: Controls, path: str | Path, title: str = "", audio: AudioSource | None = None) -> Path:
    """The controls alone, above the spectrogram of `audio` where it is given.

    Raises:
        ValueError: no control is given, or the path does not end in .png.
    """
    if not controls.given:
        raise ValueError("nothing to plot: expected at least one control, got none")
    rows = [_Row(name, "", controls, None) for name in controls.given]
    return _draw(rows, None if audio is None else to_audio(audio), Path(path), title)


def plot_spectrograms(
    original: AudioSource, resynthesis: AudioSource, path: str | Path, title: str = ""
) -> Path:
    """Mel spectrograms of a recording and its resynthesis, and their difference in dB."""
    first, second = to_audio(original), to_audio(resynthesis)
    duration_s = max(first.duration_s, second.duration_s)
    figure, axes = _figure([2.0] * 3, [GROUP_GAP_IN] * 3, title, right_in=0.85)
    top_db = float(_mel_power(first).max())
    levels = [_mel_db(sound.fitted(duration_s), top_db) for sound in (first, second)]
    for axis, level, caption in zip(axes, levels, ("original", "resynthesis"), strict=False):
        image = _spectrogram(axis, level, duration_s, "magma", MEL_FLOOR_DB, 0.0)
        _caption(axis, caption, INK)
        _colour_bar(figure, axis, image, "dB")
    difference = levels[1][:, : levels[0].shape[1]] - levels[0][:, : levels[1].shape[1]]
    image = _spectrogram(axes[2], difference, duration_s, "RdBu_r", -20.0, 20.0)
    _caption(axes[2], f"difference: {np.abs(difference).mean():.2f} dB on average", INK)
    _colour_bar(figure, axes[2], image, "dB")
    _time_axis(axes, duration_s)
    return _save(figure, Path(path))


def _draw(rows: Sequence[_Row], audio: Audio | None, path: Path, title: str) -> Path:
    spans = [row.controls.grid.duration_s for row in rows] + ([audio.duration_s] if audio else [])
    duration_s = audio.duration_s if audio else max(spans)
    heights_in = [ROW_HEIGHTS_IN[row.control] for row in rows] + ([SPECTROGRAM_HEIGHT_IN] if audio else [])
    gaps_in = [PAIR_GAP_IN if row.caption == "heard" else GROUP_GAP_IN for row in rows] + ([GROUP_GAP_IN] if audio else [])
    figure, axes = _figure(heights_in, gaps_in, title)
    melody_range = _melody_range([row.controls for row in rows if row.control == "melody"])
    notes = _score_notes(rows)
    for axis, row in zip(axes, rows, strict=False):
        if row.control == "drums":
            _draw_drums(axis, row)
        elif row.control == "melody":
            _draw_melody(axis, row, melody_range)
        else:
            _draw_chords(axis, row, duration_s)
        _shade_absent(axis, row)
        if row.caption:
            axis.text(1.006, 0.5, row.caption, transform=axis.transAxes, rotation=270, fontsize=7.5, va="center", color=FAINT)
        if row.caption != "heard":
            _caption(axis, row.control, COLOURS[row.control], notes.get(row.control, ""))
    if audio:
        top_db = float(_mel_power(audio).max())
        _spectrogram(axes[-1], _mel_db(audio, top_db), audio.duration_s, "magma", MEL_FLOOR_DB, 0.0)
        _caption(axes[-1], "the result" if any(row.caption for row in rows) else "spectrogram", INK)
    _time_axis(axes, duration_s)
    return _save(figure, path)


def _score_notes(rows: Sequence[_Row]) -> dict[str, str]:
    """What the metrics say of each control, where both sides were heard by the extractors."""
    from flowmusic.evaluation.adherence import score

    asked = next((row.heard for row in rows if row.caption == "asked"), None)
    heard = next((row.heard for row in rows if row.caption == "heard"), None)
    if asked is None or heard is None:
        return {}
    scores = score(asked, heard)
    values = {
        "drums": ("onset F1", scores.drum_onset_f1),
        "melody": ("raw chroma accuracy", scores.melody_raw_chroma),
        "chords": ("overlap", scores.chord_overlap),
    }
    return {name: f"{text} {value:.2f}" for name, (text, value) in values.items() if value is not None}


def _draw_drums(axis: Axes, row: _Row) -> None:
    _heat_map(axis, row, (0.0, float(N_DRUM_BANDS)))
    axis.set_yticks(np.arange(N_DRUM_BANDS) + 0.5, DRUM_BAND_NAMES)
    axis.tick_params(axis="y", length=0)
    if row.heard is not None:
        ends = axis.get_xaxis_transform()
        axis.vlines(row.heard.onsets_s, 0.0, 1.0, transform=ends, color=INK, linewidth=0.6, alpha=0.55)


def _draw_melody(axis: Axes, row: _Row, midi_range: tuple[int, int]) -> None:
    _heat_map(axis, row, (PITCH_LOW_MIDI - 0.5, PITCH_LOW_MIDI - 0.5 + _matrix(row).shape[0]))
    if row.heard is not None:
        voiced = (row.heard.confidence >= VOICED_CONFIDENCE) & (row.heard.f0_hz > 0)
        midi = np.full(len(row.heard.f0_hz), np.nan)
        midi[voiced] = 69 + 12 * np.log2(row.heard.f0_hz[voiced] / 440.0)
        # A leap is not a glide: no line between notes.
        leaps = np.abs(np.diff(midi, prepend=midi[:1])) > 0.8
        axis.plot(row.heard.f0_times_s, np.where(leaps, np.nan, midi), color=INK, linewidth=1.0, alpha=0.8)
    low, high = midi_range
    axis.set_ylim(low - 0.5, high + 0.5)
    ticks = [midi for midi in range(low, high + 1) if midi % 12 == 0 or (high - low < 25 and midi % 12 == 7)]
    axis.set_yticks(ticks, [f"{PITCH_NAMES[midi % 12]}{midi // 12 - 1}" for midi in ticks])
    axis.grid(axis="y", color=FAINT, linewidth=0.4, alpha=0.4)


def _draw_chords(axis: Axes, row: _Row, duration_s: float) -> None:
    _heat_map(axis, row, (0.0, 12.0))
    whole = [0, 4, 7, 11]
    axis.set_yticks(np.array(whole) + 0.5, [PITCH_NAMES[i] for i in whole], fontsize=6.5)
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(0.0, 16.5)  # the labels stand in the free strip above
    axis.axhline(12.0, color=FAINT, linewidth=0.5)
    segments = chord_spans(row.controls)
    if row.heard is not None and row.heard.chords:
        segments = [(item.start_s, item.end_s, _chord_name(item.label)) for item in row.heard.chords]
    for start_s, end_s, name in segments:
        axis.axvline(start_s, color=INK, linewidth=0.5, alpha=0.5)
        if name and (min(end_s, duration_s) - start_s) / duration_s > 0.012 + 0.007 * len(name):
            axis.text(start_s + 0.006 * duration_s, 14.2, name, fontsize=8, va="center", color=INK, clip_on=True)


def _matrix(row: _Row) -> np.ndarray:
    """The part of a control that is drawn, (rows, T): bands, semitones, or sounding pitch classes."""
    value = row.controls.get(row.control)
    if value is None:
        raise ValueError(f"nothing to plot: {row.control} is absent")
    array = value.detach().cpu().numpy().T  # (channels, T)
    return np.asarray(array[24:36] if row.control == "chords" else array, dtype=np.float32)


def _heat_map(axis: Axes, row: _Row, span: tuple[float, float]) -> None:
    extent = (0.0, row.controls.grid.duration_s, *span)
    axis.imshow(
        _matrix(row), origin="lower", aspect="auto", extent=extent, cmap=MAPS[row.control], vmin=0.0, vmax=1.0,
        interpolation="nearest",
    )


def _shade_absent(axis: Axes, row: _Row) -> None:
    """Grey over the frames where the control was not given."""
    mask = row.controls.mask(row.control).numpy()
    edges = np.flatnonzero(np.diff(np.concatenate([[True], mask, [True]]).astype(int)))
    for start, stop in edges.reshape(-1, 2):
        rate = row.controls.frame_rate
        axis.axvspan(start / rate, stop / rate, facecolor=ABSENT, edgecolor="white", hatch="///", linewidth=0, zorder=3)


def chord_spans(controls: Controls) -> list[tuple[float, float, str]]:
    """(start_s, end_s, name) of the chords that a control holds, read back from its channels.

    The root is the strongest root channel; the third decides between major and minor. Frames
    without any, and spans shorter than 0.1 s, have the name "".
    """
    if controls.chords is None:
        return []
    values = controls.chords.numpy()  # (T, 37)
    names = [_frame_chord(frame) for frame in values]
    edges = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1]), len(names)]
    rate = controls.frame_rate
    spans = [(a / rate, b / rate, names[a]) for a, b in zip(edges, edges[1:], strict=False) if b > a]
    return [span for span in spans if span[1] - span[0] >= 0.1]


def _frame_chord(frame: np.ndarray) -> str:
    if frame[36] > 0.5:
        return "N.C."
    if frame[:12].max() < 0.3:
        return ""
    root = int(frame[:12].argmax())
    sounding = frame[24:36]
    minor = sounding[(root + 3) % 12] > sounding[(root + 4) % 12]
    return PITCH_NAMES[root] + ("m" if minor else "")


def _chord_name(label: str) -> str:
    """A Harte label as players write it: A:min7/b3 -> Am7/b3."""
    if label in ("N", "X"):
        return {"N": "N.C.", "X": "?"}[label]
    root, _, quality = parse_chord(label).label.partition(":")
    name, slash, bass = quality.partition("/")
    text = root + _QUALITY_NAMES.get(name, name) + slash + bass
    return text.replace("b", "♭").replace("#", "♯")


def _melody_range(controls: Sequence[Controls]) -> tuple[int, int]:
    """Lowest and highest MIDI pitch that sounds in any of them, with two semitones to spare."""
    used = [np.flatnonzero((c.melody.numpy() > 0.3).any(axis=0)) for c in controls if c.melody is not None]
    pitches = np.concatenate(used) if used else np.array([], dtype=int)
    if len(pitches) == 0:
        return 60, 72
    low, high = int(pitches.min()) - 2, int(pitches.max()) + 2
    return max(low, 0) + PITCH_LOW_MIDI, min(max(high, low + 12), 52) + PITCH_LOW_MIDI


def _mel_power(audio: Audio) -> np.ndarray:
    """Mel levels in dB, (96, F), 30 Hz to 16 kHz."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=audio.mono(), sr=audio.sample_rate, n_fft=2048, hop_length=512, n_mels=96, fmin=30.0,
        fmax=min(16_000.0, audio.sample_rate / 2),
    )
    return np.asarray(10 * np.log10(np.maximum(mel, 1e-10)))


def _mel_db(audio: Audio, top_db: float) -> np.ndarray:
    return np.maximum(_mel_power(audio) - top_db, MEL_FLOOR_DB)


def _spectrogram(axis: Axes, level: np.ndarray, duration_s: float, colours: str, low: float, high: float) -> AxesImage:
    import librosa

    image = axis.imshow(
        level, origin="lower", aspect="auto", extent=(0.0, duration_s, 0.0, float(level.shape[0])), cmap=colours,
        vmin=low, vmax=high, interpolation="nearest",
    )
    bands_hz = librosa.mel_frequencies(n_mels=level.shape[0], fmin=30.0, fmax=16_000.0)
    wanted_hz = [250, 1000, 4000, 12_000]
    places = np.interp(wanted_hz, bands_hz, np.arange(level.shape[0]))
    axis.set_yticks(places, [f"{hz / 1000:g} kHz" for hz in wanted_hz])
    return image


def _figure(
    heights_in: Sequence[float], gaps_in: Sequence[float], title: str, right_in: float = RIGHT_IN
) -> tuple[Figure, list[Axes]]:
    """Strips of the given heights, each with the gap above it, in inches: nothing moves from plot to plot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    top_in = TOP_IN + (TITLE_IN if title else 0.0)
    height_in = top_in + sum(heights_in) + sum(gaps_in) + BOTTOM_IN
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    if title:
        place = (LEFT_IN / WIDTH_IN, 1 - TOP_IN / height_in)
        figure.text(*place, title, fontsize=12, color=INK, fontweight="bold", va="top")
    axes: list[Axes] = []
    lower_in = height_in - top_in
    for row_in, gap_in in zip(heights_in, gaps_in, strict=True):
        lower_in -= row_in + gap_in
        width = (WIDTH_IN - LEFT_IN - right_in) / WIDTH_IN
        axis = figure.add_axes((LEFT_IN / WIDTH_IN, lower_in / height_in, width, row_in / height_in))
        axis.tick_params(labelsize=7.5, colors=INK, length=2, labelbottom=False)
        for spine in axis.spines.values():
            spine.set_color(FAINT)
            spine.set_linewidth(0.6)
        axes.append(axis)
    return figure, axes


def _caption(axis: Axes, text: str, colour: str, note: str = "") -> None:
    axis.set_title(text, loc="left", fontsize=9, color=colour, fontweight="bold", pad=3)
    axis.set_title(note, loc="right", fontsize=8.5, color=colour, pad=3)


def _colour_bar(figure: Figure, axis: Axes, image: AxesImage, label: str) -> None:
    box = axis.get_position()
    place = figure.add_axes((box.x1 + 0.01, box.y0, 0.012, box.height))
    figure.colorbar(image, cax=place).set_label(label, fontsize=7.5)
    place.tick_params(labelsize=7)


def _time_axis(axes: Sequence[Axes], duration_s: float) -> None:
    for axis in axes:
        axis.set_xlim(0.0, duration_s)
    axes[-1].tick_params(labelbottom=True)
    axes[-1].set_xlabel("seconds", fontsize=8.5, color=INK)


def _save(figure: Figure, path: Path) -> Path:
    """Write as PNG in the same folder, then move into place."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"cannot write {path}: expected a name that ends in .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".png")
    os.close(handle)
    try:
        figure.savefig(partial, format="png", facecolor="white")
        Path(partial).chmod(0o644)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
    return path
