from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from PIL import Image

from domain.errors import Unavailable
from moderation.media import decoder as decoding
from moderation.media.decoder import Clip, Decoder, Picture, Unreadable, clip_limits
from moderation.media.limits import MEBIBYTE, Limits, Reason
from tests.fixtures import media
from tests.fixtures.receiver import canary

ROOT = Path(__file__).parents[3]
CLIPS = clip_limits(120)


def zygote_of(decoder: Decoder) -> psutil.Process:
    assert decoder._zygote is not None
    return psutil.Process(decoder._zygote._process.pid)


def test_a_picture_comes_back_as_pixels_alone(decoder: Decoder) -> None:
    made = decoder.picture(media.picture("JPEG", comment=b"the secret"), (256, 144))
    assert isinstance(made, Picture)
    assert b"secret" not in made.png
    with Image.open(BytesIO(made.png)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (256, 144))


@pytest.mark.parametrize(
    ("codec", "container"), [("libx264", "mp4"), ("libx264", "mov"), ("libx265", "mp4"), ("libvpx-vp9", "webm")]
)
def test_a_clip_comes_back_as_h264_without_sound_or_metadata(decoder: Decoder, codec: str, container: str) -> None:
    content = media.clip(codec=codec, container=container, sound=container != "mov", metadata={"title": "the secret"})
    made = decoder.clip(content, CLIPS)
    assert isinstance(made, Clip)
    assert (made.width, made.height, made.fps, made.frames, made.seconds) == (256, 144, 24.0, 24, 1.0)
    assert b"secret" not in made.mp4
    with av.open(BytesIO(made.mp4)) as container_made:
        assert [stream.type for stream in container_made.streams] == ["video"]
        assert container_made.streams.video[0].codec_context.name == "h264"
        frames = [frame.to_ndarray(format="rgb24") for frame in container_made.decode(video=0)]
    assert len(frames) == 24
    assert np.abs(frames[20][:, 20].mean(0) - (200, 30, 30)).max() < 12, "the bar's colour"
    assert frames[20][:, 250].mean() < 12, "the ground's"


def test_odd_edges_become_even(decoder: Decoder) -> None:
    made = decoder.clip(media.clip((255, 143), codec="libvpx-vp9", container="webm"), CLIPS)
    assert isinstance(made, Clip)
    assert (made.width, made.height) == (254, 142)


def test_a_clip_that_lies_on_its_side_is_turned(decoder: Decoder) -> None:
    content = media.clip()
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    sideways = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 144 << 16, 0, 1 << 30)
    at = content.index(upright, content.index(b"tkhd"))
    made = decoder.clip(content[:at] + sideways + content[at + 36 :], CLIPS)
    assert isinstance(made, Clip)
    assert (made.width, made.height) == (144, 256)
    with av.open(BytesIO(made.mp4)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frames[16][10].mean() > 50, "what was left is up"
    assert frames[16][250].mean() < 12


def test_pauses_keep_their_length(decoder: Decoder) -> None:
    file = BytesIO()
    with av.open(file, "w", format="mp4") as made:
        stream = made.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for second in (0, 1, 2, 3, 20, 21, 22, 23):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = second
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    shown = decoder.clip(file.getvalue(), CLIPS)
    assert isinstance(shown, Clip)
    assert shown.seconds == pytest.approx(2.3, abs=0.5)


ZEROS = zlib.compress(bytes(100_000_000), 1)
ICC_BOMB = media.chunk(b"iCCP", b"x\0\0" + ZEROS)
TEXT_BOMB = media.chunk(b"zTXt", b"x\0\0" + ZEROS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.UNREADABLE),
        (b"not a picture", Reason.UNREADABLE),
        (media.picture("GIF", mode="L"), Reason.UNREADABLE),
        (media.picture("TIFF"), Reason.UNREADABLE),
        (media.picture("PNG")[:200], Reason.UNREADABLE),
        (media.picture("JPEG")[:300], Reason.UNREADABLE),
        (b"GIF89a" + bytes(100), Reason.UNREADABLE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Reason.UNREADABLE),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", Reason.UNREADABLE),
        (media.png(60_000, 60_000), Reason.TOO_LARGE),
        (media.png(2_000_000_000, 1), Reason.TOO_LARGE),
        (media.png(4097, 4096, pixels=bytes(4098 * 4096)), Reason.TOO_LARGE),
        (media.png(8193, 16), Reason.TOO_LARGE),
        (media.png(15, 4000), Reason.TOO_SMALL),
        (media.png(4096, 4096, pixels=b"too few"), Reason.UNREADABLE),
        (media.png(256, 144, TEXT_BOMB, pixels=bytes(257 * 144)), Reason.UNREADABLE),
    ],
)
def test_a_picture_that_is_none_or_too_much_is_refused(decoder: Decoder, content: bytes, reason: Reason) -> None:
    started = time.monotonic()
    assert decoder.picture(content) == Unreadable(reason)
    assert time.monotonic() - started < 10


