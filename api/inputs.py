"""Reference images: taken from a file or a data URL, decoded under limits, and stored as clean PNG."""

from __future__ import annotations

import base64
import re
import warnings
from io import BytesIO
from typing import Any, cast
from uuid import UUID

from PIL import Image, ImageOps

from api.multipart import Upload
from api.parameters import wrong_type
from api.services import Services
from domain.errors import InvalidRequest
from domain.video import Size
from storage import outputs

PARAM = "input_reference"
FORMATS = ("JPEG", "PNG", "WEBP")
URL_LIMIT = 20_971_520
MOST_PIXELS = 4096 * 4096
_ORIENTATION, _ON_ITS_SIDE = 0x0112, {5, 6, 7, 8}
_DATA_URL = re.compile(r"data:image/(?:jpeg|jpg|png|webp);base64,", re.ASCII | re.IGNORECASE)

Image.MAX_IMAGE_PIXELS = MOST_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)  # refused, not logged


def first_frame(values: dict[str, Any], size: Size) -> bytes | None:
    """The reference as PNG of exactly this size; None if there is none. Raises InvalidRequest."""
    reference = values.get(PARAM)
    if reference is None:
        return None
    return clean(_content(reference), size)


def key(tenant_id: UUID, video_id: UUID) -> str:
    """Where a video's first frame lies."""
    return f"inputs/{tenant_id.hex}/{video_id.hex}/first_frame.png"


def store(served: Services, tenant_id: UUID, video_id: UUID, png: bytes) -> None:
    """Write the key down, then put the bytes. Whatever fails afterwards, the sweeper finds them.

    Raises Unavailable.
    """
    name = key(tenant_id, video_id)
    with served.gate.entered():
        with served.database.transaction(tenant_id) as connection:
            outputs.register_input(connection, tenant_id, video_id, name)
        served.objects.put(name, png, "image/png")


def clean(content: bytes, size: Size) -> bytes:
    """PNG of RGB pixels with 8 bits a channel; whatever the engines would read, they read the same afterwards.

    The first frame of an animation, turned upright by its orientation tag, transparency laid over white, greys of 16
    bits cut to their upper eight; metadata stays behind. The size is checked before a pixel is decoded. Raises
    InvalidRequest.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            _check_size(image, size)
            return _encode(image)
    except InvalidRequest:
        raise
    except Exception:  # noqa: BLE001 - a hostile file makes a decoder raise anything
        raise InvalidRequest(
            "The reference could not be read. Supported image formats: jpeg, png, and webp.", param=PARAM
        ) from None


def _content(reference: Any) -> bytes:
    if isinstance(reference, Upload):
        return reference.content
    if not isinstance(reference, dict):
        wrong_type(PARAM, "a file or an object", reference)
    given = cast("dict[str, Any]", reference)
    if len(given) != 1 or not given.keys() <= {"image_url", "file_id"}:
        raise InvalidRequest("'input_reference' takes exactly one of image_url and file_id.", param=PARAM)
    if "file_id" in given:
        raise InvalidRequest("'input_reference.file_id' is not supported yet.", param=PARAM, code="unsupported_value")
    return _of_url(given["image_url"])


def _of_url(url: Any) -> bytes:
    if not isinstance(url, str):
        wrong_type("input_reference.image_url", "a string", url)
    if url[:8].lower().startswith(("http://", "https://")):
        raise InvalidRequest(
            "'input_reference.image_url' must be a data URL; fetching from the web is not supported yet.",
            param=PARAM,
            code="unsupported_value",
        )
    start = _DATA_URL.match(url)
    if start is None or len(url) > URL_LIMIT:
        raise InvalidRequest(
            f"'input_reference.image_url' must be a base64 data URL of a jpeg, png or webp image, "
            f"at most {URL_LIMIT} characters long.",
            param=PARAM,
        )
    try:
        return base64.b64decode(url[start.end() :], validate=True)
    except ValueError:  # binascii.Error is one; text beyond ASCII is another
        raise InvalidRequest("'input_reference.image_url' is not valid base64.", param=PARAM) from None


def _check_size(image: Image.Image, size: Size) -> None:
    """By the header first: asking for the orientation may already decode the whole picture."""
    asked = (size.width, size.height)
    if image.size in {asked, asked[::-1]}:
        turned = image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
        if (image.size[::-1] if turned else image.size) == asked:
            return
    mismatch = InvalidRequest("Inpaint image must match the requested width and height")
    mismatch.code = None  # as OpenAI answers it
    raise mismatch


def _encode(image: Image.Image) -> bytes:
    upright = _flat(ImageOps.exif_transpose(image))
    bare = Image.new("RGB", upright.size)
    bare.paste(upright)
    png = BytesIO()
    bare.save(png, "PNG", compress_level=1)
    return png.getvalue()


def _flat(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which a plain conversion would cut off at 255
        return image.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
