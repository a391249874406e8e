"""What the director adds to a scene: a style, a camera move, a tempo, and the words for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from engines.dit.camera import PAN, ZOOM, Way

STYLES = ("cinematic", "cartoon", "sketch", "noir")
MOVES = ("pan left", "pan right", "zoom in", "zoom out")
PLAIN = 0.30  # share of clips without any of it
EACH = 0.45  # odds of each of the three in the other clips
PANS, ZOOMS = (0.06, PAN), (0.05, ZOOM)  # slowest and fastest at first, in the units of Camera
FASTEST = 3.0  # scene seconds per clip second

STYLE_WORDS = {
    "cinematic": (
        "cinematic shot of {}", "{}, cinematic", "{} in cinematic style", "cinematic film scene of {}",
        "{}, cinematic lighting", "a movie scene, {}", "cinematic, {}",
    ),
    "cartoon": (
        "a cartoon of {}", "{} in cartoon style", "{}, cartoon", "animated cartoon, {}", "{} in the style of a comic",
        "{}, flat cartoon animation", "cartoon style, {}",
    ),
    "sketch": (
        "a pencil sketch of {}", "{} in the style of a pencil sketch", "{}, sketch", "hand-drawn sketch of {}",
        "{} drawn in pencil", "{}, pencil drawing on paper", "sketch style, {}",
    ),
    "noir": (
        "black and white film noir, {}", "{} in the style of film noir", "{}, noir", "{} in black and white",
        "a monochrome noir film, {}", "{}, black and white, noir", "noir style, {}",
    ),
}  # fmt: skip
MOVE_WORDS = {
    "pan left": ("{}, camera pans left", "{}, the camera moves left", "camera pans left, {}", "{}, panning left"),
    "pan right": ("{}, camera pans right", "{}, the camera moves right", "camera pans right, {}", "{}, panning right"),
    "zoom in": ("{}, camera zooms in", "{}, zoom in", "zooming in on {}", "{}, the camera moves closer"),
    "zoom out": ("{}, camera zooms out", "{}, zoom out", "zooming out from {}", "{}, the camera moves away"),
}
TEMPO_WORDS = {
    "slow": ("{} in slow motion", "slow motion, {}", "{}, slow motion", "{}, very slowly", "{}, slowed down"),
    "fast": ("{}, fast", "fast motion, {}", "{}, sped up", "time-lapse of {}", "{} at high speed", "{}, quickly"),
}
COLOURLESS = ("object", "background", "ground", "planet", "time", "car")  # facts that ink on paper does not show


@dataclass(frozen=True, slots=True)
class Camera:
    """How the camera moves at first; it eases out (see `engines.dit.camera`)."""

    pan_u: float = 0.0  # short sides per second; + = the camera moves right
    pan_v: float = 0.0  # short sides per second; + = the camera moves down
    zoom: float = 0.0  # log of the scale per second; + = in

    @property
    def way(self) -> Way:
        """Pan and zoom, in parts of the fastest."""
        return self.pan_u / PANS[1], self.zoom / ZOOMS[1]


STILL = Camera()


@dataclass(frozen=True, slots=True)
class Direction:
    """What the director decided."""

    style: str = ""
    move: str = ""
    camera: Camera = STILL
    pace: float = 1.0


def direct(rng: Random, *, may_move: bool = True) -> Direction:
    """Nothing at all for a good part of the clips, else at least one of style, move (if it may) and tempo."""
    plain = rng.random() < PLAIN
    style = move = ""
    pace = 1.0
    while not plain and not style and not move and pace == 1.0:
        style = rng.choice(STYLES) if rng.random() < EACH else ""
        move = rng.choice(MOVES) if may_move and rng.random() < EACH else ""
        pace = FASTEST ** rng.uniform(*rng.choice(((-1.0, -0.35), (0.35, 1.0)))) if rng.random() < EACH else 1.0
    return Direction(style, move, camera_for(rng, move), pace)


def camera_for(rng: Random, move: str) -> Camera:
    """A camera that moves at one of many speeds."""
    pan, zoom = rng.uniform(*PANS), rng.uniform(*ZOOMS)
    return {
        "": STILL,
        "pan left": Camera(pan_u=-pan),
        "pan right": Camera(pan_u=pan),
        "zoom in": Camera(zoom=zoom),
        "zoom out": Camera(zoom=-zoom),
    }[move]


def tell(rng: Random, sentence: str, facts: Mapping[str, str], what: Direction) -> tuple[str, dict[str, str]]:
    """The sentence with the director's words, and the facts that are still to be seen.

    A camera's move is always said. Style and tempo are sometimes left to the scalars.
    """
    seen = dict(facts)
    if what.style in ("sketch", "noir"):
        seen = {name: fact for name, fact in seen.items() if name not in COLOURLESS}
    if what.style == "cinematic":
        seen.pop("background", None)  # its bars hide the corners
    if what.move or what.pace > math.sqrt(FASTEST):
        seen.pop("motion", None)  # on the screen it goes another way, or round and round
    if what.pace != 1 and rng.random() < 0.65:
        sentence = rng.choice(TEMPO_WORDS["fast" if what.pace > 1 else "slow"]).format(sentence)
    if what.move:
        sentence = rng.choice(MOVE_WORDS[what.move]).format(sentence)
        seen["camera"] = what.move
    if what.style and rng.random() < 0.85:
        sentence = rng.choice(STYLE_WORDS[what.style]).format(sentence)
        seen["style"] = what.style
    return sentence, seen
