"""Frames to files: an H.264 MP4, a thumbnail and a sprite sheet from one stream, while the engine still decodes."""

# pyright: reportUnknownMemberType=false
# PyAV's stubs leave the packet type and the keyword arguments of streams open.
from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from engines.channel import Channel, ChannelClosed
from engines.stills import Stills

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from domain.video import Plan
    from engines.footage import Footage

    Frames = NDArray[np.uint8]  # frames_THWC, RGB
    Mark = Callable[[Frames], Frames]

QUEUED_BYTES = 128 * 2**20  # of frames that wait for the encoder: two seconds at 720p, so that it delays no decoder
CRF = 20
PRESET = "veryfast"
KEYFRAME_SECONDS = 2
SCALER = Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class EncodeError(Exception):
    """The clip could not be made into a file: wrong or missing frames, or a failing codec."""


@dataclass(frozen=True, slots=True)
class Drafts:
    """The unsigned files of one render."""

    video: Path  # MP4, H.264
    thumbnail: Path  # WebP
    spritesheet: Path  # JPEG; see engines.stills.sheet_layout


def encode(
    chunks: Iterable[Frames],
    plan: Plan,
    folder: Path,
    on_frames: Callable[[int, int], None],
    *,
    marks: Sequence[Mark] = (),
    source: Footage | None = None,
) -> Drafts:
    """All of `pull` and `Encoding.finish`, one after the other."""
    return pull(chunks, plan, folder, on_frames, marks=marks, source=source).finish()


def pull(
    chunks: Iterable[Frames],
    plan: Plan,
    folder: Path,
    on_frames: Callable[[int, int], None],
    *,
    marks: Sequence[Mark] = (),
    source: Footage | None = None,
) -> Encoding:
    """Pull `frames_THWC` chunks (uint8 RGB, plan.rendered), while a thread writes the plan's clip into `folder`.

    Returns once the last frame is there: the engine is done, and the thread at most QUEUED_BYTES behind. An extension
    begins with plan.source_frames of its source at the delivered size, encoded while the engine still denoises. Each
    mark is drawn on every chunk before anything else sees it. Each frame is repeated until the clip runs at plan.fps;
    frames beyond plan.rendered_frames are not asked for. `on_frames(done, total)` counts shown frames, the source's
    included, in the encoding thread. Raises EncodeError, FootageError, and whatever the chunks, a mark or
    `on_frames` raise; then no file is left behind. The chunks, if they are a generator, are closed in any case.
    """
    drafts = Drafts(folder / "video.mp4", folder / "thumbnail.webp", folder / "spritesheet.jpg")
    channel: Channel[Frames] = Channel(QUEUED_BYTES, lambda frames_THWC: frames_THWC.nbytes)
    threads = ThreadPoolExecutor(1, "encode")
    encoding = Encoding(drafts, threads.submit(_write, channel, plan, drafts, on_frames, source))
    threads.shutdown(wait=False)  # the thread ends with its one task
    try:
        _feed(channel, chunks, plan, marks)
    except ChannelClosed:
        encoding.finish()  # raises what closed it
    except BaseException:
        channel.break_off()
        encoding.discard()
        raise
    finally:
        if isinstance(chunks, Generator):
            chunks.close()
    return encoding


class Encoding:
    """A clip whose last frame is drawn, and whose files are still being written."""

    def __init__(self, drafts: Drafts, written: Future[None]) -> None:
        self._drafts = drafts
        self._written = written

    def finish(self) -> Drafts:
        """Wait for the files, in any thread. Raises as `pull` does; then no file is left behind."""
        try:
            self._written.result()
        except BaseException:
            self.discard()
            raise
        return self._drafts

    def discard(self) -> None:
        """Wait for the thread and leave no file."""
        wait((self._written,))
        for path in (self._drafts.video, self._drafts.thumbnail, self._drafts.spritesheet):
            with suppress(FileNotFoundError):
                path.unlink()


