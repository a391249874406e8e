from __future__ import annotations

import pytest

from moderation.media.sniffing import clip_format, is_plain_mp4, is_plain_png
from tests.fixtures import media

PNG, MP4 = media.picture(), media.clip(seconds=0.2)
LAST = media.chunk(b"IEND", b"")


def test_a_format_is_told_by_the_first_bytes() -> None:
    assert clip_format(MP4) == "mov"
    assert clip_format(media.clip(seconds=0.2, codec="libvpx", container="webm")) == "webm"
    for other in (b"", PNG, b"#EXTM3U\n", media.clip(seconds=0.2, container="matroska")):
        assert clip_format(other) is None


def test_what_we_encode_is_plain() -> None:
    assert is_plain_png(PNG, 256, 144)
    assert is_plain_mp4(MP4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        PNG[:-1],
        PNG + b"x",
        PNG.replace(LAST, media.chunk(b"tEXt", b"a\0b") + LAST),
        media.picture(mode="RGBA"),
        media.picture(size=(144, 256)),
        media.picture("JPEG"),
        PNG[:33] + LAST,
        PNG[:33],
        PNG[33:],
    ],
)
def test_a_png_with_anything_else_is_not(content: bytes) -> None:
    assert not is_plain_png(content, 256, 144)


@pytest.mark.parametrize("content", [b"", MP4[:-1], MP4 + b"x", MP4 + b"\0\0\0\x08uuid", MP4[32:], PNG, bytes(100)])
def test_an_mp4_with_anything_else_is_not(content: bytes) -> None:
    assert not is_plain_mp4(content)
