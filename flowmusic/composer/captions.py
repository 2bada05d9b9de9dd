"""Captions as people type them, from what is known about a song."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowmusic.composer.harmony import MINOR_MODES
from flowmusic.composer.wording import Draws, Words, instrument_words, solo_words, wording

_MOODS: dict[tuple[str, str], tuple[str, ...]] = {
    ("minor", "slow"): ("sad", "melancholic", "sombre", "mournful", "lonely", "brooding"),
    ("minor", "medium"): ("moody", "dark", "bittersweet", "mysterious", "serious", "wistful"),
    ("minor", "fast"): ("intense", "dramatic", "tense", "driving", "urgent", "aggressive"),
    ("major", "slow"): ("calm", "peaceful", "tender", "warm", "romantic", "gentle", "relaxing"),
    ("major", "medium"): ("pleasant", "light", "cheerful", "sunny", "easy-going", "hopeful"),
    ("major", "fast"): ("happy", "joyful", "upbeat", "energetic", "playful", "lively"),
}
_TEMPO_WORDS: dict[str, tuple[str, ...]] = {
    "slow": ("slow", "slow-paced", "downtempo", "unhurried"),
    "medium": ("mid-tempo", "medium tempo", "moderate", "steady"),
    "fast": ("fast", "up-tempo", "quick", "high-speed"),
}
_METRE_WORDS: dict[str, tuple[str, ...]] = {
    "4/4": ("in 4/4", "4/4 time"),
    "3/4": ("in 3/4", "waltz time", "three-four time", "in three"),
    "6/8": ("in 6/8", "6/8 feel", "compound metre"),
    "2/4": ("in 2/4", "two-beat feel"),
    "5/4": ("in 5/4", "odd metre", "five-four time"),
}
_VERBS = ("make", "I want", "give me", "create", "generate", "I need", "play me")
_PLAYING = ("It features {x}", "The instruments are {x}", "You hear {x}", "Played on {x}")
_NO_DRUMS = ("no drums", "without drums", "drumless", "no percussion")
_NO_MELODY = ("no melody", "instrumental backing only", "backing track", "accompaniment only")
_ANY_MUSIC = ("music", "song", "instrumental", "track", "tune")
_COUNTABLE = frozenset(
    ("song", "track", "tune", "instrumental", "ballad", "waltz", "march", "groove", "beat", "loop",
     "piece", "jam", "score", "mixture", "tango", "soundscape", "jig", "shuffle", "dance")
)  # fmt: skip


@dataclass(frozen=True)
class SongFacts:
    """The ground truth of a song, in words where people use words."""

    style: str
    style_names: tuple[str, ...]
    bpm: float
    metre: str
    key: str
    mode: str
    lead: str | None
    chord_instruments: tuple[str, ...]
    bass: str | None
    kit: str | None
    groove: str | None
    solo: str

    @property
    def mode_family(self) -> str:
        """minor: also the modes with a minor third; major: the others."""
        return "minor" if self.mode in MINOR_MODES else "major"

    @property
    def tempo(self) -> str:
        return tempo_word(self.bpm, self.metre)

    @property
    def beat(self) -> str:
        """The groove in words: its variants are numbered."""
        return (self.groove or "").rstrip("0123456789")


def tempo_word(bpm: float, metre: str) -> str:
    """slow, medium or fast; compound beats are longer, so their limits are lower."""
    slow, fast = (60, 85) if metre == "6/8" else (90, 125)
    return "slow" if bpm < slow else ("fast" if bpm >= fast else "medium")


def moods_of(facts: SongFacts) -> tuple[str, ...]:
    return _MOODS[(facts.mode_family, facts.tempo)]


def _instrument_phrases(facts: SongFacts, draws: Draws) -> list[str]:
    """Some of those who play, in words."""
    phrases: list[str] = []
    if facts.lead:
        phrases.append(_lead_phrase(facts.lead, draws))
    for name in facts.chord_instruments:
        if name != facts.lead:
            plain = (name, name, f"{name} chords", f"{name} accompaniment")
            phrases.append(draws.word(plain, instrument_words(name, draws)))
    if facts.bass:
        phrases.append(draws.word((facts.bass,), instrument_words(facts.bass, draws)))
    if facts.kit:
        kit = (
            f"{facts.kit} drums",
            "drums",
            f"{facts.kit} drum kit",
            f"{facts.beat} drums",
            f"{facts.beat} beat",
        )
        phrases.append(draws.word(kit, wording().drums))
    order = draws.facts.permutation(len(phrases))
    count = int(draws.facts.integers(1, len(phrases) + 1)) if phrases else 0
    return list(dict.fromkeys(phrases[int(k)] for k in order[:count]))


def _lead_phrase(lead: str, draws: Draws) -> str:
    as_lead = lead if lead.endswith("lead") else f"{lead} lead"
    plain = (f"{lead} melody", as_lead, lead, f"{_article(lead)} {lead} playing the tune")
    return draws.word(plain, instrument_words(lead, draws))


def _article(noun: str) -> str:
    return "an" if noun[0].lower() in "aeiou8" else "a"


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _opening(head: str, draws: Draws) -> str:
    """A request and an article, either or neither, with the space that follows."""
    article = ""
    if draws.words.random() < 0.6:
        article = _article(head) if head.split()[-1] in _COUNTABLE else "some"
    request = draws.word(_VERBS, wording().requests, 0.7) if draws.words.random() < 0.6 else ""
    words = [word for word in (request, article) if word]
    return " ".join(words) + " " if words else ""


def _subject(facts: SongFacts, draws: Draws) -> str:
    alone = {"melody": facts.lead, "chords": (*facts.chord_instruments, None)[0]}.get(facts.solo)
    if alone is not None:
        plain = (f"solo {alone}", f"{alone} alone", f"unaccompanied {alone}", f"just {alone}")
        return draws.word(plain, solo_words(alone, draws), 0.6)
    if facts.solo == "drums":
        return draws.word((f"{facts.beat} drum loop", "drums only", "solo drums", "drum beat"))
    if draws.chance(2 * len(facts.style_names) / (2 * len(facts.style_names) + len(_ANY_MUSIC))):
        return draws.word(facts.style_names)
    return draws.word(_ANY_MUSIC)


def _tonality(facts: SongFacts, draws: Draws) -> str:
    if draws.chance(0.7):
        return draws.word((f"in {facts.mode}", f"{facts.mode} key"), wording().modes[facts.mode_family], 0.7)
    short = f"{facts.key} {facts.mode}"
    return draws.word((f"in {short}", f"in the key of {short}", f"key: {short}"))


def _speed(facts: SongFacts, draws: Draws) -> str:
    if draws.chance(0.5):
        return draws.word(_TEMPO_WORDS[facts.tempo], wording().tempo_phrases[facts.tempo], 1.0)
    bpm = str(round(facts.bpm))
    return draws.word((f"{bpm} bpm", f"{bpm} BPM", f"at {bpm} beats per minute", f"tempo {bpm}"))


def _absences(facts: SongFacts, draws: Draws) -> list[str]:
    phrases = []
    if facts.solo == "none" and facts.kit is None and draws.chance(0.6):
        phrases.append(draws.word(_NO_DRUMS, wording().no_drums))
    if facts.solo == "none" and facts.lead is None and draws.chance(0.5):
        phrases.append(draws.word(_NO_MELODY, wording().no_melody))
    return phrases


def _details(facts: SongFacts, draws: Draws) -> list[str]:
    details = []
    if draws.chance(0.4):
        details.append(_speed(facts, draws))
    if facts.solo != "drums":
        if draws.chance(0.4):
            details.append(_tonality(facts, draws))
        if draws.chance(0.15):
            details.append(draws.word(moods_of(facts), wording().feelings[facts.mode_family], 1.0))
    if draws.chance(0.12 if facts.metre == "4/4" else 0.45):
        details.append(draws.word(_METRE_WORDS[facts.metre]))
    if facts.solo == "none" and facts.kit and draws.chance(0.1):
        details.append(draws.word(("with drums",), wording().drumming, 1.0))
    return details + _absences(facts, draws)


def _adjectives(facts: SongFacts, draws: Draws) -> list[str]:
    adjectives = []
    if draws.chance(0.55) and facts.solo != "drums":
        moods = wording().moods[f"{facts.mode_family} {facts.tempo}"]
        adjectives.append(draws.word(moods_of(facts), moods, 0.6))
    if draws.chance(0.45):
        adjectives.append(draws.word(_TEMPO_WORDS[facts.tempo], wording().tempo_adjectives[facts.tempo]))
    if len(adjectives) == 2 and draws.words.random() < 0.5:
        adjectives.reverse()
    return adjectives


def _scenes(facts: SongFacts) -> tuple[Words, Words]:
    """The style in plain words, and what it is music for."""
    return facts.style_names, tuple(f"music for {scene}" for scene in wording().scenes[facts.style])


def _remark(facts: SongFacts, draws: Draws) -> str:
    """A few words about one thing only."""
    table = wording()
    players = [name for name in (facts.lead, *facts.chord_instruments) if name]
    if players and draws.chance(0.4):
        name = players[int(draws.facts.integers(len(players)))]
        return draws.word((name,), instrument_words(name, draws), 1.0)
    plain_mood = tuple(f"{mood} music" for mood in moods_of(facts))
    ways: list[tuple[Words, Words]] = [(_TEMPO_WORDS[facts.tempo], table.tempo_phrases[facts.tempo])]
    if facts.solo != "drums":
        ways += [
            ((f"in {facts.mode}", f"{facts.mode} key"), table.modes[facts.mode_family]),
            (plain_mood, table.feelings[facts.mode_family]),
            (plain_mood, table.moods[f"{facts.mode_family} {facts.tempo}"]),
        ]
    if facts.kit and facts.solo == "none":
        ways.append((("drums", "with drums"), table.drumming))
    if facts.kit is None:
        ways.append((_NO_DRUMS, table.no_drums))
    if facts.solo == "none" and facts.style in table.scenes:
        ways.append(_scenes(facts))
    plain, other = ways[int(draws.facts.integers(len(ways)))]
    return draws.word(plain, other, 1.0)


def write_caption(facts: SongFacts, draws: Draws) -> str:
    """One caption with a random subset of the facts, in one of several forms."""
    form = draws.facts.random()
    if form < 0.12:
        return _remark(facts, draws)
    adjectives, subject = _adjectives(facts, draws), _subject(facts, draws)
    if facts.solo in ("melody", "chords"):  # 'nothing but a flute' takes no adjective before it
        return ", ".join([subject, *adjectives, *_details(facts, draws)])
    instruments = _instrument_phrases(facts, draws) if facts.solo == "none" else []
    if form < 0.24 and instruments:
        return draws.word(_PLAYING, wording().playing, 1.0).format(x=_join(instruments))
    details = _details(facts, draws)
    if form < 0.42:  # a list of tags
        tags = [*adjectives, subject, *instruments, *details]
        return ", ".join(tags[int(k)] for k in draws.words.permutation(len(tags)))
    head = " ".join([*adjectives, subject])
    if facts.solo == "none" and facts.style in wording().scenes and draws.chance(0.2):
        details = [draws.word(*_scenes(facts), 1.0), *details]
    if form < 0.56:  # a one-liner without instruments
        return _opening(head, draws) + ", ".join([head, *details[:1]])
    if form < 0.8 or not instruments:
        return _one_sentence(head, instruments, details, draws)
    return _two_sentences(head, instruments, details, draws)


def _one_sentence(head: str, instruments: list[str], details: list[str], draws: Draws) -> str:
    tail = draws.word((" with ", " featuring ", " played by ")) + _join(instruments) if instruments else ""
    extra = "".join(f", {detail}" for detail in details)
    return f"{_opening(head, draws)}{head}{tail}{extra}"


def _two_sentences(head: str, instruments: list[str], details: list[str], draws: Draws) -> str:
    article = f"{_article(head).capitalize()} " if head.split()[-1] in _COUNTABLE else ""
    sentence = f"{article}{head}" if article else head[0].upper() + head[1:]
    first = f"{sentence}{''.join(', ' + detail for detail in details[:1])}."
    second = draws.word(_PLAYING, wording().playing, 0.6).format(x=_join(instruments))
    extra = "".join(f", {detail}" for detail in details[1:])
    sentences = [first, f"{second}{extra}."]
    return " ".join(reversed(sentences) if draws.words.random() < 0.2 else sentences)


def twin_captions(facts: SongFacts, rng: np.random.Generator) -> tuple[str, str]:
    """One thing said twice: in the words of users, and in the plain ones that the labels have."""
    seed = int(rng.integers(2**32))
    conditions, plain = (
        write_caption(facts, Draws(np.random.default_rng(seed), rng, share)) for share in (None, 0.0)
    )
    return conditions, plain


def write_captions(facts: SongFacts, n_captions: int, rng: np.random.Generator) -> tuple[str, ...]:
    """`n_captions` different captions."""
    captions: list[str] = []
    for _ in range(8 * n_captions):
        text = write_caption(facts, Draws(rng, rng))
        if text and text not in captions:
            captions.append(text)
        if len(captions) == n_captions:
            break
    return tuple(captions)
