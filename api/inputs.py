"""Reference images: taken from a file or a data URL, decoded under limits, and stored as clean PNG."""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import Any
from uuid import UUID

from PIL import Image, ImageOps

from api import references
from api.references import FileId, Link
from api.services import Services
from domain.errors import InvalidRequest
from domain.video import Size
from storage import outputs
from storage.keys import Caller

PARAM = "input_reference"
CONTENT_TYPES = {"png": "image/png", "mp4": "video/mp4"}  # by suffix; nothing else is stored
FORMATS = ("JPEG", "PNG", "WEBP")
MOST_PIXELS = 4096 * 4096
_ORIENTATION, _ON_ITS_SIDE = 0x0112, {5, 6, 7, 8}

Image.MAX_IMAGE_PIXELS = MOST_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)  # refused, not logged


def picture(_served: Services, _caller: Caller, param: str, reference: Any, size: Size | None) -> bytes:
    """The reference (Upload, {image_url} or {file_id}) as clean PNG of exactly this size; None: of any size.

    Raises InvalidRequest that names `param`, NotFound, Unavailable.
    """
    return clean(_content(references.picture(param, reference), param), size, param)


def store(served: Services, tenant_id: UUID, video_id: UUID, name: str, content: bytes) -> str:
    """Write the key down, then put the bytes: the key. Whatever fails afterwards, the sweeper finds them.

    `name` tells a video's inputs apart, and what they are: `first_frame.png`, `source.mp4`. `outputs.adopt_input` keeps them. Raises Unavailable.
    """
    key = outputs.input_key(tenant_id, video_id, name)
    with served.gate.entered():
        with served.database.transaction(tenant_id) as connection:
            outputs.register_input(connection, tenant_id, video_id, key)
        served.objects.put(key, content, CONTENT_TYPES[name.rpartition(".")[2]])
    return key


def clean(content: bytes, size: Size | None, param: str = PARAM) -> bytes:
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
            "The reference could not be read. Supported image formats: jpeg, png, and webp.", param=param
        ) from None


def _content(source: bytes | Link | FileId, param: str) -> bytes:
    match source:
        case bytes():
            return source
        case Link():
            raise InvalidRequest(f"'{param}.image_url' must be a data URL so far.", param=param)
        case FileId():
            raise InvalidRequest(f"'{param}.file_id' is not supported yet.", param=param, code="unsupported_value")


def _check_size(image: Image.Image, size: Size | None) -> None:
    """By the header first: asking for the orientation may already decode the whole picture."""
    if size is None:
        return
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
