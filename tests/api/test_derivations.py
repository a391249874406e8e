from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from openai import OpenAI

from api.app import create_app
from domain import ids
from domain.lifecycle import State
from domain.video import Operation
from runtime.settings import Settings
from storage import videos
from storage.objects import ObjectStore
from storage.outputs import Kind
from storage.videos import Video
from tests.api.conftest import BASE as BASE_URL
from tests.api.conftest import Tenant
from tests.api.encodings import ENCODINGS, Send
from tests.api.stages import FILES, bring
from tests.fixtures import media
from tests.fixtures.media import data_url, picture
from tests.fixtures.videos import World

CREATE: dict[str, Any] = {"prompt": "a red ball", "model": "testcard", "size": "256x144", "seconds": "4"}
PICTURE = {"image_url": data_url(picture())}
CLIP = FILES[Kind.VIDEO]


@dataclass(frozen=True)
class Studio:
    """Makes completed videos through the API and the stages."""

    http: TestClient
    world: World
    store: ObjectStore
    tenant: Tenant

    def completed(self, path: str = "/v1/videos", **values: Any) -> str:
        answer = self.http.post(path, json={**(CREATE if path == "/v1/videos" else {}), **values})
        assert answer.status_code == 200, answer.text
        bring(self.world, State.COMPLETED, self.store)
        return answer.json()["id"]

    def stored(self, public_id: str) -> Video:
        with self.world.database.transaction(self.tenant.id) as connection:
            video = videos.find(connection, self.tenant.id, ids.parse(ids.Kind.VIDEO, public_id))
        assert video is not None
        return video


@pytest.fixture
def studio(testcard: TestClient, world: World, object_store: ObjectStore, tenant: Tenant) -> Studio:
    return Studio(testcard, world, object_store, tenant)


def calls(source: str) -> dict[Operation, tuple[str, dict[str, Any]]]:
    """Each derivation of a video, as path and parameters."""
    named = {"prompt": "a blue ball", "video": {"id": source}}
    return {
        Operation.REMIX: (f"/v1/videos/{source}/remix", {"prompt": "a blue ball"}),
        Operation.EDIT: ("/v1/videos/edits", named),
        Operation.EXTEND: ("/v1/videos/extensions", {**named, "seconds": "8"}),
    }


DERIVATIONS = [Operation.REMIX, Operation.EDIT, Operation.EXTEND]
TOTAL = {Operation.REMIX: "4", Operation.EDIT: "4", Operation.EXTEND: "12"}


@pytest.mark.parametrize("send", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("operation", DERIVATIONS)
def test_a_video_is_made_from_another_in_every_encoding(studio: Studio, operation: Operation, send: Send) -> None:
    source = studio.completed(seed=5)
    answer = send(studio.http, *calls(source)[operation])
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["operation"], said["remixed_from_video_id"]) == (operation, source)
    assert (said["model"], said["size"], said["seconds"]) == ("testcard", "256x144", TOTAL[operation])
    video = studio.stored(said["id"])
    assert (video.operation, video.plan.operation) == (operation, operation)
    assert video.plan.source_seconds == 4
    assert video.plan.source_clip is not None
    assert video.plan.source_clip.startswith(f"inputs/{studio.tenant.id.hex}/{video.id.hex}/")
    assert studio.store.read(video.plan.source_clip) == CLIP


def test_a_remix_keeps_settings_and_seed_and_sets_the_prompt(studio: Studio) -> None:
    settings = {
        "seed": 11,
        "steps": 16,
        "guidance": 2.5,
        "negative_prompt": "rain",
        "style": "ink",
        "fps": 24,
        "motion_intensity": 0.5,
        "loras": [{"name": "night", "weight": 0.5}],
    }
    source = studio.completed(**settings, metadata={"order": "1"}, priority=4)
    said = studio.http.post(f"/v1/videos/{source}/remix", json={"prompt": "at night"}).json()
    assert {name: said[name] for name in settings} == settings
    assert (said["prompt"], said["strength"]) == ("at night", 0.7)
    assert (said["metadata"], said["priority"]) == ({}, 0), "labels belong to one request"
    other = studio.http.post(f"/v1/videos/{source}/remix", json={"prompt": "x", "seed": 12, "strength": 0.2}).json()
    assert (other["seed"], other["strength"], other["style"]) == (12, 0.2, "ink")


