"""Pictures (PNG): controls, controls against what was extracted from a result, spectrograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.audio import Audio, AudioSource, to_audio
from features.channels import N_DRUM_BANDS, PITCH_LOW_MIDI
from features.controls import Controls
from features.extracted import Extracted
from flowmusic.plots.chord_names import PITCH_NAMES, chord_name, chord_spans
from flowmusic.plots.panels import (
    ABSENT,
    FAINT,
    GROUP_GAP_IN,
    INK,
    MEL_FLOOR_DB,
    PAIR_GAP_IN,
    colour_bar,
    draw_spectrogram,
    mel_levels_db,
    mel_relative_db,
    new_figure,
    save_png,
    time_axis,
    write_caption,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"drums": "#b3541e", "melody": "#3a4cc0", "chords": "#1b7a4b"}
MAPS = {"drums": "Oranges", "melody": "Purples", "chords": "Greens"}
SCORES = {"drums": "onset F1", "melody": "raw chroma accuracy", "chords": "overlap"}
ROW_HEIGHTS_IN = {"drums": 0.55, "melody": 1.15, "chords": 0.95}
OTHER_HEIGHT_IN, SPECTROGRAM_HEIGHT_IN = 0.55, 1.35
DRUM_BAND_NAMES = ("kick", "low", "snare", "hats")
VOICED_CONFIDENCE = 0.5


@dataclass(frozen=True)
class _Row:
    """One strip of the figure: a control, as it was given or extracted, with what may be drawn over it."""

    control: str
    caption: str
    controls: Controls
    extracted: Extracted | None


def plot_controls(
    controls: Controls,
    extracted: Extracted,
    audio: AudioSource,
    path: str | Path,
    title: str = "",
    reference: Extracted | None = None,
    scores: Mapping[str, float | None] | None = None,
) -> Path:
    """Plot what was asked for above what was extracted from the result, for every control that was given.

    Args:
        controls: what the clip was to follow.
        extracted: what the extractors find in `audio`, the result.
        path: a PNG to write, whole or not at all.
        reference: what they find where the controls came from; adds its onsets, pitch and chord labels.
        scores: figures by control, written beside those that are given throughout.

    Raises:
        ValueError: the path does not end in .png.
    """
    rows = []
    for name in controls.given:
        rows.append(_Row(name, "asked", controls, reference))
        if extracted.controls.get(name) is not None:
            rows.append(_Row(name, "extracted", extracted.controls, extracted))
    notes = {
        name: f"{SCORES[name]} {value:.2f}"
        for name, value in (scores or {}).items()
        if value is not None and bool(controls.mask(name).all())
    }
    return _draw(rows, to_audio(audio), Path(path), title, notes)


def plot_features(
    controls: Controls, path: str | Path, title: str = "", audio: AudioSource | None = None
) -> Path:
    """Plot the controls alone, above the spectrogram of `audio` where it is given.

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
    """Plot mel spectrograms of a recording and its resynthesis, and their difference in dB."""
    first, second = to_audio(original), to_audio(resynthesis)
    duration_s = max(first.duration_s, second.duration_s)
    figure, axes = new_figure([2.0] * 3, [GROUP_GAP_IN] * 3, title, right_in=0.85)
    absolute = [mel_levels_db(sound.fitted(duration_s)) for sound in (first, second)]
    levels = [mel_relative_db(level, float(absolute[0].max())) for level in absolute]
    for axis, level, caption in zip(axes, levels, ("original", "resynthesis"), strict=False):
        image = draw_spectrogram(axis, level, duration_s, "magma", MEL_FLOOR_DB, 0.0)
        write_caption(axis, caption, INK)
        colour_bar(figure, axis, image, "dB")
    difference = levels[1][:, : levels[0].shape[1]] - levels[0][:, : levels[1].shape[1]]
    image = draw_spectrogram(axes[2], difference, duration_s, "RdBu_r", -20.0, 20.0)
    write_caption(axes[2], f"difference: {np.abs(difference).mean():.2f} dB on average", INK)
    colour_bar(figure, axes[2], image, "dB")
    time_axis(axes, duration_s)
    return save_png(figure, Path(path))


