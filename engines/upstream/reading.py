"""A far end's file to exactly the frames of the plan, in chunks, within bounds.

The file is not trusted: it is read by one demuxer and a few decoders, without any protocol, and stops at the first
picture that is too large or too much. Shape suffixes: T frames, H height, W width, C colour channels (RGB).
"""

# pyright: reportUnknownMemberType=false
# PyAV's stubs leave the keyword arguments of streams open.
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, TYPE_CHECKING

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

from domain.video import Operation, Plan, Size
from engines.protocol import Unrenderable
from engines.upstream.wire import FarEndFailed

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

log = logging.getLogger(__name__)

CHUNK = 8  # frames
CODECS = frozenset({"h264", "hevc", "av1", "libdav1d", "vp9", "mpeg4"})
MOST_EDGE = 8192
MOST_PIXELS = 8192 * 4352
MOST_RATE = 240  # pictures a second that are looked through
OPTIONS = {"protocol_whitelist": ""}
_HIGH_DEFINITION = 720  # lines from which an untagged file is taken to be BT.709


@dataclass(frozen=True, slots=True)
class Found:
    """What the far end really drew."""

    size: Size
    rate: Fraction


def frames(
    file: IO[bytes], plan: Plan, missing_frames: int, on_found: Callable[[Found], None] = lambda _: None
) -> Iterator[NDArray[np.uint8]]:
    """Yield chunks of `frames_THWC` (uint8, plan.rendered), plan.rendered_frames in all.

    Each is the picture that a player would show at that moment, so another rate changes no speed; another size is
    scaled. The file of an extension begins with its source, which is left out. Of too many the first are taken; up to
    `missing_frames` at the end are the last picture again. Raises Unrenderable where more are missing or a bound is
    met, FarEndFailed for what cannot be read. `on_found` is told what was drawn, before the first chunk.
    """
    chunk: list[NDArray[np.uint8]] = []
    try:
        with av.open(file, "r", format="mp4", container_options=OPTIONS) as container:
            for frame_HWC in _timed(container, plan, missing_frames, on_found):
                chunk.append(frame_HWC)
                if len(chunk) == CHUNK:
                    yield np.stack(chunk)
                    chunk = []
    except (FFmpegError, OSError) as error:
        raise FarEndFailed(f"the far end's file cannot be read: {error}") from error
    if chunk:
        yield np.stack(chunk)


def _timed(
    container: InputContainer, plan: Plan, missing_frames: int, on_found: Callable[[Found], None]
) -> Iterator[NDArray[np.uint8]]:
    stream = _opened(container)
    found = Found(Size(stream.width, stream.height), _rate(stream))
    _report(found, plan)
    on_found(found)
    fps, count = plan.rendered_fps, plan.rendered_frames
    first = round(plan.source_seconds * fps) if plan.operation is Operation.EXTEND else 0
    count += first
    slack = Fraction(1, 4) / max(Fraction(fps), found.rate)  # coarse time bases round
    shown, second = 0, Fraction(0)
    held: VideoFrame | None = None
    for second, picture in _pictures(container, stream, most=count * MOST_RATE // fps):
        if held is not None:
            until = min(count, _moments_before(second - slack, fps))
            yield from _repeated(held, plan.rendered, until - max(shown, first))
            shown = max(shown, until)
        if shown == count:
            return
        held = picture
    if held is None:
        raise FarEndFailed("the far end's file holds no pictures")
    there = min(count, max(shown, _moments_before(second + 1 / found.rate - slack, fps)))
    if count - there > missing_frames:
        drawn = f"{max(0, there - first)} of {plan.rendered_frames}"
        raise Unrenderable(f"the far end drew {drawn} frames at {fps} a second")
    yield from _repeated(held, plan.rendered, count - max(shown, first))


def _moments_before(second: Fraction, fps: int) -> int:
    """How many of the moments 0, 1/fps, 2/fps … lie before that second."""
    return max(0, -(-second * fps // 1))


def _opened(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise FarEndFailed("the far end's file holds no video")
    stream = container.streams.video[0]
    if stream.codec_context.name not in CODECS:
        raise Unrenderable(f"the far end's codec is not read here: {stream.codec_context.name}")
    _check_size(stream.width, stream.height)
    return stream


def _rate(stream: VideoStream) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    if not rate or rate <= 0:
        raise FarEndFailed("the far end's file has no frame rate")
    return Fraction(rate)


def _report(found: Found, plan: Plan) -> None:
    if (found.size, found.rate) != (plan.rendered, plan.rendered_fps):
        asked = f"{plan.rendered} at {plan.rendered_fps}"
        log.warning("the far end drew otherwise", extra={"asked": asked, "drew": f"{found.size} at {found.rate}"})


def _pictures(container: InputContainer, stream: VideoStream, most: int) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Every picture with the second at which it appears, counted from the first."""
    start: Fraction | None = None
    for number, picture in enumerate(container.decode(stream)):
        if number >= most:
            raise Unrenderable(f"the far end's file has more than {most} pictures before the clip's end")
        _check_size(picture.width, picture.height)
        second = Fraction(picture.pts or 0) * (picture.time_base or 0)
        start = second if start is None else start
        yield second - start, picture


def _check_size(width: int, height: int) -> None:
    if not 0 < max(width, height) <= MOST_EDGE or width * height > MOST_PIXELS:
        raise Unrenderable(f"the far end's pictures are too large: {width}x{height}")


def _repeated(picture: VideoFrame, size: Size, times: int) -> Iterator[NDArray[np.uint8]]:
    """The picture at that size, so many times; converted once, and not at all for none."""
    if times <= 0:
        return
    scale = Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    rgb = picture.reformat(
        width=size.width,
        height=size.height,
        format="rgb24",
        src_colorspace=_colours(picture),
        interpolation=scale,
    )
    frame_HWC = rgb.to_ndarray().astype(np.uint8, copy=False)
    for _ in range(times):
        yield frame_HWC


def _colours(picture: VideoFrame) -> Colorspace:
    """What the file says; untagged, what its size implies."""
    if picture.colorspace == Colorspace.ITU709:
        return Colorspace.ITU709
    tagged = picture.colorspace not in {0, 2}  # RGB or unspecified
    return Colorspace.ITU601 if tagged or picture.height < _HIGH_DEFINITION else Colorspace.ITU709
