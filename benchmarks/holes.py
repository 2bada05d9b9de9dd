"""Does a part of a recording that is made anew keep what is kept, follow its controls, and meet its borders?

    python -m benchmarks.holes --references corpus/valid --n 16 --out holes

Of 12 s of each reference the middle third is made anew from the controls of all 12 s, as by `flowmusic
generate --context F --keep 0-4,8-12 --controls C`. What is kept is compared sample by sample. Borders: the
spectral change at both borders beside that at other instants, mean over 40 mel bands of |level after -
level before| in dB, of 0.12 s each, the largest within one latent frame; AUC .5 says that a border cannot
be told from another instant. Inside the hole: headline adherence of its sound alone against the reference's
own, and its loudness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.common import Bench, bar, load_clips, options_of
from features.audio import Audio, read_audio, write_audio
from features.controls import CONTROL_NAMES
from features.events import ExtractedStore
from flowmusic.api.editing import BORDER_FADE_S
from flowmusic.evaluation.adherence import HEADLINE
from flowmusic.evaluation.clip_store import digest
from flowmusic.evaluation.estimates import Estimate, mean
from flowmusic.evaluation.protocol import ExtractedReference, Trial, judge
from flowmusic.evaluation.references import MIN_CLIP_S, Clip
from flowmusic.evaluation.report import SAME, Result, adherence_table, markdown_table, summarise

SIDE_S = 0.12
SUBFRAMES = 4
N_BANDS, LOWEST_HZ, HIGHEST_HZ = 40, 50.0, 14_000.0
WINDOW_S = 0.04
SILENCE_DB = -80.0
"""Of a full-scale sine; what is softer in a band counts as this."""

AWAY_S = 0.5
"""Instants nearer than this to a border are no "elsewhere"."""

REACH = 1


def spectral_change(audio: Audio, frame_rate: float) -> np.ndarray:
    """(T + 1,) dB at the instants 0, 1 ... T / `frame_rate` s; NaN where one side is not all sound."""
    hop = audio.sample_rate / frame_rate / SUBFRAMES
    n_frames = int(audio.n_samples / (hop * SUBFRAMES) + 1e-6)
    n_side = max(1, round(SIDE_S * frame_rate))
    change = np.full(n_frames + 1, np.nan)
    if n_frames < 2 * n_side:
        return change
    power = _band_powers(audio.mono(), audio.sample_rate, hop, n_frames * SUBFRAMES + 1)
    sums = np.cumsum(np.concatenate([np.zeros((1, power.shape[1])), power]), axis=0)
    # Only windows that lie inside a side as a whole: none sees what is beyond the instant.
    inset = math.ceil(WINDOW_S / 2 * audio.sample_rate / hop - 1e-6)
    starts = np.arange(n_frames - n_side + 1) * SUBFRAMES + inset
    n_windows = n_side * SUBFRAMES - 2 * inset + 1
    sides = np.maximum(sums[starts + n_windows] - sums[starts], 0.0) / n_windows  # (T - n_side + 1, bands)
    levels_db = 10 * np.log10(sides + 10 ** (SILENCE_DB / 10))
    change[n_side:-n_side] = np.abs(levels_db[n_side:] - levels_db[:-n_side]).mean(axis=1)
    return change


def _band_powers(samples: np.ndarray, sample_rate: int, hop: float, n: int) -> np.ndarray:
    """Power in mel bands of windows round every `hop` samples from 0, (n, bands); 1 is a full-scale sine."""
    import librosa.filters

    size = 2 * round(WINDOW_S * sample_rate / 2)
    window = np.hanning(size)
    highest = min(HIGHEST_HZ, sample_rate / 2)
    # Padded to twice its size, so that the narrowest band holds a bin.
    bank = librosa.filters.mel(
        sr=sample_rate, n_fft=2 * size, n_mels=N_BANDS, fmin=LOWEST_HZ, fmax=highest, norm=None
    )
    starts = np.round(np.arange(n) * hop).astype(int)
    views = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (size // 2, size)), size)
    powers = []
    # In pieces: the windows of a long clip at once would fill the memory.
    for part in np.array_split(starts, -(-n // 2048)):
        spectrum = np.fft.rfft(views[part] * window, 2 * size) * (2 / window.sum())
        powers.append((spectrum.real**2 + spectrum.imag**2) @ bank.T)
    return np.concatenate(powers)


def largest_near(change: np.ndarray, reach: int) -> np.ndarray:
    """The largest change within `reach` frames of each instant; NaN stays NaN."""
    padded = np.pad(np.where(np.isnan(change), -np.inf, change), reach, constant_values=-np.inf)
    largest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
    return np.where(np.isnan(change), np.nan, largest)


def cut(audio: Audio, start_s: float, end_s: float) -> Audio:
    """From `start_s` to `end_s` of a sound."""
    first, last = (round(time_s * audio.sample_rate) for time_s in (start_s, end_s))
    return Audio(audio.samples[:, first:last], audio.sample_rate)


@dataclass(frozen=True)
class Filled:
    """A reference, the clip with a hole filled in it, and the reference after the codec: equally long."""

    name: str
    original: Audio
    made: Audio
    resynthesis: Audio

    @property
    def hole(self) -> tuple[float, float]:
        """Its first and last second."""
        return hole_of(self.original.duration_s)


@dataclass(frozen=True)
class Borders:
    """Spectral change at borders of one kind, in dB, beside that at other instants of the same sounds."""

    name: str
    at_borders: Estimate
    elsewhere: float
    auc: Estimate


def hole_of(duration_s: float) -> tuple[float, float]:
    """The middle third, in seconds. ValueError where that is too short to extract anything from."""
    if duration_s < 3 * MIN_CLIP_S:
        raise ValueError(f"expected a duration of at least {3 * MIN_CLIP_S:g} s, got {duration_s:g}")
    return duration_s / 3, 2 * duration_s / 3


def kept_difference(item: Filled) -> float:
    """Largest difference of a kept sample to the original's, without the fades at the hole's borders."""
    start_s, end_s = item.hole
    spans = ((0.0, start_s - BORDER_FADE_S), (end_s + BORDER_FADE_S, item.original.duration_s))
    pairs = [(cut(item.made, *span).samples, cut(item.original, *span).samples) for span in spans]
    return max(float(np.abs(made - original).max(initial=0.0)) for made, original in pairs)


def hole_results(items: Sequence[Filled], store: ExtractedStore) -> list[Result]:
    """Scores of the holes' sound, cut out and judged as clips of their own, with floor and ceiling."""
    references = [
        ExtractedReference(
            Clip(item.name, cut(item.original, *item.hole), item.hole[0], "", None),
            {SAME: store.extract(cut(item.original, *item.hole))},
            {SAME: store.extract(cut(item.resynthesis, *item.hole))},
        )
        for item in items
    ]
    trials = [
        Trial(item.name, "all", i, dict.fromkeys(CONTROL_NAMES, i), "", 0) for i, item in enumerate(items)
    ]
    made = [{SAME: store.extract(cut(item.made, *item.hole))} for item in items]
    return [judge(trial, estimates, references) for trial, estimates in zip(trials, made, strict=True)]


