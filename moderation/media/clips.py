"""A stranger's clip to a clean H.264 MP4 of its pictures alone. Runs inside the confined child."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyAV's stubs leave packets, filters and the keyword arguments of streams open.
from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from typing import IO, Any

import av
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from moderation.media.limits import LONGEST_EDGE, MOST_FPS, SLACK_SECONDS, SMALLEST_EDGE, Limits, Reason, Refusal
from moderation.media.sniffing import HEAD_BYTES, clip_format

CODECS = ("h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "libvpx", "libvpx-vp9")
# No format can name another file: what would be opened beside the stream has no protocol to be opened by.
OPTIONS = {"protocol_whitelist": "none", "codec_whitelist": ",".join(CODECS), "max_streams": "16"}
# The filters that turn a picture by so many degrees counter-clockwise.
_TURNS = {
    90: (("transpose", "cclock"),),
    180: (("hflip", None), ("vflip", None)),
    270: (("transpose", "clock"),),
}


def reencode(source: IO[bytes], target: IO[bytes], limits: Limits) -> dict[str, Any]:
    """Write the pictures of the first video stream at a constant rate, upright, with even edges; sound is dropped.

    Raises Refusal, and whatever a demuxer or a codec raises.
    """
    with av.open(source, "r", format=_format(source), container_options=OPTIONS) as container:
        stream = _checked(container, limits)
        rate = _rate(stream)
        pictures = _steady(_upright(container.decode(stream), limits), rate, limits)
        first = next(pictures, None)
        if first is None:
            raise Refusal(Reason.NO_VIDEO)
        with av.open(target, "w", format="mp4") as made:
            count = _write(made, rate, first, pictures)
    seconds = float(count / rate)
    return {"width": first.width, "height": first.height, "fps": float(rate), "frames": count, "seconds": seconds}


def _format(source: IO[bytes]) -> str:
    """By the first bytes, so that no other demuxer is ever asked."""
    found = clip_format(source.read(HEAD_BYTES))
    source.seek(0)
    if found is None:
        raise Refusal(Reason.UNREADABLE)
    return found


def _checked(container: InputContainer, limits: Limits) -> VideoStream:
    """The stream, by what the headers say; the pictures themselves are held to the same."""
    if not container.streams.video:
        raise Refusal(Reason.NO_VIDEO)
    stream = container.streams.video[0]
    if stream.codec_context.name not in CODECS:
        raise Refusal(Reason.NO_VIDEO)
    _check_size(stream.codec_context.width, stream.codec_context.height, limits)
    if container.duration is not None and container.duration / av.time_base > limits.seconds + SLACK_SECONDS:
        raise Refusal(Reason.TOO_LONG)
    stream.thread_type = "NONE"
    return stream


def _check_size(width: int, height: int, limits: Limits) -> None:
    if max(width, height) > LONGEST_EDGE or width * height > limits.pixels:
        raise Refusal(Reason.TOO_LARGE)
    if min(width, height) < SMALLEST_EDGE:
        raise Refusal(Reason.TOO_SMALL)


def _rate(stream: VideoStream) -> Fraction:
    """Pictures a second, as the stream has them on average."""
    rate = stream.average_rate or Fraction(24)
    return min(max(rate.limit_denominator(1001), Fraction(1)), Fraction(MOST_FPS))


def _upright(frames: Iterable[VideoFrame], limits: Limits) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Every picture with the second at which it appears, all of the first one's size, as a player would turn it."""
    start: Fraction | None = None
    shape: tuple[int, int] | None = None
    turn: Graph | None = None
    for frame in frames:
        _check_size(frame.width, frame.height, limits)
        second = Fraction(frame.pts or 0) * Fraction(frame.time_base or 0)
        if start is None or shape is None:
            start, shape = second, (frame.width & ~1, frame.height & ~1)
            turn = _turning(frame, shape)
        picture = frame.reformat(
            *shape, "yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, threads=1
        )
        if turn is not None:
            turn.vpush(picture)
            picture = turn.vpull()
        yield second - start, picture


def _turning(frame: VideoFrame, shape: tuple[int, int]) -> Graph | None:
    """What turns pictures by the angle that the file declares; None if they stand upright."""
    filters = _TURNS.get(frame.rotation % 360)
    if filters is None:
        return None
    graph = Graph()
    graph.threads = 1
    nodes = [graph.add_buffer(None, *shape, VideoFormat("yuv420p"), None, Fraction(1, MOST_FPS))]
    nodes += [graph.add(name, arguments) for name, arguments in filters]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph


def _steady(pictures: Iterable[tuple[Fraction, VideoFrame]], rate: Fraction, limits: Limits) -> Iterator[VideoFrame]:
    """One picture for every tick of the rate: the one that a player would show then."""
    shown = 0
    held: VideoFrame | None = None
    for second, picture in pictures:
        if second > limits.seconds + SLACK_SECONDS:
            raise Refusal(Reason.TOO_LONG)
        while held is not None and shown / rate < second:
            yield held
            shown += 1
        held = picture
    if held is not None:
        yield held


def _write(made: OutputContainer, rate: Fraction, first: VideoFrame, rest: Iterable[VideoFrame]) -> int:
    """Encode and count."""
    # One thread: the confined process may start none.
    stream = made.add_stream("libx264", rate=rate, options={"preset": "superfast", "crf": "16", "threads": "1"})
    stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
    stream.codec_context.time_base = 1 / rate
    stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
    count = 0
    for picture in chain([first], rest):
        picture.pts, picture.time_base = count, 1 / rate
        picture.pict_type = PictureType.NONE  # the encoder's own choice, not the stranger's
        made.mux(stream.encode(picture))
        count += 1
    made.mux(stream.encode(None))
    return count
