"""Styles of music: which tempi, grooves, patterns and instruments go together."""

from __future__ import annotations

from dataclasses import dataclass

from flowmusic.data.accompaniment import BASS_PATTERNS, COMP_PATTERNS
from flowmusic.data.grooves import GROOVES, SIX_EIGHTHS, THREE_QUARTERS
from flowmusic.data.instruments import LEADS


@dataclass(frozen=True)
class Style:
    """A style: its names in captions and what an arranger may choose from."""

    names: tuple[str, ...]
    metres: tuple[str, ...]
    bpm: tuple[float, float]
    grooves: tuple[str, ...]
    comp: tuple[str, ...]
    bass: tuple[str, ...]
    chord_programs: tuple[int, ...]
    bass_programs: tuple[int, ...]
    leads: tuple[int, ...]
    pads: tuple[int, ...]
    kits: tuple[int, ...]
    swing: tuple[float, float] = (0.5, 0.5)
    colour: float = 0.3


_GUITARS, _KEYS, _STRINGS = (24, 25, 26, 27), (0, 1, 4, 5), (48, 49, 50, 51)
_HORNS, _WINDS = (56, 57, 59, 64, 65, 66), (68, 71, 72, 73, 74, 75)
_SYNTHS = (80, 81, 82, 84, 85, 87)

