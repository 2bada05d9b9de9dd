"""Scores to audio with FluidSynth's library: every stem in one pass, by audio groups."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from flowmusic.composer.instruments import KIT_NAMES, PROGRAM_NAMES
from flowmusic.composer.score import STEMS, Part, Score

# FluidSynth applies events at its internal block boundaries.
_BLOCK = 64
_N_GROUPS = len(STEMS)
_BACKING_CHANNELS = (2, 5, 8, 11, 14)  # channel modulo 3 is the stem
_MELODY_CHANNEL = 1
_DRUM_CHANNEL = 9
_DRUM_BANK = 128
_FADE_S = 0.04
_FLUSH = 32 * _BLOCK  # what the last song left in the synthesiser is rendered away


class RenderError(RuntimeError):
    """The synthesiser is missing, or refuses what it was given."""


@dataclass(frozen=True)
class Stems:
    """Stereo float32 stems of equal length; their sum is the mix, |mix| < 1."""

    drums: np.ndarray  # (2, S)
    melody: np.ndarray  # (2, S)
    backing: np.ndarray  # (2, S)

    @property
    def mix(self) -> np.ndarray:
        return self.drums + self.melody + self.backing


@cache
def _library() -> Any:
    for name in ("fluidsynth", "fluidsynth-3", "libfluidsynth-3"):
        found = ctypes.util.find_library(name)
        if found:
            return _declare(ctypes.CDLL(found))
    raise RenderError(
        "expected the FluidSynth library to render scores and found none: install libfluidsynth3 "
        "(Debian, Ubuntu) or fluid-synth (Homebrew)"
    )


def _declare(library: Any) -> Any:
    pointer, number, integer = ctypes.c_void_p, ctypes.c_double, ctypes.c_int
    library.new_fluid_settings.restype = pointer
    library.new_fluid_synth.restype = pointer
    library.new_fluid_synth.argtypes = [pointer]
    library.delete_fluid_synth.argtypes = [pointer]
    library.delete_fluid_settings.argtypes = [pointer]
    library.fluid_settings_setint.argtypes = [pointer, ctypes.c_char_p, integer]
    library.fluid_settings_setnum.argtypes = [pointer, ctypes.c_char_p, number]
    library.fluid_synth_sfload.argtypes = [pointer, ctypes.c_char_p, integer]
    library.fluid_synth_program_select.argtypes = [pointer] + [integer] * 4
    library.fluid_synth_pin_preset.argtypes = [pointer] + [integer] * 3
    library.fluid_synth_get_sfont_by_id.argtypes = [pointer, integer]
    library.fluid_synth_get_sfont_by_id.restype = pointer
    library.fluid_sfont_get_preset.argtypes = [pointer, integer, integer]
    library.fluid_sfont_get_preset.restype = pointer
    library.fluid_synth_set_interp_method.argtypes = [pointer, integer, integer]
    library.fluid_synth_set_reverb.argtypes = [pointer] + [number] * 4
    library.fluid_synth_system_reset.argtypes = [pointer]
    for name in ("noteon", "cc"):
        getattr(library, f"fluid_synth_{name}").argtypes = [pointer] + [integer] * 3
    library.fluid_synth_noteoff.argtypes = [pointer] + [integer] * 2
    buffers = ctypes.POINTER(pointer)
    library.fluid_synth_process.argtypes = [pointer, integer, integer, buffers, integer, buffers]
    return library


def fluidsynth_missing() -> str | None:
    """Why scores cannot be rendered here, or None if they can."""
    try:
        _library()
    except (RenderError, OSError) as error:
        return str(error)
    return None


class Renderer:
    """Renders scores at `sample_rate` with soundfonts numbered in the order given.

    Raises:
        RenderError: no FluidSynth library, or a soundfont that it cannot read or that lacks presets.
        ValueError: no soundfont given.
    """

    def __init__(self, soundfonts: tuple[Path, ...], sample_rate: int = 32000) -> None:
        if not soundfonts:
            raise ValueError("expected at least one soundfont (.sf2 or .sf3), got none")
        self.sample_rate = sample_rate
        self._lib = _library()
        self._settings = self._new_settings(sample_rate)
        self._synth = self._lib.new_fluid_synth(self._settings)
        self._lib.fluid_synth_set_interp_method(self._synth, -1, 4)
        self._font_ids = [self._load(Path(path)) for path in soundfonts]

    def _new_settings(self, sample_rate: int) -> Any:
        settings = self._lib.new_fluid_settings()
        integers = {
            b"synth.audio-channels": _N_GROUPS,
            b"synth.audio-groups": _N_GROUPS,
            b"synth.effects-groups": _N_GROUPS,
            b"synth.midi-channels": 16,
            b"synth.polyphony": 128,
            b"synth.dynamic-sample-loading": 1,
            b"synth.threadsafe-api": 0,
        }
        for name, value in integers.items():
            self._lib.fluid_settings_setint(settings, name, value)
        self._lib.fluid_settings_setnum(settings, b"synth.sample-rate", float(sample_rate))
        self._lib.fluid_settings_setnum(settings, b"synth.gain", 0.4)
        return settings

    def _load(self, path: Path) -> int:
        if not path.is_file():
            raise RenderError(f"{path}: expected a soundfont file (.sf2 or .sf3), found none")
        font_id = int(self._lib.fluid_synth_sfload(self._synth, os.fsencode(path), 0))
        if font_id < 0:
            raise RenderError(f"{path}: FluidSynth cannot read it as a soundfont")
        sound_font = self._lib.fluid_synth_get_sfont_by_id(self._synth, font_id)
        wanted = [(0, program) for program in PROGRAM_NAMES] + [(_DRUM_BANK, kit) for kit in KIT_NAMES]
        missing = [w for w in wanted if not self._lib.fluid_sfont_get_preset(sound_font, *w)]
        if missing:
            raise RenderError(
                f"{path}: expected a General MIDI soundfont with the GS drum kits; it lacks "
                f"{len(missing)} presets, the first in bank {missing[0][0]}, program {missing[0][1]}"
            )
        return font_id

    def close(self) -> None:
        """Frees the synthesiser and its samples; the renderer is of no use afterwards."""
        self._lib.delete_fluid_synth(self._synth)
        self._lib.delete_fluid_settings(self._settings)

    def render(self, score: Score) -> Stems:
        """The stems of a score, balanced and scaled as its `mastering` asks."""
        n_samples = round(score.duration_s * self.sample_rate)
        self._prepare(score)
        raw = self._play(self._events(score), n_samples)  # (3, 2, S)
        raw[..., n_samples - round(_FADE_S * self.sample_rate) :] *= np.linspace(
            1, 0, round(_FADE_S * self.sample_rate), dtype=np.float32
        )
        return _master(raw, score)

    def _prepare(self, score: Score) -> None:
        lib, synth = self._lib, self._synth
        lib.fluid_synth_system_reset(synth)
        self._process(np.zeros((2 * _N_GROUPS, _FLUSH), dtype=np.float32), 0, _FLUSH)
        level = score.mastering.reverb_level
        lib.fluid_synth_set_reverb(synth, score.mastering.room_size, 0.4, 0.5, level)
        if score.drums is not None:
            drums = score.drums
            self._select(_DRUM_CHANNEL, drums.soundfont, _DRUM_BANK, drums.kit)
            lib.fluid_synth_cc(synth, _DRUM_CHANNEL, 91, round(127 * drums.reverb))
        for channel, part in _voices(score):
            self._select(channel, part.soundfont, 0, part.program)
            volume = round(100 * 10 ** (part.gain_db / 40))  # FluidSynth's CC 7 is 40 log10
            for control, value in (
                (7, min(volume, 127)),
                (91, round(127 * part.reverb)),
                (93, round(127 * part.chorus)),
                (1, round(127 * part.vibrato)),
                (10, round(64 + 63 * part.pan)),
            ):
                lib.fluid_synth_cc(synth, channel, control, value)

    def _select(self, channel: int, soundfont: int, bank: int, program: int) -> None:
        font_id = self._font_ids[soundfont % len(self._font_ids)]
        self._lib.fluid_synth_program_select(self._synth, channel, font_id, bank, program)
        # Compressed soundfonts are slow to decode: keep what was used once.
        self._lib.fluid_synth_pin_preset(self._synth, font_id, bank, program)

    def _events(self, score: Score) -> list[tuple[int, int, int, int, int]]:
        """(sample, off 0 / on 1, channel, key, velocity), in playing order."""
        rate = self.sample_rate
        events: list[tuple[int, int, int, int, int]] = []
        for channel, part in _voices(score):
            for note in part.notes:
                events.append((round(note.start_s * rate), 1, channel, note.midi, note.velocity))
                events.append((round(note.end_s * rate), 0, channel, note.midi, 0))
        for hit in score.drums.hits if score.drums else ():
            start = round(hit.time_s * rate)
            events.append((start, 1, _DRUM_CHANNEL, hit.midi, hit.velocity))
            events.append((start + rate // 4, 0, _DRUM_CHANNEL, hit.midi, 0))
        return sorted(events)

    def _play(self, events: list[tuple[int, int, int, int, int]], n_samples: int) -> np.ndarray:
        n_padded = -(-n_samples // _BLOCK) * _BLOCK  # whole blocks: nothing is left for the next song
        out = np.zeros((2 * _N_GROUPS, n_padded), dtype=np.float32)
        position = 0
        for sample, switch, channel, key, velocity in events:
            target = min(sample // _BLOCK * _BLOCK, n_samples)
            if target > position:
                self._process(out, position, target)
                position = target
            if switch:
                self._lib.fluid_synth_noteon(self._synth, channel, key, velocity)
            else:
                self._lib.fluid_synth_noteoff(self._synth, channel, key)
        self._process(out, position, n_padded)
        return np.ascontiguousarray(out[:, :n_samples]).reshape(_N_GROUPS, 2, n_samples)  # (3, 2, S)

    def _process(self, out: np.ndarray, start: int, end: int) -> None:
        if end <= start:
            return
        base, stride, width = out.ctypes.data, out.strides[0], out.itemsize
        rows = [base + row * stride + start * width for row in range(2 * _N_GROUPS)]
        # Reverb and chorus of a group land on the group's own left and right.
        effects = [rows[2 * g + side] for g in range(_N_GROUPS) for _ in "rc" for side in (0, 1)]
        dry_array = (ctypes.c_void_p * len(rows))(*rows)
        effect_array = (ctypes.c_void_p * len(effects))(*effects)
        self._lib.fluid_synth_process(
            self._synth, end - start, len(effects), effect_array, len(rows), dry_array
        )


def _voices(score: Score) -> list[tuple[int, Part]]:
    if len(score.backing) > len(_BACKING_CHANNELS):
        raise ValueError(f"expected at most {len(_BACKING_CHANNELS)} backing parts, got {len(score.backing)}")
    voices = list(zip(_BACKING_CHANNELS, score.backing, strict=False))
    if score.melody is not None:
        voices.append((_MELODY_CHANNEL, score.melody))
    return voices


def _active_rms(stem: np.ndarray) -> float:
    """RMS (S,) -> over the blocks that sound at all, so that rests do not count."""
    n_blocks = len(stem) // 1600
    power = (stem[: n_blocks * 1600].reshape(n_blocks, 1600).astype(np.float64) ** 2).mean(axis=1)
    loud = power[power > 1e-3 * power.max()] if power.size and power.max() > 0 else power[:0]
    return float(np.sqrt(loud.mean())) if loud.size else 0.0


def _master(raw: np.ndarray, score: Score) -> Stems:
    gains = {"drums": score.mastering.drums_db, "melody": score.mastering.melody_db, "backing": 0.0}
    stems = {}
    played = {"drums": score.drums, "melody": score.melody, "backing": score.backing}
    for name, stem in zip(STEMS, raw, strict=True):
        rms = _active_rms(stem.mean(axis=0)) if played[name] else 0.0
        # An absent part is exact silence, whatever the synthesiser's noise floor.
        stems[name] = stem * np.float32(10 ** (gains[name] / 20) / rms) if rms > 1e-6 else stem * 0
    peak = float(np.abs(sum(stems.values())).max())
    # Stems may cancel in the mix: none of them may clip in its own file either.
    loudest = max(float(np.abs(stem).max()) for stem in stems.values())
    scale = min(score.mastering.peak / max(peak, 1e-9), 0.99 / max(loudest, 1e-9))
    return Stems(**{name: (stem * scale).astype(np.float32) for name, stem in stems.items()})
