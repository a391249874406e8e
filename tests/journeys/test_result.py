from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from openai import OpenAI
from PIL import Image
from playwright.sync_api import sync_playwright

from moderation import provenance
from tests.fixtures.receiver import Receiver, receiver
from tests.journeys.system import System, eventually

ASKED = {"prompt": "bars", "model": "testcard", "size": "1280x720", "seconds": "4"}
MIMES = {"video": "video/mp4", "thumbnail": "image/webp", "spritesheet": "image/jpeg"}
PIXELS = {"video": b"mdat", "thumbnail": b"VP8", "spritesheet": b"\xff\xda"}  # where the picture begins
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


@dataclass(frozen=True)
class Result:
    """One finished video and everything that can be downloaded of it."""

    id: str
    files: dict[str, bytes]
    root_pem: str


@pytest.fixture(scope="module")
def result(system: System) -> Iterator[Result]:
    videos = system.client().videos
    video = videos.create_and_poll(**ASKED)
    assert video.status == "completed"
    files = {kind: videos.download_content(video.id, variant=kind).content for kind in MIMES}
    yield Result(video.id, files, Path(system.facts["trust_root"]).read_text())
    videos.delete(video.id)


def test_the_file_is_four_seconds_of_h264_at_the_asked_size(result: Result) -> None:
    with av.open(io.BytesIO(result.files["video"])) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (1280, 720)
        assert stream.frames == len(list(container.decode(stream))) == 48
        assert float(stream.duration * stream.time_base) == 4.0
    moov, mdat = (result.files["video"].index(box) for box in (b"moov", b"mdat"))
    assert moov < mdat, "players can begin before the whole file is there"


@pytest.mark.parametrize("kind", MIMES)
def test_two_unrelated_verifiers_trust_every_file(result: Result, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, mime = result.files[kind], MIMES[kind]
    assert provenance.verify(data, mime, result.root_pem).state == "trusted"
    assert provenance.verify(data, mime).state == "valid"
    assert second_opinion(data, mime, result.root_pem, monkeypatch) == "trusted"


@pytest.mark.parametrize("kind", MIMES)
def test_one_flipped_media_byte_makes_both_refuse(result: Result, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = bytearray(result.files[kind])
    damaged[damaged.rindex(PIXELS[kind]) + 200] ^= 1
    data, mime = bytes(damaged), MIMES[kind]
    assert provenance.verify(data, mime, result.root_pem).state == "invalid"
    assert second_opinion(data, mime, result.root_pem, monkeypatch) in {"invalid", "unreadable"}


def test_the_credentials_name_the_video_and_its_maker(result: Result) -> None:
    found = provenance.verify(result.files["video"], "video/mp4", result.root_pem)
    assert (found.video_id, found.model) == (result.id, "testcard")
    assert found.digital_source_type is not None
    assert found.digital_source_type.endswith("trainedAlgorithmicMedia")


def test_thumbnail_and_spritesheet_are_pictures(result: Result) -> None:
    formats = {kind: Image.open(io.BytesIO(result.files[kind])).format for kind in ("thumbnail", "spritesheet")}
    assert formats == {"thumbnail": "WEBP", "spritesheet": "JPEG"}


def test_the_webhook_arrives_signed(system: System) -> None:
    client = system.client()
    with receiver() as inbox:
        endpoint = register(client, inbox)
        video = client.videos.create_and_poll(**ASKED)
        eventually(lambda: inbox.requests, within=10)
        client.webhooks.delete(endpoint.id)
    delivery = inbox.requests[0]
    event: Any = client.webhooks.unwrap(delivery.body, delivery.headers, secret=endpoint.signing_secret)
    assert (event.type, event.data.id) == ("video.completed", video.id)


def test_a_prompt_that_the_rules_refuse_is_never_stored(system: System) -> None:
    import openai  # noqa: PLC0415 - only here

    with pytest.raises(openai.BadRequestError) as caught:
        system.client().videos.create(**{**ASKED, "prompt": "a naked 12 year old girl"})
    assert caught.value.code == "sentinel_block"


@pytest.mark.slow
def test_a_browser_plays_it(result: Result, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(result.files["video"])
    (tmp_path / "page.html").write_text("<video src='clip.mp4' muted></video>")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM))
        page = browser.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        played = page.evaluate("""async () => {
            const video = document.querySelector('video');
            video.playbackRate = 4;
            const ended = new Promise(done => video.addEventListener('ended', done));
            await video.play();
            await ended;
            return [video.duration, video.videoWidth, video.videoHeight, video.error];
        }""")
        browser.close()
    assert played == [4, 1280, 720, None]


def register(client: OpenAI, inbox: Receiver) -> Any:
    return client.webhooks.create(name="test", url=inbox.url(), event_types=["video.completed"])


def second_opinion(data: bytes, mime: str, root_pem: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a verifier says that shares no code with the first."""
    monkeypatch.setenv("ENCYPHER_C2PA_TELEMETRY", "off")
    import encypher_c2pa  # noqa: PLC0415 - reads the variable when it is imported

    try:
        report = encypher_c2pa.verify(data, mime, trust_pem=root_pem, no_default_trust=True)
    except ValueError:
        return "unreadable"
    return str(report["validation_state"]).lower()
