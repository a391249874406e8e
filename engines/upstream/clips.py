"""The source of an edit or an extension as a far end takes it: an MP4 of the size and rate that it draws."""

# pyright: reportUnknownMemberType=false
# PyAV's stubs leave the keyword arguments of streams open.
from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from domain.video import Operation, Plan
from engines.footage import Footage
from engines.protocol import Conditions

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

log = logging.getLogger(__name__)

CRF, WORST_CRF = 14, 38  # it is drawn over and encoded again, so little may be lost here, unless it is too long
CRF_OF_HALF = 6  # so much more of it halves a file
MOST_BYTES = 20 * 1024 * 1024  # a Kinema takes a body of 32 MiB, in which there may be pictures too
PRESET = "veryfast"


def write(plan: Plan, conditions: Conditions, file: IO[bytes], on_chunk: Callable[[], None]) -> bool:
    """Write the plan's source into the file, rewound. False, and nothing is written, if it has none.

    What has more than MOST_BYTES is written again, as much worse as it takes. Raises FootageError, and what `on_chunk`
    raises.
    """
    if conditions.source is None:
        return False
    crf = CRF
    size = _encode(plan, conditions.source, file, crf, on_chunk)
    while size > MOST_BYTES and crf < WORST_CRF:
        crf = min(WORST_CRF, crf + 1 + math.ceil(CRF_OF_HALF * math.log2(size / MOST_BYTES)))
        size = _encode(plan, conditions.source, file, crf, on_chunk)
    if crf > CRF:
        log.warning("a source is sent with losses", extra={"crf": crf, "bytes": size})
    return True


def _encode(plan: Plan, source: Footage, file: IO[bytes], crf: int, on_chunk: Callable[[], None]) -> int:
    """Write the source into the file, in the place of what it holds, and rewind it; its bytes."""
    extends = plan.operation is Operation.EXTEND
    count = round(plan.source_seconds * plan.rendered_fps) if extends else plan.rendered_frames
    file.seek(0)
    file.truncate()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=plan.rendered_fps, options={"preset": PRESET, "crf": str(crf)})
        stream.width, stream.height = plan.rendered.width, plan.rendered.height
        stream.pix_fmt = "yuv420p"
        stream.colorspace, stream.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
        stream.color_trc, stream.color_range = ColorTrc.BT709, ColorRange.MPEG
        for chunk_THWC in source.frames(plan.rendered, plan.rendered_fps, count):
            for frame_HWC in chunk_THWC:
                container.mux(stream.encode(_to_yuv(frame_HWC)))
            on_chunk()
        container.mux(stream.encode(None))
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _to_yuv(frame_HWC: NDArray[np.uint8]) -> VideoFrame:
    rgb = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
    return rgb.reformat(
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
    )