STYLES: dict[str, Style] = {
    "rock": Style(("rock", "rock song", "guitar rock"), ("4/4",), (95, 165), ("rock", "rock8", "hard rock"),
                  ("pulse", "strum", "block", "stabs"), ("pulse8", "quarters", "root"), (25, 27, 28, 29, 30, 18),
                  (33, 34), (27, 29, 30, 18, 81, 66), (48, 16, 89), (0, 8, 16), colour=0.1),
    "metal": Style(("metal", "heavy metal", "hard rock"), ("4/4",), (120, 180), ("metal", "hard rock"),
                   ("pulse", "stabs", "strum"), ("pulse8",), (29, 30), (33, 34), (29, 30, 81, 84), (48, 52), (16, 0), colour=0.05),
    "pop": Style(("pop", "pop song", "radio pop"), ("4/4",), (85, 135), ("pop", "rock", "disco", "trap"),
                 ("pulse", "strum", "arpeggio", "pad", "broken", "block"), ("root", "quarters", "octave", "pulse8"),
                 (0, 1, 4, 5, 25, 27, 88, 90), (33, 38, 39), (0, 53, 73, 80, 81, 11, 40, 85, 65), (48, 50, 89, 91), (0, 8, 24), colour=0.3),
    "funk": Style(("funk", "funky groove", "funk jam"), ("4/4",), (88, 120), ("funk", "funk2", "soul"),
                  ("comping", "offbeat", "stabs"), ("funk", "octave"), (4, 5, 7, 16, 27, 28), (33, 36), (65, 66, 56, 4, 27, 62), (61, 48), (0, 8), (0.5, 0.57), 0.7),
    "soul": Style(("soul", "R&B", "neo soul"), ("4/4", "6/8"), (62, 105), ("soul", "boom bap", "ballad", "six-eight"),
                  ("comping", "block", "charleston", "broken"), ("funk", "root-fifth", "root"), (4, 5, 16, 26), (33, 35), (65, 66, 53, 26, 4, 22), (48, 61, 89), (0, 8), (0.5, 0.6), 0.8),
    "swing": Style(("swing", "jazz", "swing jazz", "big band jazz"), ("4/4", "4/4", "3/4"), (100, 180), ("swing", "swing2", "jazz waltz"),
                   ("comping", "charleston", "stabs"), ("walking", "root-fifth"), (0, 26, 4, 16), (32,), (56, 65, 66, 71, 11, 57, 59, 0, 26, 64), (61, 48), (32, 40), (0.6, 0.67), 0.95),
    "jazz ballad": Style(("jazz ballad", "late-night jazz", "smoky jazz"), ("4/4", "3/4"), (60, 90), ("brushes", "ballad", "jazz waltz"),
                         ("block", "comping", "broken", "charleston"), ("root", "root-fifth", "walking"), (0, 4, 26), (32, 35), (66, 65, 59, 71, 11, 0, 22), (48, 49), (40, 32), (0.55, 0.66), 0.95),
    "bossa nova": Style(("bossa nova", "bossa", "lounge bossa"), ("4/4",), (100, 150), ("bossa",), ("tresillo", "comping", "charleston"),
                        ("tresillo", "root-fifth"), (24, 26, 4, 0), (32, 33, 35), (73, 66, 24, 11, 53, 71), (48, 89), (32, 40, 0), colour=0.9),
    "samba": Style(("samba", "Brazilian groove"), ("4/4", "2/4"), (100, 140), ("samba", "bossa"), ("tresillo", "comping", "offbeat"),
                   ("root-fifth", "tresillo"), (24, 25, 0), (32, 33), (73, 72, 24, 75, 56), (48,), (0, 32), colour=0.7),
    "latin": Style(("latin", "salsa", "latin dance"), ("4/4",), (90, 170), ("latin", "salsa", "cha-cha"), ("montuno", "offbeat", "tresillo"),
                   ("tresillo", "root-fifth"), (0, 1, 24, 25), (32, 33), (56, 57, 73, 12, 11, 0), (61,), (0, 8), colour=0.5),
    "tango": Style(("tango", "dramatic tango"), ("4/4", "2/4"), (100, 132), ("tango", "march2"), ("pulse", "stabs", "block"), ("quarters", "root-fifth"),
                   (0, 21, 23), (32,), (23, 21, 40, 24), (48, 49), (48, 0), colour=0.4),
    "waltz": Style(("waltz", "slow waltz", "Viennese waltz"), ("3/4",), (80, 180), ("waltz", "viennese", "jazz waltz"), ("oom-pah", "arpeggio", "block"),
                   ("root", "root-fifth"), (0, 6, 21, 46, 48, 24), (32, 33, 43), (40, 73, 71, 21, 0, 68, 9), (48, 49), (0, 48, 40), colour=0.3),
    "house": Style(("house", "dance", "club track", "four-on-the-floor dance"), ("4/4",), (115, 132), ("house", "disco", "techno"), ("stabs", "offbeat", "tresillo", "pad", "pulse"),
                   ("octave", "pulse8", "funk"), (0, 1, 4, 16, 90, 81, 62), (38, 39), (*_SYNTHS, 0, 11), (89, 91, 94, 50), (24, 25), colour=0.4),
    "techno": Style(("techno", "electronic", "trance"), ("4/4",), (125, 145), ("techno", "house"), ("arpeggio16", "stabs", "tresillo", "pad"), ("pulse8", "octave"),
                    (81, 80, 90, 62, 88), (38, 39), _SYNTHS, (89, 94, 95), (24, 25), colour=0.15),
    "synthwave": Style(("synthwave", "80s synth pop", "retro electronic"), ("4/4",), (85, 125), ("synthwave", "pop", "disco"), ("arpeggio16", "arpeggio", "pad", "pulse"), ("pulse8", "octave"),
                       (81, 90, 88, 62, 5), (38, 39), _SYNTHS, (50, 51, 89, 94), (24, 16), colour=0.2),
    "hip hop": Style(("hip hop", "lo-fi hip hop", "boom bap"), ("4/4",), (70, 98), ("boom bap", "trap", "half-time", "soul"), ("block", "charleston", "broken", "pad", "arpeggio"), ("root", "funk", "tresillo"),
                     (4, 5, 0, 11, 26), (38, 33, 39), (11, 4, 73, 53, 59, 26, 0, 80), (89, 50, 48), (25, 24, 0), (0.5, 0.6), 0.7),
    "drum and bass": Style(("drum and bass", "breakbeat", "jungle"), ("4/4",), (140, 180), ("drum and bass", "breakbeat"), ("pad", "stabs", "block", "arpeggio"), ("root", "tresillo", "funk"),
                           (4, 88, 90, 81), (38, 39), (*_SYNTHS, 11, 53), (89, 91, 95), (24, 25, 0), colour=0.5),
    "breakbeat": Style(("breakbeat", "big beat", "chopped breaks"), ("4/4",), (95, 135), ("breakbeat", "funk2", "funk"), ("stabs", "offbeat", "pad", "comping"), ("funk", "octave", "pulse8"),
                       (4, 16, 27, 81, 62), (38, 33, 36), (81, 62, 80, 18, 30), (50, 89), (0, 16, 24), colour=0.3),
    "half-time": Style(("half-time groove", "slow heavy groove"), ("4/4", "3/4"), (120, 165), ("half-time", "trap", "half-time three"), ("pad", "block", "arpeggio", "pulse"), ("root", "quarters"),
                       (27, 29, 0, 90, 48), (33, 38), (81, 30, 85, 53, 40, 56), (48, 52, 91), (16, 24, 8), colour=0.2),
    "blues": Style(("blues", "shuffle", "blues shuffle"), ("4/4", "4/4", "6/8"), (70, 135), ("shuffle", "six-eight"), ("comping", "pulse", "charleston"), ("walking", "root-fifth", "pulse8"),
                   (0, 16, 26, 27, 3), (32, 33), (22, 27, 29, 66, 26, 3), (16, 61), (0, 8), (0.62, 0.67), 0.6),
    "march": Style(("march", "marching band", "military march"), ("4/4", "2/4", "6/8"), (96, 132), ("march", "march2", "six-eight"), ("oom-pah", "pulse", "stabs"), ("root-fifth", "quarters"),
                   (61, 60, 57, 48), (58, 32, 43), (56, 72, 71, 57, 60), (61, 48), (48, 0), colour=0.1),
    "polka": Style(("polka", "folk dance"), ("2/4", "4/4"), (105, 140), ("country", "train", "march2"), ("oom-pah", "offbeat"), ("root-fifth",), (21, 25, 0), (32, 58), (21, 71, 40, 110, 72), (48,), (0, 8), colour=0.1),
    "country": Style(("country", "bluegrass", "country folk"), ("4/4", "3/4"), (80, 150), ("country", "train", "waltz"), ("strum", "oom-pah", "arpeggio"), ("root-fifth", "walking"), (25, 24, 105, 0), (32, 33), (110, 22, 25, 105, 27, 15), (48, 16), (0, 8), colour=0.1),
    "folk": Style(("folk", "acoustic folk", "singer-songwriter"), ("4/4", "3/4", "6/8"), (70, 130), ("six-eight folk", "percussion", "country", "brushes", "waltz"), ("strum", "arpeggio", "up-down", "broken"), ("root", "root-fifth"),
                  (24, 25, 46, 15), (32, 33), (73, 74, 110, 22, 53, 78, 25, 40), (48, 49), (0, 40), colour=0.15),
    "celtic": Style(("celtic", "Irish folk", "jig"), ("6/8", "4/4"), (75, 125), ("six-eight folk", "six-eight", "march2"), ("strum", "up-down", "block"), ("root", "root-fifth"), (24, 25, 46), (32,), (72, 74, 78, 110, 73, 40), (49, 48), (0, 48), colour=0.05),
    "reggae": Style(("reggae", "dub", "roots reggae"), ("4/4",), (65, 95), ("reggae",), ("offbeat",), ("tresillo", "root-fifth", "funk"), (16, 27, 28, 0), (33, 35), (22, 56, 57, 16, 66, 27), (16, 48), (0, 8), (0.5, 0.6), 0.2),
    "ska": Style(("ska", "ska punk"), ("4/4",), (130, 175), ("ska", "rock"), ("offbeat",), ("walking", "quarters"), (27, 16, 28), (33, 34), (56, 57, 66, 65, 18), (61,), (0, 8), colour=0.2),
    "ballad": Style(("ballad", "slow ballad", "power ballad"), ("4/4", "6/8", "3/4"), (60, 84), ("ballad", "pop", "six-eight ballad", "half-time", "rock three"), ("arpeggio", "block", "broken", "pad", "up-down"), ("root", "root-fifth"),
                    (0, 1, 4, 24, 25), (33, 35, 32), (0, 40, 53, 73, 65, 29, 42, 68), (48, 49, 89, 52), (0, 8, 40), colour=0.4),
    "ambient": Style(("ambient", "atmospheric", "dreamy soundscape"), ("4/4", "3/4", "5/4"), (60, 90), ("percussion", "half-time", "techno"), ("pad", "arpeggio", "up-down", "block"), ("root",),
                     (88, 89, 91, 94, 46, 8, 11, 4), (35, 39, 38), (73, 85, 53, 79, 11, 8, 108, 75), (89, 91, 92, 95, 52), (24, 25), colour=0.6),
    "cinematic": Style(("cinematic", "orchestral", "film score", "epic"), ("4/4", "3/4", "6/8", "5/4"), (65, 140), ("tom groove", "four toms", "bolero", "march", "rock three", "afro"), ("pulse", "arpeggio", "pad", "block", "stabs"), ("root", "quarters", "pulse8"),
                       (48, 46, 45, 60, 61), (43, 42), (40, 42, 60, 56, 68, 73, 52, 48), (48, 49, 52), (48, 16), colour=0.25),
    "classical": Style(("classical", "chamber music", "baroque"), ("4/4", "3/4", "2/4", "6/8"), (66, 140), ("bolero", "march2", "viennese", "six-eight ballad"), ("alberti", "arpeggio", "broken", "block", "oom-pah"), ("root", "quarters", "root-fifth"),
                       (0, 6, 46, 48, 45), (43, 42, 32), (40, 41, 42, 68, 71, 73, 70, 6, 0, 60), (48, 49), (48,), colour=0.2),
    "afro": Style(("afrobeat", "world percussion", "tribal groove"), ("6/8", "4/4", "5/4"), (80, 130), ("afro", "percussion", "tom groove"), ("tresillo", "arpeggio", "comping"), ("funk", "tresillo"), (12, 108, 27, 16), (33, 32), (12, 108, 75, 66, 73, 104), (61, 48), (0, 8), colour=0.2),
    "game music": Style(("chiptune", "8-bit game music", "video game music"), ("4/4", "3/4", "5/4"), (100, 170), ("rock", "pop", "march2", "synthwave"), ("arpeggio16", "arpeggio", "pulse"), ("pulse8", "octave", "root-fifth"), (80, 81, 82), (38, 39), (80, 81, 82, 78, 9, 79), (50,), (24, 25), colour=0.15),
    "progressive": Style(("progressive rock", "odd-metre groove", "prog"), ("5/4", "5/4", "4/4"), (90, 160), ("rock", "rock8", "funk2", "tom groove", "swing"), ("pulse", "comping", "arpeggio", "stabs"), ("pulse8", "funk", "quarters"), (27, 18, 4, 0, 29), (33, 34), (81, 18, 30, 73, 65, 27), (48, 50, 52), (0, 16, 8), colour=0.5),
}  # fmt: skip

