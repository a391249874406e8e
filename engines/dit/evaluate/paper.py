"""Contact sheets: rows of small frames under a line of text; frames that were given wear a coloured border."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from engines.dit.evaluate.asking import bytes_of

PICTURE, CLIP, AREA = "#ff8c00", "#1e6fff", "#c218c2"  # borders: a picture, a clip and an area that were given
WIDE, TALL, LABEL, GAP, BORDER = 160, 90, 16, 4, 4
HEAVIEST = 400_000  # bytes


@dataclass(frozen=True, slots=True)
class Cell:
    """A frame_CHW in [0, 1], and the colour of its border if it has one."""

    frame_CHW: Tensor
    border: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Frames under their text."""

    text: str
    cells: Sequence[Cell]


def picked(video_TCHW: Tensor, count: int, border: str = "") -> list[Cell]:
    """Some frames of a clip, evenly from the first to the last."""
    places = np.linspace(0, len(video_TCHW) - 1, count).round().astype(int)
    return [Cell(video_TCHW[place], border) for place in places]


def lay(rows: Sequence[Row], columns: int = 1) -> Image.Image:
    """All rows on white, `columns` of them beside each other."""
    across = max(len(row.cells) for row in rows) * (WIDE + GAP)
    down = -(-len(rows) // columns)
    sheet = Image.new("RGB", (columns * across + (columns - 1) * 2 * GAP, down * (LABEL + TALL + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, row in enumerate(rows):
        left, top = index % columns * (across + 2 * GAP), index // columns * (LABEL + TALL + GAP)
        pen.text((left + 2, top + 2), row.text, fill="black")
        for place, cell in enumerate(row.cells):
            sheet.paste(_small(cell), (left + place * (WIDE + GAP), top + LABEL))
    return sheet


def _small(cell: Cell) -> Image.Image:
    """The frame in WIDE x TALL; a border covers its margin."""
    frame = Image.fromarray(bytes_of(cell.frame_CHW[None])[0])
    scale = min(WIDE / frame.width, TALL / frame.height)
    fitted = frame.resize((round(frame.width * scale), round(frame.height * scale)), Image.Resampling.LANCZOS)
    small = Image.new("RGB", (WIDE, TALL), "white")
    place = (WIDE - fitted.width) // 2, (TALL - fitted.height) // 2
    small.paste(fitted, place)
    if cell.border:
        edges = (*place, place[0] + fitted.width - 1, place[1] + fitted.height - 1)
        ImageDraw.Draw(small).rectangle(edges, outline=cell.border, width=BORDER)
    return small


def save(sheet: Image.Image, path: Path) -> None:
    """As WebP, in the best quality that stays under HEAVIEST bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in range(90, 20, -10):
        sheet.save(path, quality=quality, method=4)
        if path.stat().st_size <= HEAVIEST:
            return