def test_a_bomb_in_the_colour_profile_stays_in_the_child(decoder: Decoder) -> None:
    made = decoder.picture(media.png(256, 144, ICC_BOMB, pixels=bytes(257 * 144)))
    assert isinstance(made, Unreadable) or b"iCCP" not in made.png


def test_the_first_frame_of_an_animation_counts(decoder: Decoder) -> None:
    frames = [Image.new("RGB", (64, 64), (value, 0, 0)) for value in range(255, 0, -1)]
    file = BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    made = decoder.picture(file.getvalue())
    assert isinstance(made, Picture)
    with Image.open(BytesIO(made.png)) as image:
        assert image.getpixel((5, 5)) == (255, 0, 0)


def test_nothing_but_the_picture_is_left_of_a_polyglot(decoder: Decoder) -> None:
    page = b"<html><script>alert(1)</script>PK\x03\x04"
    made = decoder.picture(media.picture("PNG") + page)
    assert isinstance(made, Picture)
    assert b"script" not in made.png
    assert b"PK\x03\x04" not in made.png


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")


def with_samples(count: int) -> bytes:
    """A clip whose table claims so many samples of one size, all of them of the same moment's length."""
    content = bytearray(media.clip())
    at = content.index(b"stsz")
    content[at + 8 : at + 16] = struct.pack(">II", 1, count)
    at = content.index(b"stts")
    content[at + 12 : at + 16] = struct.pack(">I", count)
    at = content.index(b"stsc")
    content[at + 16 : at + 20] = struct.pack(">I", count)
    return bytes(content)


