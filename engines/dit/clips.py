"""A folder of clips with captions, as training data: found, checked all at once, shown at the model's size and rate.

A caption stands beside its clip (`waves.mp4`, `waves.txt`), or all of them in one file in the folder: `captions.csv`
with the columns `file` and `caption`, or `captions.jsonl` with an object of these two on each line.

Legend: T frames, C colours, H W pixels.
"""

# pyright: basic
# (PyAV's stubs are partial)

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from domain.video import Size
from engines.footage import OPTIONS, Footage, FootageError

SHORTEST = 1.0  # seconds
LONGEST = 60.0  # seconds used of a clip
SHOWN = 10  # problems that are listed
TABLES = ("captions.csv", "captions.jsonl")


class BadClips(ValueError):
    """The folder cannot be trained on; the message lists what is wrong with which file."""


@dataclass(frozen=True, slots=True)
class CaptionedClip:
    """A readable clip, its caption, and how it is made."""

    path: Path
    caption: str
    size: Size
    seconds: float


def find(folder: Path) -> list[CaptionedClip]:
    """All clips of a folder in the order of their names, each with its caption. Raises BadClips."""
    if not folder.is_dir():
        raise BadClips(f"{folder} is no folder")
    captions, problems = _tables(folder), list[str]()
    found: list[CaptionedClip] = []
    for path in sorted(each for each in folder.iterdir() if each.suffix.lower() == ".mp4"):
        try:
            found.append(_looked_at(path, _caption(path, captions.pop(path.stem, ""))))
        except BadClips as problem:
            problems.append(f"{path.name}: {problem}")
    problems += [f"{name}: captioned, and not there" for name in sorted(captions)]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise BadClips("\n".join([f"{folder} cannot be trained on:", *problems[:SHOWN], *more]))
    if not found:
        raise BadClips(f"{folder} holds no clips: *.mp4, each with a caption in a *.txt of the same name")
    return found


def _caption(path: Path, listed: str) -> str:
    beside = path.with_suffix(".txt")
    caption = " ".join((_text(beside) if beside.is_file() else listed).split())
    if not caption:
        raise BadClips(f"no caption, neither in {beside.name} nor in {' or '.join(TABLES)}")
    return caption


def _tables(folder: Path) -> dict[str, str]:
    """Clips' names without their ending -> captions, from the files that hold many."""
    captions: dict[str, str] = {}
    for name, read in zip(TABLES, (_csv, _jsonl), strict=True):
        if (folder / name).is_file():
            captions |= {Path(file).stem: caption for file, caption in read(folder / name).items()}
    return captions


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadClips(f"{path.name} is not UTF-8") from error


def _csv(path: Path) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    captions: dict[str, str] = {}
    try:
        if not {"file", "caption"} <= set(rows.fieldnames or ()):
            raise BadClips(f"{path.name} must begin with a line that names the columns file and caption")
        for row in rows:
            if None in row or None in row.values():
                columns = len(rows.fieldnames or ())
                raise BadClips(
                    f"{path.name} line {rows.line_num} has not {columns} columns; a caption with a comma needs quotes"
                )
            captions[row["file"]] = row["caption"]
    except csv.Error as error:
        raise BadClips(f"{path.name} line {rows.reader.line_num} cannot be read: {error}") from error
    return captions


def _jsonl(path: Path) -> dict[str, str]:
    captions: dict[str, str] = {}
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        match row:
            case {"file": str(file), "caption": str(caption)}:
                captions[file] = caption
            case _:
                raise BadClips(f'{path.name} line {number} is not {{"file": ..., "caption": ...}}')
    return captions


def _looked_at(path: Path, caption: str) -> CaptionedClip:
    """What the container says, once its first picture could be decoded. Raises BadClips."""
    try:
        with av.open(str(path), format="mp4", container_options=OPTIONS) as container:
            stream = container.streams.video[0]
            picture = next(container.decode(stream))
            length = container.duration / av.time_base if container.duration else 0.0
            seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else length
            size = Size(picture.width, picture.height)
    except (FFmpegError, IndexError, StopIteration) as error:
        raise BadClips("no readable clip") from error
    if seconds < SHORTEST:
        raise BadClips(f"too short: {seconds:.2g} s, and {SHORTEST:g} s is the least")
    return CaptionedClip(path, caption, size, seconds)


def pieces(clip: CaptionedClip, size: Size, fps: int, longest: int) -> Iterator[NDArray[np.uint8]]:
    """A clip as pieces_THWC of 1 + 4k frames, at most `longest`: cut to the shape of `size` around its centre, scaled.

    What is left at the end is a piece too if it has a second. Raises BadClips for a clip that breaks off.
    """
    frames = int(min(clip.seconds, LONGEST) * fps + 0.5)
    held: list[NDArray[np.uint8]] = []
    try:
        for chunk_THWC in Footage(clip.path).frames(cover(clip.size, size), fps, frames):
            held.extend(middle(frame_HWC, size) for frame_HWC in chunk_THWC)
            while len(held) >= longest:
                yield np.stack(held[:longest])
                held = held[longest:]
    except FootageError as error:
        raise BadClips(str(error)) from error
    if len(held) >= SHORTEST * fps:
        yield np.stack(held[: 1 + (len(held) - 1) // 4 * 4])


def nearest(clip: Size, offered: Sequence[Size]) -> Size:
    """The size of those offered whose shape is most like the clip's."""
    return min(offered, key=lambda size: abs(math.log(size.width / size.height * clip.height / clip.width)))


def cover(clip: Size, size: Size) -> Size:
    """The clip's own shape, just large enough that `size` can be cut out of it."""
    scale = max(size.width / clip.width, size.height / clip.height)
    return Size(max(size.width, round(clip.width * scale)), max(size.height, round(clip.height * scale)))


def middle(frame_HWC: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """The centre of a frame."""
    top, left = (frame_HWC.shape[0] - size.height) // 2, (frame_HWC.shape[1] - size.width) // 2
    return frame_HWC[top : top + size.height, left : left + size.width]
