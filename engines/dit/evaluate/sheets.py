"""One contact sheet for the mission's prompts and one for each task, for people to look at. Nothing is chosen."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import torch

from domain.video import Operation, Shot
from engines.dit.data import STYLES, Clip, clip
from engines.dit.evaluate.asking import FPS, SECONDS, Exam, bytes_of, footage
from engines.dit.evaluate.behaviour import INTENSITIES, SHOTS
from engines.dit.evaluate.given import STRENGTHS, keyed, plain_clips
from engines.dit.evaluate.paper import AREA, CLIP, PICTURE, Cell, Row, lay, picked, save
from engines.dit.evaluate.prompts import FIRST_SEED
from engines.dit.evaluate.strangers import picture
from engines.protocol import Conditions

MISSION = SHOTS
WORLD = (
    "a red ball rolls left",
    "a green star bounces on a white background",
    "a blue ring moves in a circle in front of a yellow wall",
    "a purple cube slides right over orange ground",
    "sunset over the sea",
    "the moon over the ocean at night, a sailing boat",
    "snow falling over a forest",
    "heavy rain over the hills",
    "a campfire burning in the woods at night",
    "a purple planet among the stars",
    "an autumn forest with rays of sunlight",
    "mountains on a sunny day with drifting clouds",
)
ACROSS = 8  # frames of a row
SEED = 1
EDIT = {"operation": Operation.EDIT, "source_clip": "s", "source_seconds": float(SECONDS)}


def mission(exam: Exam) -> Iterator[Row]:
    """The four prompts that the service is to be good at."""
    return (Row(prompt, picked(exam.make(prompt, seed=SEED), ACROSS)) for prompt in MISSION)


def world(exam: Exam) -> Iterator[Row]:
    """A prompt for every kind of scene."""
    return (Row(prompt, picked(exam.make(prompt, seed=SEED), 6)) for prompt in WORLD)


def first_frame(exam: Exam) -> Iterator[Row]:
    """From one picture; the last of them is from outside the model's world."""
    given = [(one.caption, exam.truth(one, 1)[0]) for one in known(("lake", "city", "shapes"))]
    for prompt, each in (*given, ("a photograph", picture(0, exam.size))):
        made = exam.make(prompt, seed=SEED, first_frame="f", conditions=Conditions(bytes_of(each[None])[0]))
        yield Row(prompt, [Cell(each, PICTURE), *picked(made, ACROSS - 1)])


def first_last(exam: Exam) -> Iterator[Row]:
    """From the first and to the last picture."""
    for one in known(("shapes", "sea", "space")):
        video = exam.truth(one)
        ends = (bytes_of(video[[place]])[0] for place in (0, -1))
        made = exam.make(one.caption, seed=SEED, first_frame="f", last_frame="l", conditions=Conditions(*ends))
        yield Row(one.caption, [Cell(video[0], PICTURE), *picked(made, ACROSS - 2), Cell(video[-1], PICTURE)])


def fill(exam: Exam) -> Iterator[Row]:
    """Between three pictures; below, the true frames."""
    for one in known(("shapes", "city")):
        video = exam.truth(one)
        made = exam.make(one.caption, seed=SEED, **keyed(video))
        middle = len(video) // 2
        given = [Cell(video[place], PICTURE) for place in (0, middle, -1)]
        inner = [picked(made[part], 3) for part in (slice(3, middle - 2), slice(middle + 3, -3))]
        yield Row(one.caption, [given[0], *inner[0], given[1], *inner[1], given[2]])
        yield Row("the true clip", [*picked(video[:middle], 4), *picked(video[middle:], 5)])


def extension(exam: Exam) -> Iterator[Row]:
    """Going on with a clip."""
    with TemporaryDirectory() as folder:
        for one in known(("shapes", "lake", "space")):
            video = exam.truth(one)
            source = Conditions(source=footage(video, Path(folder), one.family))
            given = {"operation": Operation.EXTEND, "source_clip": "s", "source_seconds": float(SECONDS)}
            made = exam.make(one.caption, seed=SEED, conditions=source, **given)
            yield Row(one.caption, [*picked(video, 4, CLIP), *picked(made, 5)])


