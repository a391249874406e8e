"""A stranger's picture to a clean PNG. Runs inside the confined child."""

from __future__ import annotations

import warnings
from typing import IO, Any

from PIL import Image, ImageOps

from moderation.media.limits import LONGEST_EDGE, SMALLEST_EDGE, Limits, Reason, Refusal

FORMATS = ("JPEG", "PNG", "WEBP")
_ORIENTATION, _ON_ITS_SIDE = 0x0112, {5, 6, 7, 8}


def reencode(source: IO[bytes], target: IO[bytes], size: tuple[int, int] | None, limits: Limits) -> dict[str, Any]:
    """Write a PNG of RGB pixels with 8 bits a channel: what the engines would read in the file as it came.

    The first frame of an animation, turned upright by its orientation tag, transparency laid over white, greys of 16
    bits cut to their upper eight; metadata stays behind. The size is checked before a pixel is decoded: it must be
    `size`, or within the limits. Raises Refusal, and whatever a decoder raises.
    """
    warnings.simplefilter("ignore")  # the size is judged here, and there is nobody to read them
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(source, formats=FORMATS) as image:
        _check(image, size, limits)
        upright = _flat(ImageOps.exif_transpose(image))
    bare = Image.new("RGB", upright.size)
    bare.paste(upright)
    bare.save(target, "PNG", compress_level=1)
    return {"width": bare.width, "height": bare.height}


def _check(image: Image.Image, size: tuple[int, int] | None, limits: Limits) -> None:
    """By the header first: asking for the orientation may already decode the whole picture."""
    if max(image.size) > LONGEST_EDGE or image.width * image.height > limits.pixels:
        raise Refusal(Reason.TOO_LARGE)
    if size is None:
        if min(image.size) < SMALLEST_EDGE:
            raise Refusal(Reason.TOO_SMALL)
        return
    if image.size not in {size, size[::-1]}:
        raise Refusal(Reason.MISMATCH)
    turned = image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    if (image.size[::-1] if turned else image.size) != size:
        raise Refusal(Reason.MISMATCH)


def _flat(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which a plain conversion would cut off at 255
        return image.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