@pytest.fixture(scope="module")
def running_limited(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An application whose only model draws from words and a first frame."""
    models = Path(settings.models_file).read_text().split("[[model]]")[1]
    everything = re.compile(r"^capabilities = \[.*?\]$", re.MULTILINE | re.DOTALL)
    file = tmp_path_factory.mktemp("limited") / "models.toml"
    file.write_text("[[model]]" + everything.sub('capabilities = ["text", "first_frame"]', models))
    with TestClient(create_app(replace(settings, models_file=str(file))), follow_redirects=False) as client:
        yield client


@pytest.fixture
def limited(running_limited: TestClient, tenant: Tenant) -> TestClient:
    running_limited.headers["authorization"] = f"Bearer {tenant.key}"
    return running_limited


def test_a_remix_where_the_model_cannot_start_from_a_clip_begins_with_the_same_pictures(
    limited: TestClient, world: World, object_store: ObjectStore, tenant: Tenant
) -> None:
    studio = Studio(limited, world, object_store, tenant)
    source = studio.completed(model="kinema-dit", seed=3, input_reference=PICTURE)
    answer = limited.post(f"/v1/videos/{source}/remix", json={"prompt": "at night"})
    assert answer.status_code == 200, answer.text
    video, before = studio.stored(answer.json()["id"]), studio.stored(source)
    assert (video.plan.seed, video.plan.source_clip, video.plan.strength) == (3, None, None)
    assert video.plan.first_frame not in {None, before.plan.first_frame}
    assert before.plan.first_frame is not None
    assert object_store.read(str(video.plan.first_frame)) == object_store.read(before.plan.first_frame)
    refused = limited.post(f"/v1/videos/{source}/remix", json={"prompt": "x", "strength": 0.5})
    assert (refused.json()["error"]["param"], refused.json()["error"]["code"]) == ("strength", "unsupported_parameter")


@pytest.mark.parametrize("operation", [Operation.EDIT, Operation.EXTEND])
def test_a_model_without_the_capability_says_so(
    limited: TestClient, world: World, object_store: ObjectStore, tenant: Tenant, operation: Operation
) -> None:
    source = Studio(limited, world, object_store, tenant).completed(model="kinema-dit")
    path, values = calls(source)[operation]
    answer = limited.post(path, json=values)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "The model 'kinema-dit' does not take 'video'."
    assert answer.json()["error"]["code"] == "unsupported_parameter"


def extension(source: str, seconds: str = "8", **values: Any) -> dict[str, Any]:
    return {"prompt": "it rolls on", "video": {"id": source}, "seconds": seconds, **values}


def test_only_the_new_seconds_of_an_extension_are_paid_for(studio: Studio) -> None:
    source = studio.completed(seconds="12")
    said = studio.http.post("/v1/videos/extensions", json=extension(source)).json()
    assert (said["seconds"], said["usage"]["price_micros"]) == ("20", 80_000)
    video = studio.stored(said["id"])
    assert (video.estimate_ms, video.plan.seconds, video.plan.source_seconds) == (800, 8, 12)


def test_an_extension_keeps_the_rate_of_its_source(studio: Studio) -> None:
    source = studio.completed(fps=24)
    said = studio.http.post("/v1/videos/extensions", json=extension(source)).json()
    assert (said["fps"], said["usage"]["price_micros"]) == (24, 160_000)


def test_an_extension_says_how_long_it_may_be(studio: Studio) -> None:
    source = studio.completed()
    answer = studio.http.post("/v1/videos/extensions", json=extension(source, "20"))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "seconds")
    assert "'1', '2', '4', '8', and '12'" in answer.json()["error"]["message"]
    missing = studio.http.post("/v1/videos/extensions", json={"prompt": "on", "video": {"id": source}})
    assert missing.json()["error"]["message"] == "Missing required parameter: 'seconds'."


def test_a_video_is_extended_six_times_and_no_more(studio: Studio) -> None:
    source = studio.completed(seconds="1")
    for number in range(6):
        source = studio.completed("/v1/videos/extensions", **extension(source, "1"))
        assert studio.http.get(f"/v1/videos/{source}").json()["seconds"] == str(2 + number)
    answer = studio.http.post("/v1/videos/extensions", json=extension(source, "1"))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "video")
    assert "6 times" in answer.json()["error"]["message"]


def test_an_extended_video_has_at_most_120_seconds(studio: Studio, world: World) -> None:
    source = studio.completed()
    with world.database.transaction(studio.tenant.id) as connection:
        longer = sa.text('UPDATE videos SET plan = plan || \'{"operation": "extend", "source_seconds": 110}\'')
        connection.execute(longer)
    answer = studio.http.post("/v1/videos/extensions", json=extension(source))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "seconds")
    assert "122 seconds; at most 120" in answer.json()["error"]["message"]


def test_the_missions_own_names_extend_too(studio: Studio) -> None:
    source = studio.completed()
    values = {"prompt_continuation": "it rolls on", "duration_extension": 8, "input_file": {"id": source}}
    for send in ENCODINGS.values():
        answer = send(studio.http, "/v1/videos/extensions", values)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["seconds"], answer.json()["prompt"]) == ("12", "it rolls on")
    both = studio.http.post("/v1/videos/extensions", json={**values, "prompt": "another"})
    assert (both.status_code, both.json()["error"]["param"]) == (400, "prompt")


@pytest.mark.parametrize("state", [State.RECEIVED, State.RENDERING, State.HELD, State.FAILED])
@pytest.mark.parametrize("operation", DERIVATIONS)
def test_a_source_must_be_completed(studio: Studio, operation: Operation, state: State) -> None:
    source = studio.http.post("/v1/videos", json=CREATE).json()["id"]
    bring(studio.world, state)
    path, values = calls(source)[operation]
    answer = studio.http.post(path, json=values)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "video", "video_not_completed")
    assert "must be completed" in error["message"]


@pytest.mark.parametrize("operation", DERIVATIONS)
def test_somebody_elses_or_a_deleted_source_is_not_found(
    studio: Studio, operation: Operation, new_tenant: Callable[[str], Tenant]
) -> None:
    source = studio.completed()
    path, values = calls(source)[operation]
    stranger = {"authorization": f"Bearer {new_tenant('bob').key}"}
    foreign = studio.http.post(path, json=values, headers=stranger)
    assert studio.http.delete(f"/v1/videos/{source}").status_code == 200
    deleted = studio.http.post(path, json=values)
    path, values = calls("video_" + "0" * 32)[operation]
    for answer in (foreign, deleted, studio.http.post(path, json=values)):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "video_not_found")


def test_what_is_made_from_a_video_outlives_it(studio: Studio, world: World) -> None:
    source = studio.completed()
    made = studio.http.post("/v1/videos/edits", json=calls(source)[Operation.EDIT][1]).json()["id"]
    studio.http.delete(f"/v1/videos/{source}")
    video = studio.stored(made)
    assert video.plan.source_clip is not None
    with world.database.transaction(studio.tenant.id) as connection:
        doomed = sa.text("SELECT doomed_at FROM objects WHERE key = :key")
        assert connection.scalar(doomed, {"key": video.plan.source_clip}) is None
        line = videos.ancestry(connection, studio.tenant.id, video.id)
    assert [(each.operation, each.deleted) for each in line] == [("edit", False), ("create", True)]
    assert studio.http.get(f"/v1/videos/{made}").json()["remixed_from_video_id"] == source


def test_a_source_whose_file_is_gone_is_not_found(studio: Studio) -> None:
    source = studio.completed()
    path, values = calls(source)[Operation.EDIT]
    with studio.world.database.transaction(studio.tenant.id) as connection:
        key = connection.scalar(sa.text("SELECT object_key FROM outputs WHERE kind = 'video'"))
    studio.store.delete([key])
    answer = studio.http.post(path, json=values)
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "video")
    with studio.world.database.transaction(studio.tenant.id) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM videos")) == 1, "nothing was made"


NOT_TAKEN = [
    (Operation.REMIX, {"size": "256x144"}, "size"),
    (Operation.REMIX, {"seconds": "4"}, "seconds"),
    (Operation.REMIX, {"model": "testcard"}, "model"),
    (Operation.REMIX, {"video": {"id": "x"}}, "video"),
    (Operation.EDIT, {"seconds": "4"}, "seconds"),
    (Operation.EDIT, {"input_reference": PICTURE}, "input_reference"),
    (Operation.EXTEND, {"input_reference": PICTURE}, "input_reference"),
    (Operation.EXTEND, {"characters": [{"id": "char_x"}]}, "characters"),
    (Operation.EXTEND, {"strength": 0.5}, "strength"),
    (Operation.EDIT, {"nonsense": 1}, "nonsense"),
]


@pytest.mark.parametrize(("operation", "values", "param"), NOT_TAKEN)
def test_what_a_call_does_not_take_is_refused(
    studio: Studio, operation: Operation, values: dict[str, Any], param: str
) -> None:
    path, base = calls("video_" + "0" * 32)[operation]
    answer = studio.http.post(path, json={**base, **values})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_edit_by_id_has_the_model_of_its_source(studio: Studio) -> None:
    source = studio.completed()
    values = calls(source)[Operation.EDIT][1]
    assert studio.http.post("/v1/videos/edits", json={**values, "model": "testcard"}).json()["model"] == "testcard"
    answer = studio.http.post("/v1/videos/edits", json={**values, "model": "kinema-dit"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


def test_an_edit_takes_a_mask_and_a_strength(studio: Studio) -> None:
    source = studio.completed()
    values = {**calls(source)[Operation.EDIT][1], "mask": PICTURE, "strength": 0.3}
    for send in ENCODINGS.values():
        said = send(studio.http, "/v1/videos/edits", values).json()
        video = studio.stored(said["id"])
        assert (said["strength"], video.plan.strength) == (0.3, 0.3)
        assert str(video.plan.mask).endswith("/mask.png")


@pytest.mark.parametrize("operation", DERIVATIONS)
def test_a_dry_run_of_a_derivation_copies_nothing(studio: Studio, operation: Operation) -> None:
    source = studio.completed()
    path, values = calls(source)[operation]
    answer = studio.http.post(path, json={**values, "dry_run": True})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["object"], said["seconds"]) == ("video.dry_run", TOTAL[operation])
    assert (said["remixed_from_video_id"], said["plan"]["operation"]) == (source, operation)
    with studio.world.database.transaction(studio.tenant.id) as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM objects WHERE purpose = 'input'")) == 0
        assert connection.scalar(sa.text("SELECT count(*) FROM videos")) == 1


def test_the_sdk_derives_by_its_own_methods(studio: Studio) -> None:
    client = OpenAI(api_key=studio.tenant.key, base_url=BASE_URL, http_client=studio.http, max_retries=0)
    source = studio.completed()
    assert client.videos.remix(source, prompt="at night").remixed_from_video_id == source
    named = {"extra_body": {"video": {"id": source}}}
    edited = client.videos.edit(prompt="at night", video=openai.omit, **named)
    extended = client.videos.extend(prompt="on", seconds="8", video=openai.omit, **named)
    assert (edited.remixed_from_video_id, extended.remixed_from_video_id) == (source, source)
    assert (edited.seconds, extended.seconds) == ("4", "12")


def test_the_names_of_collections_are_no_ids(studio: Studio) -> None:
    for name in ("edits", "extensions"):
        answer = studio.http.get(f"/v1/videos/{name}")
        assert answer.status_code == 405, "the collection answers, not a look-up of a video"


def upload(studio: Studio, path: str, clip: bytes, **values: str) -> Any:
    files = [(name, (None, value)) for name, value in {"model": "testcard", "prompt": "at night", **values}.items()]
    return studio.http.post(path, files=[*files, ("video", ("clip.mp4", clip, "video/mp4"))])


def test_a_clip_that_comes_along_is_edited(studio: Studio) -> None:
    answer = upload(studio, "/v1/videos/edits", media.clip(seconds=2))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["operation"], said["remixed_from_video_id"]) == ("edit", None)
    assert (said["seconds"], said["size"]) == ("2", "256x144")
    clip = studio.stored(said["id"]).plan.source_clip
    assert clip is not None
    assert b"ftyp" in studio.store.read(clip)[:16]


def test_a_clip_that_comes_along_is_extended_and_may_have_a_fraction_of_a_second(studio: Studio) -> None:
    answer = upload(studio, "/v1/videos/extensions", media.clip(seconds=1.5), seconds="4")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["seconds"], said["usage"]["price_micros"]) == ("5.5", 40_000)
    plan = studio.stored(said["id"]).plan
    assert (plan.seconds, plan.source_seconds, plan.source_frames, plan.frames) == (4, 1.5, 18, 48)


def test_a_clip_must_have_a_size_of_the_model_and_a_length_that_it_takes(studio: Studio) -> None:
    wrong = upload(studio, "/v1/videos/edits", media.clip((160, 96)))
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "video")
    assert "is 160x96; 'testcard' makes 720x1280, " in wrong.json()["error"]["message"]
    short = upload(studio, "/v1/videos/edits", media.clip(seconds=0.5))
    assert (short.status_code, short.json()["error"]["param"]) == (400, "video")
    assert "0.5 seconds; 'testcard' takes from 1 to 12" in short.json()["error"]["message"]
    nothing = upload(studio, "/v1/videos/edits", b"no clip")
    assert (nothing.status_code, nothing.json()["error"]["param"]) == (400, "video")


def test_no_path_of_the_server_names_a_clip(studio: Studio) -> None:
    for video in ("/etc/passwd", {"path": "/etc/passwd"}, {"id": "../../etc/passwd"}, {"file_id": "/etc/passwd"}):
        for path in ("/v1/videos/edits", "/v1/videos/extensions"):
            values = {"prompt": "x", "model": "testcard", "video": video}
            answer = studio.http.post(path, json={**values, "seconds": "4"} if "ext" in path else values)
            assert answer.status_code in {400, 404}, answer.text
            assert answer.json()["error"]["param"] == "video"
