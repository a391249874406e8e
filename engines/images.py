"""Uploaded pictures: untrusted bytes to plain pixels, and pixels to clean bytes."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 20 * 1024 * 1024
MAX_EDGE = 8192
MAX_PIXELS = 25_000_000
MIN_EDGE = 16


class ImageError(ValueError):
    """The picture cannot be used. The message is a sentence for the client and holds nothing internal."""


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP into `frame_HWC` (uint8 RGB).

    The first frame of an animation, turned upright by its orientation tag, transparency laid over white, greys of 16
    bits cut to their upper eight; metadata stays behind. Nothing is decompressed before its size is known to be
    within the limits. Raises ImageError.
    """
    if len(data) > MAX_BYTES:
        raise ImageError(f"The image is larger than {MAX_BYTES // 1024**2} MiB.")
    # Pillow reads hostile bytes here: whatever it raises or warns about means that the picture is unusable.
    try:
        with warnings.catch_warnings(action="error"), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image)
            return np.asarray(_flat(ImageOps.exif_transpose(image)))
    except ImageError:
        raise
    except Exception as error:  # decoders raise whatever they like at a damaged file
        raise ImageError("The image is damaged or is not a JPEG, PNG or WebP file.") from error


def encode_png(frame_HWC: NDArray[np.uint8]) -> bytes:
    """Encode uint8 RGB pixels as a PNG that holds pixels and nothing else."""
    target = io.BytesIO()
    Image.fromarray(frame_HWC).save(target, "PNG")
    return target.getvalue()


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if min(width, height) < MIN_EDGE:
        raise ImageError(f"The image must be at least {MIN_EDGE} pixels wide and high.")
    if max(width, height) > MAX_EDGE or width * height > MAX_PIXELS:
        raise ImageError(f"The image has more than {MAX_PIXELS // 10**6} megapixels or an edge over {MAX_EDGE} pixels.")


def _flat(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a channel: keep the upper eight
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