def borders(name: str, sounds: Sequence[tuple[Audio, Audio]], frame_rate: float) -> Borders:
    """The change in the first of each pair at the hole's borders, beside that in the second away from them.

    `frame_rate` is that of the latents, in Hz. The AUC is the mean over sounds of the share of other
    instants that a border's change exceeds: its interval is over borders.
    """
    at, others, placed = [], [], []
    for sound, beside in sounds:
        instants = [round(time_s * frame_rate) for time_s in hole_of(sound.duration_s)]
        changes, rest = (largest_near(spectral_change(item, frame_rate), REACH) for item in (sound, beside))
        if beside is sound:
            for instant in instants:
                near = round(AWAY_S * frame_rate) + REACH
                rest[max(0, instant - near) : instant + near + 1] = np.nan
        rest = rest[np.isfinite(rest)]
        for change in changes[instants]:
            at.append(float(change))
            placed.append(area_under(float(change), rest))
        others.append(float(rest.mean()))
    return Borders(name, mean(at), float(np.mean(others)), mean(placed))


def area_under(change: float, others: np.ndarray) -> float:
    """The share of `others` (M,) that a change exceeds, equal ones counting half."""
    return float(np.mean(others < change) + 0.5 * np.mean(others == change))


def hole_borders(items: Sequence[Filled], frame_rate: float) -> list[Borders]:
    """The borders in the results and, where there is none, at the same instants of the originals."""
    return [
        borders("result, against the original", [(item.made, item.original) for item in items], frame_rate),
        borders("result, against the rest of it", [(item.made, item.made) for item in items], frame_rate),
        borders("original, same instants", [(item.original, item.original) for item in items], frame_rate),
    ]