def repaint(exam: Exam) -> Iterator[Row]:
    """A clip under another prompt, at rising strength."""
    one, prompt = known(("lake",))[0], "a mountain lake at night under the stars"
    with TemporaryDirectory() as folder:
        video = exam.truth(one)
        source = Conditions(source=footage(video, Path(folder)))
        yield Row(f"given: {one.caption}", picked(video, ACROSS, CLIP))
        for strength in STRENGTHS:
            made = exam.make(prompt, seed=SEED, conditions=source, strength=strength, **EDIT)
            yield Row(f"{prompt}, strength {strength}", picked(made, ACROSS))


def inpaint(exam: Exam) -> Iterator[Row]:
    """An area of a clip under another prompt."""
    one = next(each for each in plain_clips(400) if each.family == "sea" and not each.values["boat"])
    prompt = f"{one.caption.rstrip('.')}, a sailing boat"
    mask = torch.zeros(exam.size.height, exam.size.width)
    mask[exam.size.height // 3 :, exam.size.width // 3 : -exam.size.width // 3] = 1
    with TemporaryDirectory() as folder:
        video = exam.truth(one)
        source = Conditions(source=footage(video, Path(folder)), mask_HW=(mask * 255).byte().numpy())
        yield Row(f"given: {one.caption}", [*picked(video, ACROSS - 1, CLIP), Cell(mask.expand(3, -1, -1), AREA)])
        made = exam.make(prompt, seed=SEED, conditions=source, strength=1.0, mask="m", **EDIT)
        yield Row(f"{prompt}, in the white area", picked(made, ACROSS))


def shots(exam: Exam) -> Iterator[Row]:
    """Four shots of three seconds in one clip."""
    told = tuple(Shot(prompt, 3) for prompt in MISSION)
    made = exam.make("", seed=SEED, seconds=12, shots=told)
    for shot, part in zip(told, made.split(3 * FPS), strict=True):
        yield Row(shot.prompt, picked(part, ACROSS))


def styles(exam: Exam) -> Iterator[Row]:
    """One prompt in every style."""
    for style in ("", *STYLES):
        made = exam.make(MISSION[0], seed=SEED, style=style)
        yield Row(f"{MISSION[0]}  [{style or 'no style'}]", picked(made, ACROSS))


def motion(exam: Exam) -> Iterator[Row]:
    """One prompt at three intensities."""
    for prompt in ("a red ball rolls left", MISSION[1]):
        for each in INTENSITIES:
            made = exam.make(prompt, seed=SEED, motion_intensity=each)
            yield Row(f"{prompt}  [motion intensity {each}]", picked(made, ACROSS))


def camera(exam: Exam) -> Iterator[Row]:
    """One prompt under every move of the camera."""
    for move in ("pans left", "pans right", "zooms in", "zooms out"):
        prompt = f"mountains on a sunny day, camera {move}"
        yield Row(prompt, picked(exam.make(prompt, seed=SEED), ACROSS))


def known(families: Sequence[str]) -> list[Clip]:
    """A held-out clip of each family, without style, camera moves or tempo."""
    plain = {family: clip(FIRST_SEED, family) for family in families}
    for one in reversed(plain_clips(120)):
        plain[one.family] = one
    return [plain[family] for family in families]


SHEETS: Mapping[str, Callable[[Exam], Iterator[Row]]] = MappingProxyType(
    {
        "mission": mission,
        "world": world,
        "first-frame": first_frame,
        "first-last": first_last,
        "fill": fill,
        "extension": extension,
        "repaint": repaint,
        "inpaint": inpaint,
        "shots": shots,
        "styles": styles,
        "motion": motion,
        "camera": camera,
    }
)


def draw_sheets(exam: Exam, folder: Path, names: Sequence[str] = tuple(SHEETS)) -> Iterator[Path]:
    """Draw some or all; yields each file, `dit-<name>.webp`, when it is written."""
    for name in names:
        path = folder / f"dit-{name}.webp"
        save(lay(list(SHEETS[name](exam)), columns=2 if name == "world" else 1), path)
        yield path