def _feed(channel: Channel[Frames], chunks: Iterable[Frames], plan: Plan, marks: Sequence[Mark]) -> None:
    """Pull until the plan's frames are there, draw the marks, hand over."""
    missing = plan.rendered_frames
    for chunk in chunks:
        frames_THWC = _checked(chunk, plan)[:missing]
        for mark in marks:
            frames_THWC = _checked(mark(frames_THWC), plan)
        channel.put(frames_THWC)
        missing -= len(frames_THWC)
        if missing == 0:
            channel.finish()
            return
    raise EncodeError(f"the engine gave {plan.rendered_frames - missing} of {plan.rendered_frames} frames")


def _checked(frames_THWC: Frames, plan: Plan) -> Frames:
    expected = (plan.rendered.height, plan.rendered.width, 3)
    if frames_THWC.shape[1:] != expected or frames_THWC.dtype != np.uint8:
        raise EncodeError(
            f"frames must be uint8 of shape (T, {', '.join(map(str, expected))}), "
            f"not {frames_THWC.dtype} of shape {frames_THWC.shape}"
        )
    return frames_THWC


def _write(
    channel: Channel[Frames],
    plan: Plan,
    drafts: Drafts,
    on_frames: Callable[[int, int], None],
    source: Footage | None,
) -> None:
    """The encoding thread: frames in, three files out."""
    try:
        stills = Stills(plan)
        _write_video(_shown(channel, plan, source), plan, drafts.video, stills, on_frames)
        stills.write(drafts.thumbnail, drafts.spritesheet)
    except FFmpegError as error:
        raise EncodeError(f"the encoder failed: {error}") from error
    finally:
        channel.break_off()


def _write_video(
    pictures: Iterable[tuple[Frames, VideoFrame]],
    plan: Plan,
    path: Path,
    stills: Stills,
    on_frames: Callable[[int, int], None],
) -> None:
    total = plan.source_frames + plan.frames
    # Fast start rewrites the file by its name, so the target is a real file.
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = _open_stream(container, plan)
        for index, (frame_HWC, picture) in enumerate(pictures):
            stills.see(index, frame_HWC)
            picture.pts = index
            container.mux(stream.encode(picture))
            on_frames(index + 1, total)
        container.mux(stream.encode(None))


def _shown(channel: Channel[Frames], plan: Plan, source: Footage | None) -> Iterator[tuple[Frames, VideoFrame]]:
    """Every frame of the file in its order, as pixels and as the encoder takes it: the source's, then the engine's."""
    reformatter = VideoReformatter()
    if source is not None and plan.source_frames:
        for frames_THWC in source.frames(plan.delivered, plan.fps, plan.source_frames):
            for frame_HWC in frames_THWC:
                channel.check()
                yield frame_HWC, _to_yuv(reformatter, frame_HWC, plan)
    for frames_THWC in channel:
        for frame_HWC in frames_THWC:
            picture = _to_yuv(reformatter, frame_HWC, plan)
            for _ in range(plan.fps // plan.rendered_fps):
                channel.check()
                yield frame_HWC, picture


def _open_stream(container: OutputContainer, plan: Plan) -> VideoStream:
    if plan.delivered.width % 2 or plan.delivered.height % 2 or plan.fps % plan.rendered_fps:
        raise EncodeError(f"no 4:2:0 clip of {plan.delivered} at {plan.fps} frames a second from {plan.rendered_fps}")
    stream = container.add_stream("libx264", rate=plan.fps, options={"preset": PRESET, "crf": str(CRF)})
    stream.width, stream.height = plan.delivered.width, plan.delivered.height
    stream.pix_fmt = "yuv420p"
    stream.gop_size = KEYFRAME_SECONDS * plan.fps
    stream.codec_context.time_base = Fraction(1, plan.fps)
    stream.color_range = ColorRange.MPEG
    stream.colorspace = Colorspace.ITU709
    stream.color_primaries = ColorPrimaries.BT709
    stream.color_trc = ColorTrc.BT709
    return stream


def _to_yuv(reformatter: VideoReformatter, frame_HWC: Frames, plan: Plan) -> VideoFrame:
    rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
    picture = reformatter.reformat(
        rgb,
        width=plan.delivered.width,
        height=plan.delivered.height,
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=SCALER,
    )
    picture.time_base = Fraction(1, plan.fps)
    return picture