def loudness_lufs(audio: Audio) -> float:
    """Integrated loudness (ITU-R BS.1770-4); -inf for silence."""
    import pyloudnorm

    return float(pyloudnorm.Meter(audio.sample_rate).integrated_loudness(audio.mono()))


def level_differences(items: Sequence[Filled]) -> dict[str, Estimate]:
    """LU of the hole, and of the codec's resynthesis, less the original's same span; silence is left out."""
    found: dict[str, list[float]] = {"hole": [], "resynthesis": []}
    for item in items:
        original, made, resynthesis = (
            loudness_lufs(cut(sound, *item.hole)) for sound in (item.original, item.made, item.resynthesis)
        )
        if all(math.isfinite(level) for level in (original, made, resynthesis)):
            found["hole"].append(made - original)
            found["resynthesis"].append(resynthesis - original)
    return {name: mean(values) for name, values in found.items()}


def fill_hole(bench: Bench, clip: Clip, seed: int) -> Filled:
    """A clip with its middle third made anew. The original is taken from a file of 16 bits, as a user's
    is.
    """
    path = bench.out / "original" / f"{clip.name}-{digest(clip.audio)}.wav"
    if not path.is_file():
        sound = clip.audio.resampled(bench.model.sample_rate)
        write_audio(path, sound.samples / max(1.0, float(np.abs(sound.samples).max())), sound.sample_rate)
    original = read_audio(path)
    start_s, end_s = hole_of(original.duration_s)
    request = bench.request(
        seed,
        context=original,
        keep=f"0-{start_s:g},{end_s:g}-{original.duration_s:g}",
        controls=bench.extracted.extract(original).controls,
    )
    made = bench.store.clip(f"filled/{clip.name}", request)
    return Filled(clip.name, original, made, bench.store.resynthesis(clip.name, original))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `holes.md` and `holes.json`."""
    options = options_of(__doc__, n=16, duration_s=12.0).parse_args(arguments)
    hole_of(options.duration)
    bench = Bench.of(options, f"Holes: {options.n} references of {options.duration:g} s")
    clips = load_clips(options)
    items = [fill_hole(bench, clip, bench.seed + i) for i, clip in enumerate(bar(clips, "holes"))]
    results = hole_results(items, bench.extracted)
    adherence = [summarise(results, HEADLINE[control]) for control in ("chords", "drums", "melody")]
    kept = max(kept_difference(item) for item in items)
    seams = hole_borders(items, bench.model.model.codec.frame_rate)
    levels = level_differences(items)
    header = ["borders", "n", "dB at borders [95 %]", "dB elsewhere", "AUC [95 %]"]
    rows: list[list[str | float | None]] = [
        [row.name, f"{row.at_borders.n}", str(row.at_borders), row.elsewhere, str(row.auc)] for row in seams
    ]
    level_rows: list[list[str | float | None]] = [
        [name, f"{level.n}", str(level)] for name, level in levels.items()
    ]
    parts = [
        f"Largest difference of a kept sample in {len(items)} clips: {kept:g} of full scale.",
        adherence_table(adherence),
        markdown_table(header, rows),
        markdown_table(["against the original's same span", "n", "LU [95 %]"], level_rows),
    ]
    numbers = {
        "kept_difference": kept,
        "adherence": [asdict(row) for row in adherence],
        "borders": [asdict(row) for row in seams],
        "levels": {name: asdict(level) for name, level in levels.items()},
    }
    bench.write("holes", "\n\n".join(parts), numbers)
    bench.show("holes")


if __name__ == "__main__":
    main()
