"""The source of an edit or an extension as a far end takes it: an MP4 of the size and rate that it draws."""

# pyright: reportUnknownMemberType=false
# PyAV's stubs leave the keyword arguments of streams open.
from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from domain.video import Operation, Plan
from engines.protocol import Conditions

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

CRF = 14  # it is drawn over and encoded again, so little may be lost here
PRESET = "veryfast"


def write(plan: Plan, conditions: Conditions, file: IO[bytes], on_chunk: Callable[[], None]) -> bool:
    """Write the plan's source into the file, rewound. False, and nothing is written, if it has none.

    Raises FootageError, and what `on_chunk` raises.
    """
    if conditions.source is None:
        return False
    extends = plan.operation is Operation.EXTEND
    count = round(plan.source_seconds * plan.rendered_fps) if extends else plan.rendered_frames
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=plan.rendered_fps, options={"preset": PRESET, "crf": str(CRF)})
        stream.width, stream.height = plan.rendered.width, plan.rendered.height
        stream.pix_fmt = "yuv420p"
        stream.colorspace, stream.color_primaries = Colorspace.ITU709, ColorPrimaries.BT709
        stream.color_trc, stream.color_range = ColorTrc.BT709, ColorRange.MPEG
        for chunk_THWC in conditions.source.frames(plan.rendered, plan.rendered_fps, count):
            for frame_HWC in chunk_THWC:
                container.mux(stream.encode(_to_yuv(frame_HWC)))
            on_chunk()
        container.mux(stream.encode(None))
    file.seek(0)
    return True


def _to_yuv(frame_HWC: NDArray[np.uint8]) -> VideoFrame:
    rgb = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
    return rgb.reformat(
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
    )