def _draw(
    rows: Sequence[_Row], audio: Audio | None, path: Path, title: str, notes: Mapping[str, str] | None = None
) -> Path:
    spans = [row.controls.grid.duration_s for row in rows] + ([audio.duration_s] if audio else [])
    duration_s = audio.duration_s if audio else max(spans)
    heights_in = [ROW_HEIGHTS_IN.get(row.control, OTHER_HEIGHT_IN) for row in rows]
    heights_in += [SPECTROGRAM_HEIGHT_IN] if audio else []
    gaps_in = [PAIR_GAP_IN if row.caption == "extracted" else GROUP_GAP_IN for row in rows] + (
        [GROUP_GAP_IN] if audio else []
    )
    figure, axes = new_figure(heights_in, gaps_in, title)
    melody_range = _melody_range([row.controls for row in rows if row.control == "melody"])
    for axis, row in zip(axes, rows, strict=False):
        if row.control == "drums":
            _draw_drums(axis, row)
        elif row.control == "melody":
            _draw_melody(axis, row, melody_range)
        elif row.control == "chords":
            _draw_chords(axis, row, duration_s)
        elif _matrix(row).shape[0] == 1:
            axis.fill_between(row.controls.grid.times_s(), _matrix(row)[0], color=_colour(row), linewidth=0)
            axis.set_ylim(0.0, 1.0)
        else:
            _heat_map(axis, row, (0.0, float(_matrix(row).shape[0])))
        _shade_absent(axis, row)
        if row.caption:
            axis.text(
                1.006,
                0.5,
                row.caption,
                transform=axis.transAxes,
                rotation=270,
                fontsize=7.5,
                va="center",
                color=FAINT,
            )
        if row.caption != "extracted":
            write_caption(axis, row.control, _colour(row), (notes or {}).get(row.control, ""))
    if audio:
        level = mel_relative_db(mel_levels_db(audio))
        draw_spectrogram(axes[-1], level, audio.duration_s, "magma", MEL_FLOOR_DB, 0.0)
        write_caption(axes[-1], "the result" if any(row.caption for row in rows) else "spectrogram", INK)
    time_axis(axes, duration_s)
    return save_png(figure, path)


def _colour(row: _Row) -> str:
    return COLOURS.get(row.control, INK)


def _draw_drums(axis: Axes, row: _Row) -> None:
    _heat_map(axis, row, (0.0, float(N_DRUM_BANDS)))
    axis.set_yticks(np.arange(N_DRUM_BANDS) + 0.5, DRUM_BAND_NAMES)
    axis.tick_params(axis="y", length=0)
    if row.extracted is not None:
        ends = axis.get_xaxis_transform()
        axis.vlines(row.extracted.onsets_s, 0.0, 1.0, transform=ends, color=INK, linewidth=0.6, alpha=0.55)


def _draw_melody(axis: Axes, row: _Row, midi_range: tuple[int, int]) -> None:
    _heat_map(axis, row, (PITCH_LOW_MIDI - 0.5, PITCH_LOW_MIDI - 0.5 + _matrix(row).shape[0]))
    if row.extracted is not None:
        voiced = (row.extracted.confidence >= VOICED_CONFIDENCE) & (row.extracted.f0_hz > 0)
        midi = np.full(len(row.extracted.f0_hz), np.nan)
        midi[voiced] = 69 + 12 * np.log2(row.extracted.f0_hz[voiced] / 440.0)
        # A leap is not a glide: no line between notes.
        leaps = np.abs(np.diff(midi, prepend=midi[:1])) > 0.8
        axis.plot(
            row.extracted.f0_times_s, np.where(leaps, np.nan, midi), color=INK, linewidth=1.0, alpha=0.8
        )
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
    if row.extracted is not None and row.extracted.chords:
        segments = [(item.start_s, item.end_s, chord_name(item.label)) for item in row.extracted.chords]
    for start_s, end_s, name in segments:
        axis.axvline(start_s, color=INK, linewidth=0.5, alpha=0.5)
        if name and (min(end_s, duration_s) - start_s) / duration_s > 0.012 + 0.007 * len(name):
            axis.text(
                start_s + 0.006 * duration_s, 14.2, name, fontsize=8, va="center", color=INK, clip_on=True
            )


def _matrix(row: _Row) -> np.ndarray:
    """Return the part of a control that is drawn, (rows, T): bands, semitones, or sounding pitch classes."""
    value = row.controls.get(row.control)
    if value is None:
        raise ValueError(f"nothing to plot: {row.control} is absent")
    array = value.detach().cpu().numpy().T  # (channels, T)
    return np.asarray(array[24:36] if row.control == "chords" else array, dtype=np.float32)


def _heat_map(axis: Axes, row: _Row, span: tuple[float, float]) -> None:
    extent = (0.0, row.controls.grid.duration_s, *span)
    axis.imshow(
        _matrix(row),
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap=MAPS.get(row.control, "Greys"),
        vmin=0.0,
        vmax=1.0,
        interpolation="nearest",
    )


def _shade_absent(axis: Axes, row: _Row) -> None:
    """Shade the frames where the control was not given."""
    mask = row.controls.mask(row.control).numpy()
    edges = np.flatnonzero(np.diff(np.concatenate([[True], mask, [True]]).astype(int)))
    for start, stop in edges.reshape(-1, 2):
        rate = row.controls.frame_rate
        axis.axvspan(
            start / rate, stop / rate, facecolor=ABSENT, edgecolor="white", hatch="///", linewidth=0, zorder=3
        )


def _melody_range(controls: Sequence[Controls]) -> tuple[int, int]:
    """Return the lowest and highest MIDI pitch that sounds in any of them, two semitones wider."""
    used = [np.flatnonzero((c.melody.numpy() > 0.3).any(axis=0)) for c in controls if c.melody is not None]
    pitches = np.concatenate(used) if used else np.array([], dtype=int)
    if len(pitches) == 0:
        return 60, 72
    low, high = int(pitches.min()) - 2, int(pitches.max()) + 2
    return max(low, 0) + PITCH_LOW_MIDI, min(max(high, low + 12), 52) + PITCH_LOW_MIDI
