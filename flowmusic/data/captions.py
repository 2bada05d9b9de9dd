"""Captions as people type them, from what is known about a song."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flowmusic.data.harmony import MINOR_MODES
from flowmusic.data.wording import instrument_words, pick, solo_words, wording

_MOODS: dict[tuple[str, str], tuple[str, ...]] = {
    ("dark", "slow"): ("sad", "melancholic", "sombre", "mournful", "lonely", "brooding"),
    ("dark", "medium"): ("moody", "dark", "bittersweet", "mysterious", "serious", "wistful"),
    ("dark", "fast"): ("intense", "dramatic", "tense", "driving", "urgent", "aggressive"),
    ("bright", "slow"): ("calm", "peaceful", "tender", "warm", "romantic", "gentle", "relaxing"),
    ("bright", "medium"): ("pleasant", "light", "cheerful", "sunny", "easy-going", "hopeful"),
    ("bright", "fast"): ("happy", "joyful", "upbeat", "energetic", "playful", "lively"),
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
    def shade(self) -> str:
        """dark: minor-like modes; bright: the others."""
        return "dark" if self.mode in MINOR_MODES else "bright"

    @property
    def pace(self) -> str:
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
    return _MOODS[(facts.shade, facts.pace)]


def _instrument_phrases(facts: SongFacts, rng: np.random.Generator) -> list[str]:
    """Some of those who play, in words."""
    phrases: list[str] = []
    if facts.lead:
        phrases.append(_lead_phrase(facts.lead, rng))
    for name in facts.chord_instruments:
        if name != facts.lead:
            plain = pick((name, name, f"{name} chords", f"{name} accompaniment"), rng)
            phrases.append(plain if rng.random() < 0.5 else instrument_words(name, rng))
    if facts.bass:
        phrases.append(facts.bass if rng.random() < 0.5 else instrument_words(facts.bass, rng))
    if facts.kit:
        kit = (
            f"{facts.kit} drums",
            "drums",
            f"{facts.kit} drum kit",
            f"{facts.beat} drums",
            f"{facts.beat} beat",
        )
        phrases.append(pick(kit if rng.random() < 0.5 else wording().drums, rng))
    order = rng.permutation(len(phrases))
    count = int(rng.integers(1, len(phrases) + 1)) if phrases else 0
    return list(dict.fromkeys(phrases[int(k)] for k in order[:count]))


def _lead_phrase(lead: str, rng: np.random.Generator) -> str:
    as_lead = lead if lead.endswith("lead") else f"{lead} lead"
    if rng.random() < 0.5:
        return instrument_words(lead, rng)
    return pick((f"{lead} melody", as_lead, lead, f"{_article(lead)} {lead} playing the tune"), rng)


def _article(noun: str) -> str:
    return "an" if noun[0].lower() in "aeiou8" else "a"


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _opening(head: str, rng: np.random.Generator) -> str:
    """A request and an article, either or neither, with the space that follows."""
    article = ""
    if rng.random() < 0.6:
        article = _article(head) if head.split()[-1] in _COUNTABLE else "some"
    request = pick(_VERBS + wording().requests, rng) if rng.random() < 0.6 else ""
    words = [word for word in (request, article) if word]
    return " ".join(words) + " " if words else ""


def _subject(facts: SongFacts, rng: np.random.Generator) -> str:
    alone = {"melody": facts.lead, "chords": (*facts.chord_instruments, None)[0]}.get(facts.solo)
    if alone is not None:
        plain = (f"solo {alone}", f"{alone} alone", f"unaccompanied {alone}", f"just {alone}")
        return pick(plain, rng) if rng.random() < 0.4 else solo_words(alone, rng)
    if facts.solo == "drums":
        return pick((f"{facts.beat} drum loop", "drums only", "solo drums", "drum beat"), rng)
    return pick(
        (*facts.style_names, *facts.style_names, "music", "song", "instrumental", "track", "tune"), rng
    )


def _tonality(facts: SongFacts, rng: np.random.Generator) -> str:
    short = f"{facts.key} {facts.mode}"
    names = (
        f"in {short}",
        f"in the key of {short}",
        f"key: {short}",
        f"in {facts.mode}",
        f"{facts.mode} key",
    )
    return pick(names if rng.random() < 0.5 else wording().modes[facts.shade], rng)


def _speed(facts: SongFacts, rng: np.random.Generator) -> str:
    bpm = str(round(facts.bpm))
    numbers = (f"{bpm} bpm", f"{bpm} BPM", f"at {bpm} beats per minute", f"tempo {bpm}")
    return pick(numbers if rng.random() < 0.5 else wording().paces[facts.pace], rng)


def _absences(facts: SongFacts, rng: np.random.Generator) -> list[str]:
    phrases = []
    if facts.solo == "none" and facts.kit is None and rng.random() < 0.6:
        phrases.append(pick(wording().no_drums, rng))
    if facts.solo == "none" and facts.lead is None and rng.random() < 0.5:
        phrases.append(pick(wording().no_melody, rng))
    return phrases


def _details(facts: SongFacts, rng: np.random.Generator) -> list[str]:
    details = []
    if rng.random() < 0.4:
        details.append(_speed(facts, rng))
    if facts.solo != "drums":
        if rng.random() < 0.4:
            details.append(_tonality(facts, rng))
        if rng.random() < 0.15:
            details.append(pick(wording().feelings[facts.shade], rng))
    if rng.random() < (0.12 if facts.metre == "4/4" else 0.45):
        details.append(pick(_METRE_WORDS[facts.metre], rng))
    if facts.solo == "none" and facts.kit and rng.random() < 0.1:
        details.append(pick(wording().drumming, rng))
    return details + _absences(facts, rng)


def _adjectives(facts: SongFacts, rng: np.random.Generator) -> list[str]:
    adjectives = []
    if rng.random() < 0.55 and facts.solo != "drums":
        moods = moods_of(facts) if rng.random() < 0.4 else wording().moods[f"{facts.shade} {facts.pace}"]
        adjectives.append(pick(moods, rng))
    if rng.random() < 0.45:
        plain = rng.random() < 0.5
        adjectives.append(pick(_TEMPO_WORDS[facts.pace] if plain else wording().tempi[facts.pace], rng))
    if len(adjectives) == 2 and rng.random() < 0.5:
        adjectives.reverse()
    return adjectives


def _remark(facts: SongFacts, rng: np.random.Generator) -> str:
    """A few words about one thing only."""
    table = wording()
    ways: list[tuple[str, ...]] = [table.paces[facts.pace]]
    if facts.solo != "drums":
        ways += [
            table.modes[facts.shade],
            table.feelings[facts.shade],
            table.moods[f"{facts.shade} {facts.pace}"],
        ]
    if facts.kit and facts.solo == "none":
        ways.append(table.drumming)
    if facts.kit is None:
        ways.append(table.no_drums)
    if facts.solo == "none" and facts.style in table.scenes:
        ways.append(tuple(f"music for {scene}" for scene in table.scenes[facts.style]))
    return pick(ways[int(rng.integers(len(ways)))], rng)


def write_caption(facts: SongFacts, rng: np.random.Generator) -> str:
    """One caption with a random subset of the facts, in one of several forms."""
    form = rng.random()
    if form < 0.12:
        return _remark(facts, rng)
    adjectives, subject = _adjectives(facts, rng), _subject(facts, rng)
    if facts.solo in ("melody", "chords"):  # 'nothing but a flute' takes no adjective before it
        return ", ".join([subject, *adjectives, *_details(facts, rng)])
    instruments = _instrument_phrases(facts, rng) if facts.solo == "none" else []
    if form < 0.24 and instruments:
        return pick(wording().playing, rng).format(x=_join(instruments))
    details = _details(facts, rng)
    if form < 0.42:  # a list of tags
        tags = [*adjectives, subject, *instruments, *details]
        return ", ".join(tags[int(k)] for k in rng.permutation(len(tags)))
    head = " ".join([*adjectives, subject])
    scene = ""
    if facts.solo == "none" and facts.style in wording().scenes and rng.random() < 0.2:
        scene = " for " + pick(wording().scenes[facts.style], rng)
    if form < 0.56:  # a one-liner without instruments
        return " ".join([_opening(head, rng) + head + scene, *details[:1]])
    if form < 0.8 or not instruments:
        tail = pick((" with ", " featuring ", " played by "), rng) + _join(instruments) if instruments else ""
        extra = "".join(f", {detail}" for detail in details)
        return f"{_opening(head, rng)}{head}{scene}{tail}{extra}"
    return _two_sentences(head + scene, instruments, details, rng)


def _two_sentences(head: str, instruments: list[str], details: list[str], rng: np.random.Generator) -> str:
    article = f"{_article(head).capitalize()} " if head.split()[-1] in _COUNTABLE else ""
    sentence = f"{article}{head}" if article else head[0].upper() + head[1:]
    first = f"{sentence}{''.join(', ' + detail for detail in details[:1])}."
    verbs = ("It features {x}", "The instruments are {x}", "You hear {x}", "Played on {x}")
    second = pick(verbs if rng.random() < 0.4 else wording().playing, rng).format(x=_join(instruments))
    extra = "".join(f", {detail}" for detail in details[1:])
    sentences = [first, f"{second}{extra}."]
    return " ".join(reversed(sentences) if rng.random() < 0.2 else sentences)


def write_captions(facts: SongFacts, n_captions: int, rng: np.random.Generator) -> tuple[str, ...]:
    """`n_captions` different captions."""
    captions: list[str] = []
    for _ in range(8 * n_captions):
        text = write_caption(facts, rng)
        if text and text not in captions:
            captions.append(text)
        if len(captions) == n_captions:
            break
    return tuple(captions)
