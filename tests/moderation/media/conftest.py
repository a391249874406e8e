from __future__ import annotations

from collections.abc import Iterator

import pytest

from moderation.media.decoder import Decoder
from tests.fixtures import media


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    opened = Decoder()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def hog() -> bytes:
    return media.noise((4096, 4096), "JPEG")