@pytest.mark.parametrize(
    "made_of",
    [
        lambda: b"",
        lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
        lambda: b"ffconcat version 1.0\nfile /etc/passwd\n",
        lambda: b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
        lambda: FTYP,
        lambda: FTYP + b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        lambda: FTYP + box(b"moov", bytes(100)),
        lambda: media.clip()[:1500],
        lambda: media.clip()[: len(media.clip()) // 2],
        lambda: media.clip(codec="mpeg4"),
        lambda: media.clip(codec="rawvideo", container="mov"),
        lambda: media.clip(codec="libx264", container="matroska"),
        lambda: media.clip(codec="libx264", container="avi"),
        lambda: media.picture("GIF", mode="L"),
        lambda: media.picture("PNG"),
        lambda: with_samples(0x7FFF_FFFF),
        lambda: with_samples(1_000_000),
    ],
)
def test_what_is_no_whole_clip_of_a_known_kind_is_refused(decoder: Decoder, made_of: Callable[[], bytes]) -> None:
    content = made_of()
    started = time.monotonic()
    made = decoder.clip(content, CLIPS)
    assert isinstance(made, Unreadable)
    assert made.reason in {Reason.UNREADABLE, Reason.NO_VIDEO, Reason.TOO_LONG, Reason.EXPENSIVE}
    assert time.monotonic() - started < 30


def test_a_clip_beyond_the_limits_is_refused(decoder: Decoder) -> None:
    assert decoder.clip(media.clip(seconds=3), clip_limits(2)) == Unreadable(Reason.TOO_LONG)
    assert decoder.clip(media.clip(rate=1, seconds=125), CLIPS) == Unreadable(Reason.TOO_LONG)
    assert decoder.clip(media.clip((2570, 1440), seconds=0.1), CLIPS) == Unreadable(Reason.TOO_LARGE)


def test_a_clip_that_hides_its_length_is_caught_by_its_pictures(decoder: Decoder) -> None:
    content = bytearray(media.clip(seconds=4))
    for name, at_byte in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        at = content.index(name)
        content[at + at_byte : at + at_byte + 4] = struct.pack(">I", 1)
    assert decoder.clip(bytes(content), clip_limits(2)) == Unreadable(Reason.TOO_LONG)


def references(content: bytes, path: bytes) -> bytes:
    """The clip with its samples said to lie in another file, as QuickTime can."""
    alias = box(
        b"alis", bytes(4) + bytes(2) + struct.pack(">H", 150) + bytes(146) + struct.pack(">hH", 2, len(path)) + path
    )
    plain = box(b"url ", b"\0\0\0\1")
    assert plain in content
    grown = len(alias) - len(plain)
    out = bytearray(content.replace(plain, alias))
    for name in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = out.index(name) - 4
        out[at : at + 4] = struct.pack(">I", struct.unpack(">I", out[at : at + 4])[0] + grown)
    return bytes(out)


def test_no_file_makes_the_decoder_open_another_or_call_anybody(decoder: Decoder, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(media.clip())
    with canary() as trap:
        url = f"http://127.0.0.1:{trap.port}/x.ts".encode()
        files = [
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n" + url + b"\n",
            b"ffconcat version 1.0\nfile " + url + b"\n",
            b'<?xml version="1.0"?><MPD><Period><BaseURL>' + url + b"</BaseURL></Period></MPD>",
            references(media.clip(), str(secret).encode()),
            references(media.clip(), url),
        ]
        for content in files:
            decoder.clip(content, CLIPS)
            decoder.clip(FTYP + content, CLIPS)
            decoder.picture(content)
        assert trap.connections == 0
    assert decoder.clip(references(media.clip(), str(secret).encode()), CLIPS) != decoder.clip(media.clip(), CLIPS)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(cpu_seconds=1),
        Limits(wall_seconds=0.3),
        Limits(memory_bytes=8 * MEBIBYTE),
        Limits(file_bytes=100_000),
    ],
)
def test_a_hog_of_time_memory_or_space_is_ended(decoder: Decoder, hog: bytes, limits: Limits) -> None:
    started = time.monotonic()
    made = decoder.picture(hog, None, limits)
    assert made == Unreadable(Reason.EXPENSIVE)
    assert time.monotonic() - started < 15


def test_the_memory_of_the_process_that_asks_stays_flat(decoder: Decoder) -> None:
    bombs = [
        media.png(256, 144, ICC_BOMB, pixels=bytes(257 * 144)),
        media.png(4096, 4096, pixels=bytes(4097 * 4096)),
        media.png(60_000, 60_000),
        with_samples(0x7FFF_FFFF),
    ]
    decoder.picture(bombs[0])
    before = psutil.Process().memory_info().rss
    for bomb in bombs * 3:
        decoder.picture(bomb)
        decoder.clip(bomb, CLIPS)
    assert psutil.Process().memory_info().rss - before < 16 * MEBIBYTE
    assert zygote_of(decoder).memory_info().rss < 200 * MEBIBYTE


def test_nobody_waits_for_a_place_for_long(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "PATIENCE_SECONDS", 0.05)
    with ExitStack() as busy:
        for _ in range(decoding.CLIP_PLACES):
            busy.enter_context(decoding._place(decoder._clip_places))
        with pytest.raises(Unavailable, match="Too many files"):
            decoder.clip(media.clip(), CLIPS)
        assert isinstance(decoder.picture(media.picture()), Picture), "pictures have places left"
