"""The parts that the plots are put together from: strips with a time axis, spectrograms, atomic PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from features.audio import Audio
from features.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

WIDTH_IN = 11.0
LEFT_IN, RIGHT_IN, TOP_IN, BOTTOM_IN = 0.62, 0.3, 0.1, 0.5
TITLE_IN, GROUP_GAP_IN, PAIR_GAP_IN = 0.2, 0.3, 0.05
DOTS_PER_INCH = 130
INK, FAINT, ABSENT = "#222222", "#8a8a8a", "#e6e6e6"
MEL_FLOOR_DB = -70.0
MEL_SAMPLE_RATE, N_MELS, MEL_LOW_HZ, MEL_HIGH_HZ = 32_000, 96, 30.0, 16_000.0


def mel_levels_db(audio: Audio) -> np.ndarray:
    """Compute mel levels in dB, (96, F), 30 Hz to 16 kHz."""
    import librosa

    samples = audio.resampled(MEL_SAMPLE_RATE).mono()
    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=MEL_SAMPLE_RATE,
        n_fft=2048,
        hop_length=512,
        n_mels=N_MELS,
        fmin=MEL_LOW_HZ,
        fmax=MEL_HIGH_HZ,
    )
    return np.asarray(10 * np.log10(np.maximum(mel, 1e-10)))


def mel_relative_db(level: np.ndarray, top_db: float | None = None) -> np.ndarray:
    """Return mel levels (96, F) relative to `top_db` (default: their largest), floored."""
    return np.maximum(level - (float(level.max()) if top_db is None else top_db), MEL_FLOOR_DB)


def draw_spectrogram(
    axis: Axes, level: np.ndarray, duration_s: float, colours: str, low: float, high: float
) -> AxesImage:
    """Draw mel levels (96, F) over `duration_s` seconds, with frequencies at the left."""
    import librosa

    image = axis.imshow(
        level,
        origin="lower",
        aspect="auto",
        extent=(0.0, duration_s, 0.0, float(N_MELS)),
        cmap=colours,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    bands_hz = librosa.mel_frequencies(n_mels=N_MELS, fmin=MEL_LOW_HZ, fmax=MEL_HIGH_HZ)
    wanted_hz = [250, 1000, 4000, 12_000]
    places = np.interp(wanted_hz, bands_hz, np.arange(N_MELS))
    axis.set_yticks(places, [f"{hz / 1000:g} kHz" for hz in wanted_hz])
    return image


def new_figure(
    heights_in: Sequence[float], gaps_in: Sequence[float], title: str, right_in: float = RIGHT_IN
) -> tuple[Figure, list[Axes]]:
    """Make strips of the given heights, each with the gap above it, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    top_in = TOP_IN + (TITLE_IN if title else 0.0)
    height_in = top_in + sum(heights_in) + sum(gaps_in) + BOTTOM_IN
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    if title:
        place = (LEFT_IN / WIDTH_IN, 1 - TOP_IN / height_in)
        drawn = title.encode(errors="backslashreplace").decode()  # the name of a file need not be UTF-8
        figure.text(*place, drawn, fontsize=12, color=INK, fontweight="bold", va="top", parse_math=False)
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


def write_caption(axis: Axes, text: str, colour: str, note: str = "") -> None:
    axis.set_title(text, loc="left", fontsize=9, color=colour, fontweight="bold", pad=3)
    axis.set_title(note, loc="right", fontsize=8.5, color=colour, pad=3)


def colour_bar(figure: Figure, axis: Axes, image: AxesImage, label: str) -> None:
    box = axis.get_position()
    place = figure.add_axes((box.x1 + 0.01, box.y0, 0.012, box.height))
    figure.colorbar(image, cax=place).set_label(label, fontsize=7.5)
    place.tick_params(labelsize=7)


def time_axis(axes: Sequence[Axes], duration_s: float) -> None:
    for axis in axes:
        axis.set_xlim(0.0, duration_s)
    axes[-1].tick_params(labelbottom=True)
    axes[-1].set_xlabel("seconds", fontsize=8.5, color=INK)


def save_png(figure: Figure, path: Path) -> Path:
    """Write as PNG in the same folder, then move into place."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"cannot write {path}: expected a name that ends in .png")
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", facecolor="white")
    return path
