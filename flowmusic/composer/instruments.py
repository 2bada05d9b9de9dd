"""General MIDI programs by the words that people use for them, and drum keys by name."""

from __future__ import annotations

PROGRAM_NAMES: dict[int, str] = {
    0: "piano", 1: "bright piano", 2: "electric grand piano", 3: "honky-tonk piano",
    4: "electric piano", 5: "electric piano", 6: "harpsichord", 7: "clavinet",
    8: "celesta", 9: "glockenspiel", 10: "music box", 11: "vibraphone", 12: "marimba",
    13: "xylophone", 14: "tubular bells", 15: "dulcimer",
    16: "organ", 17: "percussive organ", 18: "rock organ", 19: "church organ",
    20: "reed organ", 21: "accordion", 22: "harmonica", 23: "bandoneon",
    24: "nylon guitar", 25: "acoustic guitar", 26: "jazz guitar", 27: "electric guitar",
    28: "muted guitar", 29: "overdriven guitar", 30: "distorted guitar",
    32: "upright bass", 33: "electric bass", 34: "picked bass", 35: "fretless bass",
    36: "slap bass", 38: "synth bass", 39: "synth bass",
    40: "violin", 41: "viola", 42: "cello", 43: "double bass", 45: "pizzicato strings",
    46: "harp", 48: "strings", 49: "slow strings", 50: "synth strings", 51: "synth strings",
    52: "choir", 53: "voice oohs", 54: "synth voice", 56: "trumpet", 57: "trombone", 58: "tuba",
    59: "muted trumpet", 60: "french horn", 61: "brass section", 62: "synth brass",
    63: "synth brass", 64: "soprano sax", 65: "alto sax", 66: "tenor sax", 67: "baritone sax",
    68: "oboe", 69: "english horn", 70: "bassoon", 71: "clarinet", 72: "piccolo", 73: "flute",
    74: "recorder", 75: "pan flute", 76: "bottle flute", 78: "whistle", 79: "ocarina",
    80: "square lead", 81: "saw lead", 82: "calliope lead", 84: "charang lead",
    85: "voice lead", 87: "bass lead", 88: "new age pad", 89: "warm pad", 90: "polysynth",
    91: "choir pad", 92: "bowed pad", 94: "halo pad", 95: "sweep pad", 104: "sitar",
    105: "banjo", 106: "shamisen", 107: "koto", 108: "kalimba", 110: "fiddle",
}  # fmt: skip

_FAMILIES: tuple[tuple[int, str], ...] = (
    (8, "piano"), (16, "mallets"), (24, "organ"), (32, "guitar"), (40, "bass"), (48, "strings"),
    (56, "ensemble"), (64, "brass"), (72, "reed"), (80, "flute"), (88, "synth"), (96, "pad"),
    (104, "effects"), (112, "plucked"),
)  # fmt: skip

KIT_NAMES: dict[int, str] = {
    0: "standard", 8: "room", 16: "power", 24: "electronic", 25: "TR-808", 32: "jazz",
    40: "brush", 48: "orchestra",
}  # fmt: skip

SUSTAINED = frozenset({*range(16, 24), *range(40, 45), *range(48, 55), *range(56, 97), 110})
VIBRATO = frozenset({40, 41, 42, 53, 54, 56, 57, *range(64, 80), 80, 81, 84, 85, 110})

# Organs with a 16-foot stop and the inharmonic glockenspiel are left out: the pitch that sounds is
# not surely the note's own, and it is the melody's label.
LEADS: tuple[int, ...] = (
    0, 1, 4, 6, 10, 11, 12, 13, 21, 22, 23, 24, 25, 26, 27, 29, 30, 40, 41, 42, 46, 48,
    50, 52, 53, 54, 56, 57, 59, 60, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 78,
    79, 80, 81, 82, 84, 85, 87, 104, 105, 107, 108, 110,
)  # fmt: skip

# The lowest and highest note that sounds natural, where it is narrower than the default.
RANGES: dict[int, tuple[int, int]] = {
    9: (67, 90), 10: (60, 90), 13: (65, 90), 22: (55, 88), 24: (48, 79), 25: (48, 79),
    26: (48, 82), 27: (48, 84), 29: (48, 84), 30: (48, 84), 40: (55, 90), 41: (48, 81),
    42: (48, 74), 53: (53, 82), 52: (50, 82), 56: (55, 82), 57: (48, 70), 59: (55, 82),
    60: (48, 74), 64: (56, 85), 65: (50, 80), 66: (48, 75), 67: (48, 69), 68: (59, 86),
    69: (53, 81), 70: (48, 72), 71: (52, 86), 72: (74, 90), 73: (60, 90), 74: (60, 88),
    78: (60, 90), 110: (55, 90),
}  # fmt: skip
DEFAULT_RANGE = (48, 90)

DRUM_KEYS: dict[str, int] = {
    "kick": 36, "kick2": 35, "snare": 38, "snare2": 40, "rim": 37, "clap": 39, "hat": 42,
    "pedal": 44, "open": 46, "ride": 51, "bell": 53, "crash": 49, "crash2": 57, "tom1": 50,
    "tom2": 48, "tom3": 47, "tom4": 45, "tom5": 43, "tom6": 41, "tambourine": 54, "cowbell": 56,
    "bongo_hi": 60, "bongo_lo": 61, "conga_mute": 62, "conga_hi": 63, "conga_lo": 64,
    "timbale": 65, "agogo": 67, "cabasa": 69, "shaker": 70, "claves": 75, "block": 76,
    "triangle": 81,
}  # fmt: skip


def family(program: int) -> str:
    """The instrument family of a General MIDI program."""
    for end, name in _FAMILIES:
        if program < end:
            return name
    return "effects"


def playable_range(program: int) -> tuple[int, int]:
    """Lowest and highest MIDI note for a lead on this program."""
    return RANGES.get(program, DEFAULT_RANGE)
