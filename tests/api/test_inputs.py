from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import BadRequestError, OpenAI, RateLimitError
from PIL import Image

from api import inputs, references
from domain import ids
from domain.errors import InvalidRequest
from domain.ledger import Meter
from domain.quotas import Period
from domain.video import Size
from engines.images import decode_image
from storage import ledger, videos
from storage.objects import ObjectStore
from tests.api.conftest import Tenant
from tests.fixtures.videos import World

SIZE = Size(256, 144)


def picture(kind: str = "PNG", size: tuple[int, int] = (256, 144), mode: str = "RGB", **options: Any) -> bytes:
    image = Image.new(mode, size)
    image.paste(200, (0, 0, size[0] // 2, size[1]))
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def data_url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def stored(world: World, store: ObjectStore, tenant: Tenant, public_id: str) -> Image.Image:
    video_id = ids.parse(ids.Kind.VIDEO, public_id)
    with world.database.transaction(tenant.id) as connection:
        video = videos.find(connection, tenant.id, video_id)
        doomed = connection.scalars(sa.text("SELECT doomed_at FROM objects WHERE purpose = 'input'")).all()
    assert video is not None
    key = f"inputs/{tenant.id.hex}/{video_id.hex}/first_frame.png"
    assert video.plan.first_frame == video.request.first_frame == key
    assert doomed == [None], "the video has adopted its input"
    return Image.open(BytesIO(store.read(video.plan.first_frame)))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_file_becomes_the_first_frame(
    client: OpenAI, world: World, object_store: ObjectStore, tenant: Tenant, kind: str
) -> None:
    reference = ("anything.gif", picture(kind), "application/x-nonsense")
    video = client.videos.create(prompt="it moves", size="256x144", input_reference=reference)
    image = stored(world, object_store, tenant, video.id)
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (256, 144))
    left, right = image.getpixel((5, 5)), image.getpixel((250, 5))
    assert sum(left) > 3 * sum(right)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_data_url_becomes_the_first_frame(
    client: OpenAI, world: World, object_store: ObjectStore, tenant: Tenant, *, as_json: bool
) -> None:
    headers = {"content-type": "application/json"} if as_json else {}
    reference = {"input_reference": {"image_url": data_url(picture("JPEG"), "jpeg")}}
    video = client.videos.create(prompt="it moves", size="256x144", extra_body=reference, extra_headers=headers)
    assert stored(world, object_store, tenant, video.id).size == (256, 144)


def test_a_json_string_in_a_form_may_hold_the_reference(http: TestClient) -> None:
    reference = '{"image_url": "' + data_url(picture()) + '"}'
    fields = {"prompt": "it moves", "size": "256x144", "input_reference": reference}
    answer = http.post("/v1/videos", files={name: (None, value) for name, value in fields.items()})
    assert answer.status_code == 200, answer.text


def test_a_picture_of_another_size_is_refused_in_openai_s_words(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.videos.create(prompt="it moves", input_reference=("a.png", picture()))
    assert refused.value.body == {
        "message": "Inpaint image must match the requested width and height",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize(
    ("reference", "code", "message"),
    [
        ("just text", "invalid_type", "expected a file or an object, but got a string"),
        ({"image_url": "file:///etc/passwd"}, "invalid_value", "base64 data URL"),
        ({"image_url": "data:image/svg+xml;base64,AAAA"}, "invalid_value", "base64 data URL"),
        ({"image_url": "data:image/png;base64,%%%"}, "invalid_value", "not valid base64"),
        ({"image_url": "data:image/png;base64,ÄÖÜ="}, "invalid_value", "not valid base64"),
        ({"image_url": 5}, "invalid_type", "expected a string"),
        ({"file_id": "file_1", "image_url": "data:"}, "invalid_value", "exactly one"),
        ({"path": "/etc/passwd"}, "invalid_value", "exactly one"),
        ({}, "invalid_value", "exactly one"),
        ([], "invalid_type", "but got an array"),
    ],
)
def test_other_references_are_refused(reference: Any, code: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        references.picture("input_reference", reference)
    assert refused.value.code == code
    assert (refused.value.param or "").startswith("input_reference")
    assert message in refused.value.message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        picture("GIF", mode="L"),
        picture("TIFF"),
        picture("PNG")[:200],
        picture("JPEG")[:300],
        b"GIF89a" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_what_is_no_whole_picture_of_the_three_formats_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequest, match="could not be read"):
        inputs.clean(content, SIZE)


def test_metadata_is_stripped() -> None:
    exif = Image.Exif()
    exif[0x010E] = "the secret place"
    clean = inputs.clean(picture("JPEG", exif=exif, icc_profile=b"the secret profile", comment=b"the secret"), SIZE)
    assert b"secret" not in clean
    with Image.open(BytesIO(clean)) as image:
        assert not image.info
        assert not image.getexif()


def test_a_picture_that_lies_on_its_side_is_turned_before_it_is_measured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = picture("JPEG", size=(144, 256), exif=exif)
    with Image.open(BytesIO(inputs.clean(sideways, SIZE))) as image:
        assert image.size == (256, 144)
    with pytest.raises(InvalidRequest, match="must match"):
        inputs.clean(sideways, Size(144, 256))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(mode: str) -> None:
    with Image.open(BytesIO(inputs.clean(picture("PNG", mode=mode), SIZE))) as image:
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
    assert np.array_equal(decode_image(inputs.clean(content, SIZE)), decode_image(content))


def test_greys_of_sixteen_bits_are_not_white() -> None:
    with Image.open(BytesIO(inputs.clean(gradient("I;16"), SIZE))) as image:
        assert [image.getpixel((x, 0)) for x in (0, 100, 255)] == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]


def test_transparency_is_laid_over_white() -> None:
    invisible = BytesIO()
    Image.new("RGBA", (256, 144), (200, 0, 0, 0)).save(invisible, "PNG")
    with Image.open(BytesIO(inputs.clean(invisible.getvalue(), SIZE))) as image:
        assert image.getpixel((0, 0)) == (255, 255, 255)


def test_the_size_is_judged_by_the_header_before_anything_is_decoded() -> None:
    broken = picture("PNG", size=(4000, 4000), mode="L")[:60]
    with pytest.raises(InvalidRequest, match="must match"):
        inputs.clean(broken, SIZE)


@pytest.mark.parametrize("size", [(4100, 4100), (6000, 6000)])
def test_a_huge_picture_is_not_even_measured(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequest, match="could not be read"):
        inputs.clean(picture("PNG", size=size, mode="1"), SIZE)


def test_an_input_whose_video_is_refused_is_left_to_the_sweeper(client: OpenAI, world: World, tenant: Tenant) -> None:
    with world.database.transaction_for_any_tenant() as connection:
        ledger.set_limit(connection, tenant.id, Meter.MICROS, 0, Period.TOTAL)
    with pytest.raises(RateLimitError):
        client.videos.create(prompt="it moves", size="256x144", input_reference=("a.png", picture()))
    with world.database.transaction(tenant.id) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM objects WHERE doomed_at IS NOT NULL")) == 1