# Everything at once: the bold mixtures that no style would make.
WILD = Style(
    ("experimental", "unusual mixture", "eclectic"), ("4/4", "4/4", "3/4", "6/8", "2/4", "5/4"), (60, 180),
    tuple(GROOVES), COMP_PATTERNS, BASS_PATTERNS, (*_GUITARS, *_KEYS, *_STRINGS, 6, 8, 11, 12, 16, 21, 46, 61, 90, 108),
    (32, 33, 34, 35, 36, 38, 39, 43, 58), LEADS, (48, 49, 50, 52, 89, 91, 92, 94), (0, 8, 16, 24, 25, 32, 40, 48), (0.5, 0.67), 0.5,
)  # fmt: skip


def grooves_for(style: Style, metre: str) -> tuple[str, ...]:
    """The style's grooves that fit a metre, or any that fit where it has none of its own."""
    if metre == "3/4":
        fitting, spare = set(THREE_QUARTERS), THREE_QUARTERS
    elif metre == "6/8":
        fitting, spare = set(SIX_EIGHTHS), SIX_EIGHTHS
    else:
        fitting = set(GROOVES) - set(THREE_QUARTERS) - set(SIX_EIGHTHS)
        spare = ("rock", "pop", "percussion", "march2")
    own = tuple(name for name in style.grooves if name in fitting)
    return own or spare
