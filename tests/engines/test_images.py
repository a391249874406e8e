from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engines.images import ImageError, decode_image, encode_png


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def half_red() -> Image.Image:
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 20, 20))
    return image


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_each_format_decodes_to_its_pixels(kind: str) -> None:
    frame_HWC = decode_image(saved(half_red(), kind))
    assert frame_HWC.shape == (20, 40, 3)
    assert frame_HWC.dtype == np.uint8
    assert frame_HWC[10, 5].tolist() == pytest.approx([255, 0, 0], abs=20)
    assert frame_HWC[10, 35].tolist() == pytest.approx([0, 0, 255], abs=20)


def test_an_orientation_tag_turns_the_picture_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    frame_HWC = decode_image(saved(half_red(), "JPEG", exif=exif))
    assert frame_HWC.shape == (40, 20, 3)
    assert frame_HWC[5, 10, 0] > 240


def test_transparency_is_laid_over_white() -> None:
    frame_HWC = decode_image(saved(Image.new("RGBA", (32, 32), (255, 0, 0, 0)), "PNG"))
    assert (frame_HWC == 255).all()


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    grey = Image.fromarray(np.full((32, 32), 0x8000, np.uint16))
    assert (decode_image(saved(grey, "PNG")) == 0x80).all()


def test_cmyk_becomes_rgb() -> None:
    assert decode_image(saved(Image.new("CMYK", (32, 32)), "JPEG")).shape == (32, 32, 3)


def test_a_clean_png_carries_no_metadata_of_the_upload() -> None:
    text = PngInfo()
    text.add_text("Author", "somebody private")
    upload = saved(half_red(), "PNG", pnginfo=text)
    clean = encode_png(decode_image(upload))
    assert b"private" in upload
    assert b"private" not in clean
    assert (decode_image(clean) == decode_image(upload)).all()


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    body = b"IDAT" + zlib.compress(b"")
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            *(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (chunk, body, b"IEND")),
        ]
    )


@pytest.mark.parametrize("size", [(50_000, 50_000), (9_000, 20), (6_000, 6_000)])
def test_a_picture_that_claims_too_many_pixels_is_refused_before_decoding(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError):
        decode_image(png_claiming(*size))


def test_a_tiny_picture_is_refused_with_a_sentence() -> None:
    with pytest.raises(ImageError, match="at least 16 pixels"):
        decode_image(saved(Image.new("RGB", (8, 64)), "PNG"))


@pytest.mark.parametrize(
    "data",
    [b"", b"not a picture", saved(half_red(), "PNG")[:60], saved(half_red(), "JPEG")[:300], saved(half_red(), "GIF")],
    ids=["empty", "text", "cut PNG", "cut JPEG", "GIF"],
)
def test_what_is_no_whole_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="damaged or is not"):
        decode_image(data)


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(ImageError, match="20 MiB"):
        decode_image(bytes(20 * 1024 * 1024 + 1))
