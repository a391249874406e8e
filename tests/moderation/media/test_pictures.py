from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.images import decode_image
from moderation.media import pictures
from moderation.media.limits import Limits, Reason, Refusal
from tests.fixtures import media

SIZE = (256, 144)


def clean(content: bytes, size: tuple[int, int] | None = SIZE) -> bytes:
    made = BytesIO()
    pictures.reencode(BytesIO(content), made, size, Limits())
    return made.getvalue()


def test_metadata_is_stripped() -> None:
    exif = Image.Exif()
    exif[0x010E] = "the secret place"
    made = clean(media.picture("JPEG", exif=exif, icc_profile=b"the secret profile", comment=b"the secret"))
    assert b"secret" not in made
    with Image.open(BytesIO(made)) as image:
        assert not image.info
        assert not image.getexif()


def test_a_picture_that_lies_on_its_side_is_turned_before_it_is_measured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = media.picture("JPEG", size=(144, 256), exif=exif)
    with Image.open(BytesIO(clean(sideways))) as image:
        assert image.size == (256, 144)
    with pytest.raises(Refusal) as refused:
        clean(sideways, (144, 256))
    assert refused.value.reason is Reason.MISMATCH


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    with Image.open(BytesIO(clean(media.picture("PNG", mode=mode)))) as image:
        assert (image.mode, image.size) == ("RGB", (256, 144))


def gradient(mode: str, kind: str = "PNG", **options: Any) -> bytes:
    """All values of a channel from left to right; where there is alpha, it falls from top to bottom."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (144, 1))
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 256 + 7)
    elif mode.endswith("A"):
        image = Image.fromarray(ramp).convert(mode)
        image.putalpha(Image.fromarray(np.tile(np.arange(144, dtype=np.uint8)[::-1, None], (1, 256))))
    else:
        image = Image.fromarray(ramp).convert(mode)
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("L", "PNG", {}),
        ("L", "PNG", {"transparency": 40}),
        ("LA", "PNG", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGBA", "PNG", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("P", "PNG", {}),
        ("P", "PNG", {"transparency": 40}),
        ("CMYK", "JPEG", {}),
        ("1", "PNG", {}),
        ("I;16", "PNG", {}),
    ],
)
def test_the_engines_would_see_the_same_pixels_in_the_file_as_it_came(
    mode: str, kind: str, options: dict[str, Any]
) -> None:
    content = gradient(mode, kind, **options)
    assert np.array_equal(decode_image(clean(content)), decode_image(content))


def test_greys_of_sixteen_bits_are_not_white() -> None:
    with Image.open(BytesIO(clean(gradient("I;16")))) as image:
        assert [image.getpixel((x, 0)) for x in (0, 100, 255)] == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]


def test_transparency_is_laid_over_white() -> None:
    invisible = BytesIO()
    Image.new("RGBA", (256, 144), (200, 0, 0, 0)).save(invisible, "PNG")
    with Image.open(BytesIO(clean(invisible.getvalue()))) as image:
        assert image.getpixel((0, 0)) == (255, 255, 255)


def test_the_size_is_judged_by_the_header_before_anything_is_decoded() -> None:
    broken = media.picture("PNG", size=(4000, 4000), mode="L")[:60]
    with pytest.raises(Refusal) as refused:
        clean(broken)
    assert refused.value.reason is Reason.MISMATCH
