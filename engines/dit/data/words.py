"""The vocabulary of captions: colours, synonyms, fillers. A concept maps to the phrases that may name it."""

from __future__ import annotations

from random import Random

from engines.dit.data.canvas import Colour

COLOURS: dict[str, Colour] = {
    "red": (0.86, 0.12, 0.12),
    "orange": (0.98, 0.52, 0.08),
    "yellow": (0.98, 0.86, 0.16),
    "green": (0.16, 0.66, 0.24),
    "cyan": (0.16, 0.76, 0.80),
    "blue": (0.12, 0.28, 0.86),
    "purple": (0.50, 0.18, 0.72),
    "pink": (0.97, 0.48, 0.68),
    "white": (0.95, 0.95, 0.95),
    "black": (0.07, 0.07, 0.08),
}

SYNONYMS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "red", "crimson", "scarlet", "ruby"),
    "orange": ("orange", "orange", "orange", "tangerine", "amber"),
    "yellow": ("yellow", "yellow", "yellow", "golden", "lemon"),
    "green": ("green", "green", "green", "emerald", "lime"),
    "cyan": ("cyan", "cyan", "teal", "turquoise", "aqua"),
    "blue": ("blue", "blue", "blue", "azure", "navy", "cobalt"),
    "purple": ("purple", "purple", "violet", "lilac", "indigo"),
    "pink": ("pink", "pink", "pink", "magenta", "rose"),
    "white": ("white", "white", "white", "ivory", "snowy white"),
    "black": ("black", "black", "black", "dark", "jet black"),
    "ball": ("ball", "ball", "ball", "sphere", "circle", "round ball"),
    "square": ("square", "square", "cube", "box", "block"),
    "triangle": ("triangle", "triangle", "pyramid", "wedge"),
    "sea": ("sea", "sea", "ocean", "water", "waves", "calm sea"),
    "lake": (
        "mountain lake",
        "mountain lake",
        "alpine lake",
        "lake in the mountains",
        "lake between mountains",
        "lake",
    ),
    "city": ("city", "city", "futuristic city", "skyline", "metropolis", "cyberpunk city", "downtown"),
    "skyscrapers": ("skyscrapers", "towers", "tall buildings", "high-rises", "buildings"),
    "cars": ("flying cars", "flying cars", "hover cars", "flying vehicles", "flying traffic"),
    "astronaut": ("an astronaut", "an astronaut", "a spaceman", "a cosmonaut", "a person in a space suit"),
    "space": ("space", "outer space", "deep space", "the cosmos", "orbit"),
    "earth": ("Earth", "Earth", "the Earth", "planet Earth", "our planet"),
    "night": ("night", "midnight", "nighttime"),
    "day": ("by day", "on a sunny day", "in daylight", "at noon", "on a clear day", "under a blue sky"),
    "sunset": ("sunset", "sunset", "sunset", "dusk", "sundown"),
    "sunrise": ("sunrise", "sunrise", "sunrise", "dawn", "daybreak"),
    "campfire": ("campfire", "campfire", "bonfire", "fire", "camp fire"),
}

LOOKS = ("beautiful", "serene", "quiet", "peaceful", "calm", "stunning", "majestic", "lovely", "tranquil", "dramatic")
OPENERS = ("", "", "", "", "", "a video of ", "a wide shot of ", "footage of ", "a clip of ")
CLOSERS = ("", "", "", "", "", "", ", highly detailed", ", 4k", ", photorealistic")


def say(rng: Random, concept: str) -> str:
    """One of the phrases for a concept."""
    return rng.choice(SYNONYMS[concept])


def article(phrase: str) -> str:
    """The phrase with `a` or `an` in front."""
    return f"{'an' if phrase[0].lower() in 'aeiou' else 'a'} {phrase}"


def look(rng: Random, odds: float = 0.4) -> str:
    """An adjective and a space, or nothing."""
    return rng.choice(LOOKS) + " " if rng.random() < odds else ""


def frame(rng: Random, sentence: str) -> str:
    """A caption as people write it: an opener, the sentence, a closer, sometimes a capital and a full stop."""
    text = rng.choice(OPENERS) + sentence + rng.choice(CLOSERS)
    if rng.random() < 0.25:
        text = text[0].upper() + text[1:]
    return text + ("." if rng.random() < 0.2 else "")
