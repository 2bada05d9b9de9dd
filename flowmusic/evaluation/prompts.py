"""Prompts of a user's own words for the text probe: none of them can come out of the caption writer."""

from __future__ import annotations

from dataclasses import dataclass

from flowmusic.evaluation.probe import FAMILIES


@dataclass(frozen=True)
class Prompt:
    """A text and the attributes it asks for (True) or against (False)."""

    text: str
    asks: dict[str, bool]


_FAMILY_TEXTS: dict[str, tuple[str, ...]] = {
    "piano": (
        "Ivories tinkling all by themselves in an empty hall",
        "I'd love to hear a concert grand. Keep everything else out of it.",
        "a pianist practising at home",
        "Please: keyboard recital, Steinway sound",
    ),
    "mallets": (
        "wooden bars struck with soft mallets, like a marimba or a xylophone would sound",
        "Something like a toy music box. Bell-like and tiny.",
        "vibes and glockenspiel sparkle here",
        "An ensemble of tuned percussion with mallet players",
    ),
    "organ": (
        "Sunday morning in the cathedral, pipes roaring",
        "A Hammond with a spinning Leslie speaker. Nothing more.",
        "an organist fills the church",
        "old drawbar organ sounds, please",
    ),
    "guitar": (
        "Six strings, fingers, a campfire",
        "Somebody strums a Spanish guitar. You can hear the nylon.",
        "a Stratocaster through a tube amp",
        "guitarist noodling around on the couch",
    ),
    "strings": (
        "bows on strings: a quartet in a drawing room",
        "Violins soar. Violas and cellos answer them.",
        "lush orchestral string section swelling",
        "a fiddler and a cellist meet",
    ),
    "brass": (
        "a fanfare! horns and trumpets announcing the king",
        "The trombones growl. A trumpeter answers with a mute.",
        "brass band marching by",
        "horn section hits, blaring",
    ),
    "woodwinds": (
        "breathy flutes and a clarinettist in the forest",
        "A saxophonist on a rainy street corner. Lonely and breathy.",
        "oboe and bassoon having a conversation",
        "woodwind quintet, pastoral",
    ),
    "synth": (
        "analogue synthesiser, sawtooth waves and filter sweeps",
        "Make it sound like an eighties video game. Square waves everywhere!",
        "soft synthesised pads drifting through space",
        "Moog-like keyboards with glide",
    ),
}
_OTHER_TEXTS: dict[tuple[str, bool], tuple[str, ...]] = {
    ("drums", True): (
        "a drummer going wild on the kit",
        "Heavy backbeat. The snare cracks and the hi-hats sizzle.",
        "percussion-driven groove with a booming kick",
        "beats, beats, beats, with cymbals crashing",
    ),
    ("drums", False): (
        "leave the drummer at home",
        "No beat at all, please. Only held notes.",
        "free of any percussion whatsoever, quiet",
        "Nobody hits anything here. Just melody and harmony.",
    ),
    ("fast", True): (
        "breakneck speed, racing ahead",
        "Really quick, please! We are in a hurry.",
        "presto, as rapid as you can",
        "a high-tempo chase scene that never rests",
    ),
    ("fast", False): (
        "taking its time, hardly moving",
        "Very slowly now. Nobody is in a hurry.",
        "largo, dragging its feet",
        "a drowsy lullaby at a crawling pace",
    ),
    ("minor", True): (
        "gloomy and grieving, a funeral procession",
        "It should feel sorrowful. Use a minor scale throughout.",
        "dark tonality, tragic and bleak",
        "a sinister tune in a minor mode",
    ),
    ("minor", False): (
        "bright and cheery, like a birthday party",
        "It should feel joyous. Use a major scale throughout.",
        "sunny tonality, carefree and optimistic",
        "a triumphant tune in a major mode",
    ),
}


def all_prompts() -> tuple[Prompt, ...]:
    """The fixed list: of each family (which asks against the other families), drums, tempo and mode."""
    families = [
        Prompt(text, {other: other == name for other in FAMILIES})
        for name, texts in _FAMILY_TEXTS.items()
        for text in texts
    ]
    others = [Prompt(text, {name: asked}) for (name, asked), texts in _OTHER_TEXTS.items() for text in texts]
    # In turns, so that the first n of the list ask for something of everything.
    ordered = [prompt for k in range(4) for prompt in (*families[k::4], *others[k::4])]
    return tuple(ordered)
