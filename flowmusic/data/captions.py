"""Captions as people type them, from what is known about a song."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
_NO_DRUMS = ("no drums", "without drums", "drumless", "no percussion")
_NO_MELODY = ("no melody", "instrumental backing only", "backing track", "accompaniment only")
_VERBS = ("", "", "", "", "make", "I want", "give me", "create", "generate", "I need", "play me")
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
    def beat(self) -> str:
        """The groove in words: its variants are numbered."""
        return (self.groove or "").rstrip("0123456789")


def tempo_word(bpm: float, metre: str) -> str:
    """slow, medium or fast; compound beats are longer, so their limits are lower."""
    slow, fast = (60, 85) if metre == "6/8" else (90, 125)
    return "slow" if bpm < slow else ("fast" if bpm >= fast else "medium")


def moods_of(facts: SongFacts) -> tuple[str, ...]:
    shade = "dark" if facts.mode in ("minor", "dorian", "phrygian") else "bright"
    return _MOODS[(shade, tempo_word(facts.bpm, facts.metre))]


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return str(options[int(rng.integers(len(options)))])


def _instrument_phrases(facts: SongFacts, rng: np.random.Generator) -> list[str]:
    phrases: list[str] = []
    if facts.lead and facts.solo != "melody":
        phrases.append(_lead_phrase(facts.lead, rng))
    others = [name for name in facts.chord_instruments if name != facts.lead]
    phrases += [_pick((name, name, f"{name} chords", f"{name} accompaniment"), rng) for name in others]
    if facts.bass:
        phrases.append(facts.bass)
    if facts.kit:
        phrases.append(
            _pick(
                (
                    f"{facts.kit} drums",
                    "drums",
                    f"{facts.kit} drum kit",
                    f"{facts.beat} drums",
                    f"{facts.beat} beat",
                ),
                rng,
            )
        )
    order = rng.permutation(len(phrases))
    count = int(rng.integers(1, len(phrases) + 1)) if phrases else 0
    return [phrases[int(k)] for k in order[:count]]


def _lead_phrase(lead: str, rng: np.random.Generator) -> str:
    as_lead = lead if lead.endswith("lead") else f"{lead} lead"
    return _pick((f"{lead} melody", as_lead, lead, f"{_article(lead)} {lead} playing the tune"), rng)


def _article(noun: str) -> str:
    return "an" if noun[0].lower() in "aeiou8" else "a"


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _opening(head: str, rng: np.random.Generator) -> str:
    """A verb and an article, either or neither, with the space that follows."""
    article = ""
    if rng.random() < 0.6:
        article = _article(head) if head.split()[-1] in _COUNTABLE else "some"
    words = [word for word in (_pick(_VERBS, rng), article) if word]
    return " ".join(words) + " " if words else ""


def _subject(facts: SongFacts, rng: np.random.Generator) -> str:
    if facts.solo == "melody":
        return _pick((f"solo {facts.lead}", f"{facts.lead} alone", f"unaccompanied {facts.lead}"), rng)
    if facts.solo == "chords":
        name = facts.chord_instruments[0]
        return _pick((f"solo {name}", f"{name} alone", f"just {name}"), rng)
    if facts.solo == "drums":
        return _pick((f"{facts.beat} drum loop", "drums only", "solo drums", "drum beat"), rng)
    return _pick(
        (*facts.style_names, *facts.style_names, "music", "song", "instrumental", "track", "tune"), rng
    )


def _tonality(facts: SongFacts, rng: np.random.Generator) -> str:
    short = f"{facts.key} {facts.mode}"
    return _pick(
        (f"in {short}", f"in the key of {short}", f"key: {short}", f"in {facts.mode}", f"{facts.mode} key"),
        rng,
    )


def _speed(facts: SongFacts, rng: np.random.Generator) -> str:
    bpm = str(round(facts.bpm))
    return _pick((f"{bpm} bpm", f"{bpm} BPM", f"at {bpm} beats per minute", f"tempo {bpm}"), rng)


def _absences(facts: SongFacts, rng: np.random.Generator) -> list[str]:
    phrases = []
    if facts.solo == "none" and facts.kit is None and rng.random() < 0.6:
        phrases.append(_pick(_NO_DRUMS, rng))
    if facts.solo == "none" and facts.lead is None and rng.random() < 0.5:
        phrases.append(_pick(_NO_MELODY, rng))
    return phrases


def _details(facts: SongFacts, rng: np.random.Generator) -> list[str]:
    details = []
    if rng.random() < 0.4:
        details.append(_speed(facts, rng))
    if rng.random() < 0.4 and facts.solo != "drums":
        details.append(_tonality(facts, rng))
    if rng.random() < (0.12 if facts.metre == "4/4" else 0.45):
        details.append(_pick(_METRE_WORDS[facts.metre], rng))
    return details + _absences(facts, rng)


def write_caption(facts: SongFacts, rng: np.random.Generator) -> str:
    """One caption with a random subset of the facts, in one of several forms."""
    adjectives = []
    if rng.random() < 0.55 and facts.solo != "drums":
        adjectives.append(_pick(moods_of(facts), rng))
    if rng.random() < 0.45:
        adjectives.append(_pick(_TEMPO_WORDS[tempo_word(facts.bpm, facts.metre)], rng))
    if len(adjectives) == 2 and rng.random() < 0.5:
        adjectives.reverse()
    subject = _subject(facts, rng)
    instruments = _instrument_phrases(facts, rng) if facts.solo == "none" else []
    details = _details(facts, rng)
    form = rng.random()
    if form < 0.22:  # a list of tags
        tags = [*adjectives, subject, *instruments, *details]
        return ", ".join(tags[int(k)] for k in rng.permutation(len(tags)))
    head = " ".join([*adjectives, subject])
    if form < 0.4:  # a one-liner without instruments
        return " ".join([_opening(head, rng) + head, *details[:1]])
    if form < 0.75 or not instruments:
        tail = (
            _pick((" with ", " featuring ", " played by "), rng) + _join(instruments) if instruments else ""
        )
        extra = "".join(f", {detail}" for detail in details)
        return f"{_opening(head, rng)}{head}{tail}{extra}"
    article = f"{_article(head).capitalize()} " if head.split()[-1] in _COUNTABLE else ""
    sentence = f"{article}{head}" if article else head[0].upper() + head[1:]
    first = f"{sentence}{''.join(', ' + d for d in details[:1])}."
    second = _pick(("It features ", "The instruments are ", "You hear ", "Played on "), rng) + _join(
        instruments
    )
    extra = "".join(f", {detail}" for detail in details[1:])
    return f"{first} {second}{extra}."


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
