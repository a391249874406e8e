"""The vocabulary of captions: colours, synonyms, fillers. A concept maps to the phrases that may name it."""

from __future__ import annotations

from random import Random

from engines.dit.data.canvas import Colour
from engines.dit.data.scene import Pair

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
    "star": ("star", "star", "five-pointed star"),
    "ring": ("ring", "ring", "hoop", "torus"),
    "diamond": ("diamond", "diamond", "rhombus", "gem"),
    "heart": ("heart", "heart", "love heart"),
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
    "mountains": (
        "mountains",
        "snowy mountains",
        "mountain peaks",
        "mountain ranges",
        "alpine peaks",
        "high mountains",
    ),
    "forest": ("forest", "forest", "forest", "wood", "woodland"),
    "campfire": ("campfire", "campfire", "bonfire", "fire", "camp fire"),
}

NEW: dict[str, tuple[str, ...]] = {  # names of colours that came later: some of them never beside some objects
    "red": ("vermilion", "burgundy", "maroon", "cherry", "carmine"),
    "orange": ("apricot", "pumpkin", "rust", "copper", "saffron"),
    "yellow": ("mustard", "canary", "sunny yellow", "gold", "maize"),
    "green": ("chartreuse", "olive", "jade", "forest green", "mint"),
    "cyan": ("aquamarine", "seafoam", "cyan blue"),
    "blue": ("sapphire", "ultramarine", "cerulean", "royal blue", "denim"),
    "purple": ("plum", "mauve", "lavender", "amethyst", "grape"),
    "pink": ("fuchsia", "salmon", "coral", "blush", "flamingo"),
    "white": ("cream", "pearl", "chalk", "alabaster"),
    "black": ("ebony", "onyx", "charcoal", "raven black"),
}
NEWER = 0.22  # share of colours that are called by a new name

LOOKS = ("beautiful", "serene", "quiet", "peaceful", "calm", "stunning", "majestic", "lovely", "tranquil", "dramatic")
OPENERS = ("", "", "", "", "", "a video of ", "a wide shot of ", "footage of ", "a clip of ")
CLOSERS = ("", "", "", "", "", "", ", highly detailed", ", 4k", ", photorealistic")


def say(rng: Random, concept: str) -> str:
    """One of the phrases for a concept."""
    return rng.choice(SYNONYMS[concept])


def hue(rng: Random, colour: str, thing: str) -> tuple[str, tuple[Pair, ...]]:
    """A name for the colour of a thing, and the combination if the name is a new one."""
    if rng.random() >= NEWER:
        return say(rng, colour), ()
    name = rng.choice(NEW[colour])
    return name, (("synonym", name, thing),)


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
