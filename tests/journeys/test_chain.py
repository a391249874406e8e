"""Two Kinemas in a chain: the near one has tenants, the far one draws for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from moderation import provenance
from tests.fixtures import media
from tests.journeys.conftest import FAST_LEASES
from tests.journeys.system import System, eventually, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ASKED = {"prompt": "bars", "model": "far", "size": "256x144", "seconds": "1"}
MODELS = """
[[model]]
name = "far"
engine = "upstream"
path = "{url}"
pool = "far"
aliases = []
seconds = [1, 2]
fps = 12
rendered_fps = 12
steps = [1, 8, 10000]
guidance = 1.0
capabilities = ["text", "style", "last_frame", "keyframes", "shots", "video", "mask", "extend", "fps", "motion"]
price_micros = 1
cost_ms = 1
sizes = {{ "256x144" = "256x144" }}
options = {{ dialect = "kinema", model = "testcard", key_env = "FAR_KEY" }}
"""


@dataclass(frozen=True)
class Chain:
    near: System
    far: System

    def drawn(self) -> list[tuple[str, str, bool]]:
        """State, seed and whether it is deleted, of every video that the far end ever had."""
        return self.far.rows("SELECT state, plan ->> 'seed', deleted_at IS NOT NULL FROM videos ORDER BY id")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    far_data, near_data = (tmp_path_factory.mktemp(name) / "data" for name in ("far", "near"))
    drawing = {**FAST_LEASES, "KINEMA_TESTCARD_STEP_SECONDS": "0.05"}
    with running(far_data, "--model", "testcard", environment=drawing) as far:
        models = near_data.parent / "models.toml"
        models.write_text(MODELS.format(url=far.facts["base_url"]))
        asking = {**FAST_LEASES, "KINEMA_MODELS_FILE": str(models), "FAR_KEY": far.facts["api_key"]}
        with running(near_data, "--model", "far", environment=asking) as near:
            yield Chain(near, far)


def test_the_far_one_draws_and_the_near_one_vouches(chain: Chain) -> None:
    videos = chain.near.client().videos
    begun = time.monotonic()
    video = videos.create_and_poll(**ASKED, extra_body={"seed": 11, "style": "noir"})
    print(f"completed {time.monotonic() - begun:.1f} s after the create")
    assert video.status == "completed", video.error
    root = Path(chain.near.facts["trust_root"]).read_text()
    found = provenance.verify(videos.download_content(video.id).content, "video/mp4", root)
    assert (found.state, found.video_id, found.model) == ("trusted", video.id, "far")
    eventually(lambda: chain.drawn()[-1][2], within=5)
    state, seed, _ = chain.drawn()[-1]
    assert (state, seed) == ("completed", "11")
    with pytest.raises(openai.NotFoundError):
        chain.far.client().videos.retrieve(video.id)


def test_every_condition_reaches_the_far_one(chain: Chain) -> None:
    videos = chain.near.client().videos
    picture = {"image_url": media.data_url(media.picture())}
    shots = [{"prompt": "red", "seconds": 1}, {"prompt": "blue", "seconds": 1}]
    keyframes = [{"second": 0.5, "image": picture}]
    extras = {"last_frame": picture, "keyframes": json.dumps(keyframes), "shots": json.dumps(shots)}
    created = videos.create_and_poll(**{**ASKED, "seconds": "2"}, extra_body={**extras, "fps": 12})
    assert created.status == "completed", created.error
    by_id = {"video": {"id": created.id}}
    edited = videos.edit(prompt="bars", video=openai.omit, extra_body={**by_id, "mask": picture, "strength": 0.3})
    eventually(lambda: videos.retrieve(edited.id).status == "completed", within=60)
    extended = videos.extend(prompt="bars", seconds="1", video=openai.omit, extra_body=by_id)
    eventually(lambda: videos.retrieve(extended.id).status == "completed", within=60)
    assert videos.retrieve(extended.id).seconds == "3"
    asked = chain.far.rows("SELECT request ->> 'operation', plan -> 'shots' FROM videos ORDER BY id")[-3:]
    assert [operation for operation, _ in asked] == ["create", "edit", "extend"]


def test_a_cancel_here_stops_the_render_there(chain: Chain) -> None:
    client = chain.near.client()
    video = client.videos.create(**ASKED, extra_body={"steps": 2000})  # a hundred seconds
    before = len(chain.drawn())
    eventually(lambda: "rendering" in {state for state, *_ in chain.drawn()}, within=60)
    assert len(chain.drawn()) <= before + 1, "one video there for one video here"
    eventually(lambda: client.videos.retrieve(video.id).progress > 0, within=30)
    answer = httpx.post(
        f"{chain.near.facts['base_url']}/videos/{video.id}/cancel",
        headers={"authorization": f"Bearer {chain.near.facts['api_key']}"},
    )
    assert answer.status_code == httpx.codes.OK
    took = eventually(lambda: "rendering" not in {state for state, *_ in chain.drawn()}, within=15, every=0.02)
    print(f"the far one stopped {took:.2f} s after the cancel")
    assert took < 6
    assert chain.drawn()[-1][0] == "cancelled"
