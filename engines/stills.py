"""The pictures beside a video: a WebP thumbnail and a JPEG sprite sheet, drawn from the frames as they pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from domain.video import Plan, Size

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

THUMBNAIL_EDGE = 640
TILE_EDGE = 160
SHEET_COLUMNS = 10
SHEET_TILES = 100


@dataclass(frozen=True, slots=True)
class SheetLayout:
    """Where each tile of a sprite sheet comes from: row by row, left to right, no gaps.

    `frames[i]` is the shown frame in tile i; it stands for the i-th of len(frames) equal parts of the clip.
    """

    tile: Size
    columns: int
    rows: int
    frames: tuple[int, ...]


def fit(size: Size, edge: int) -> Size:
    """The size scaled down until its longest edge is `edge`; never scaled up, never below one pixel."""
    scale = min(1.0, edge / max(size.width, size.height))
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def sheet_layout(plan: Plan) -> SheetLayout:
    """Layout of the plan's sprite sheet: at most 10 x 10 tiles, evenly spaced over the whole delivered clip."""
    shown = plan.source_frames + plan.frames
    tiles = min(SHEET_TILES, shown * plan.rendered_fps // plan.fps)
    columns = min(SHEET_COLUMNS, tiles)
    frames = tuple(index * shown // tiles for index in range(tiles))
    return SheetLayout(fit(plan.delivered, TILE_EDGE), columns, -(-tiles // columns), frames)


class Stills:
    """Collects what the two pictures need while frames stream past; holds small pictures only."""

    def __init__(self, plan: Plan) -> None:
        self._thumbnail_size = fit(plan.delivered, THUMBNAIL_EDGE)
        self._thumbnail_frame = (plan.source_frames + plan.frames) // 3
        self._layout = sheet_layout(plan)
        self._tiles = {frame: tile for tile, frame in enumerate(self._layout.frames)}
        tile = self._layout.tile
        self._sheet = Image.new("RGB", (tile.width * self._layout.columns, tile.height * self._layout.rows))
        self._thumbnail: Image.Image | None = None

    def see(self, index: int, frame_HWC: NDArray[np.uint8]) -> None:
        """Take from shown frame `index` whatever the pictures need of it."""
        if index == self._thumbnail_frame:
            self._thumbnail = _resized(frame_HWC, self._thumbnail_size)
        if index in self._tiles:
            row, column = divmod(self._tiles[index], self._layout.columns)
            tile = self._layout.tile
            self._sheet.paste(_resized(frame_HWC, tile), (column * tile.width, row * tile.height))

    def write(self, thumbnail: Path, spritesheet: Path) -> None:
        """Write both files. Call after the last frame."""
        assert self._thumbnail is not None, "the thumbnail's frame has not passed"  # noqa: S101 - for the type
        self._thumbnail.save(thumbnail, "WEBP", quality=82)
        self._sheet.save(spritesheet, "JPEG", quality=80, optimize=True)


def _resized(frame_HWC: NDArray[np.uint8], size: Size) -> Image.Image:
    # Two whole-number box reductions first: five times faster than Lanczos over every pixel, and no visible loss.
    return Image.fromarray(frame_HWC).resize((size.width, size.height), Image.Resampling.LANCZOS, reducing_gap=2.0)
