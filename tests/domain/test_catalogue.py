from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from domain import catalogue, entries
from domain.catalogue import Model
from domain.errors import InvalidRequest, NotFound
from domain.video import Keyframe, Lora, Operation, Plan, Request, Shot, Size

MODELS_FILE = Path(__file__).parents[2] / "models.toml"
MODELS = catalogue.load(MODELS_FILE)
SORA = MODELS.find("sora-2")


def asked(seconds: int = 4, size: str = "1280x720", **extras: object) -> Request:
    return Request("sora-2", "a red ball", seconds, Size.parse(size), **extras)


def test_an_alias_finds_its_model_and_an_unknown_name_is_model_not_found() -> None:
    assert SORA.name == "kinema-dit"
    with pytest.raises(NotFound) as caught:
        MODELS.find("sora-9")
    assert caught.value.code == "model_not_found"


def test_the_test_card_is_offered_only_when_asked_for() -> None:
    with pytest.raises(NotFound):
        MODELS.find("testcard")
    assert catalogue.load(MODELS_FILE, testcard=True).find("testcard").engine == "testcard"


def test_a_bad_size_gets_openais_message() -> None:
    with pytest.raises(InvalidRequest) as caught:
        catalogue.plan(asked(seconds=5), SORA)
    lengths = "'4', '8', '12', '16', '20', '30', and '60'"
    assert caught.value.message == f"Invalid value: '5'. Supported values are: {lengths}."
    assert caught.value.param == "seconds"


def test_a_plan_holds_effective_values_only_and_survives_storage() -> None:
    plan = catalogue.plan(asked(seconds=8, size="720x1280"), SORA)
    assert (str(plan.rendered), str(plan.delivered), plan.frames) == ("144x256", "720x1280", 8 * plan.fps)
    assert 0 <= plan.seed < 2**63
    assert Plan.from_json(plan.to_json()) == plan


def test_a_given_seed_is_kept() -> None:
    assert catalogue.plan(asked(seed=7), SORA).seed == 7


def test_steps_outside_the_models_range_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        catalogue.plan(asked(steps=1_000), SORA)


def test_price_and_cost_grow_with_the_length() -> None:
    short, long = (catalogue.plan(asked(seconds=seconds), SORA) for seconds in (4, 8))
    assert catalogue.price(long, SORA) == 2 * catalogue.price(short, SORA)
    assert catalogue.cost(long, SORA) == 2 * catalogue.cost(short, SORA)


def test_every_size_keeps_its_shape_when_drawn_smaller() -> None:
    for model in catalogue.load(MODELS_FILE, testcard=True).models:
        for delivered, rendered in model.sizes.items():
            big, small = Size.parse(delivered), Size.parse(rendered)
            stretch = big.width * small.height / (big.height * small.width)
            assert stretch == pytest.approx(1, abs=0.02)
            assert small.width % 16 == 0
            assert small.height % 16 == 0


CARD = catalogue.load(MODELS_FILE, testcard=True).find("testcard")


def card(seconds: int = 4, **extras: object) -> Request:
    return Request("testcard", "a red ball", seconds, Size(256, 144), **extras)


def test_every_capability_is_one_that_the_service_knows(tmp_path: Path) -> None:
    text = MODELS_FILE.read_text().replace('"keyframes",', '"telepathy",', 1)
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(ValueError, match="no such capability: telepathy"):
        catalogue.load(tmp_path / "models.toml")


def test_rates_hold_the_default_and_multiples_only(tmp_path: Path) -> None:
    for rates, complaint in (('"24" = 12', "rates must hold"), ('"12" = 6\n"20" = 12', "multiple")):
        text = MODELS_FILE.read_text().replace('"6" = 6\n"12" = 6\n"24" = 12', rates, 1)
        (tmp_path / "models.toml").write_text(text)
        with pytest.raises(ValueError, match=complaint):
            catalogue.load(tmp_path / "models.toml")


ENTRY: dict[str, Any] = {
    "name": "own", "engine": "dit", "path": "weights", "pool": "small", "aliases": [], "sizes": {"1280x720": "256x144"},
    "seconds": [4], "fps": 12, "rendered_fps": 6, "steps": [4, 8, 32], "guidance": 2.0, "capabilities": ["text"],
    "price_micros": 1, "cost_ms": 1,
}  # fmt: skip
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"engine": "ditt"}, "engine must be one of .*, not 'ditt'"),
    ({"engine": ["dit"]}, "engine must be one of"),
    ({"sizes": {"1280x720": "nonsense"}}, "sizes: 'nonsense' is no size"),
    ({"sizes": {"nonsense": "256x144"}}, "sizes: 'nonsense' is no size"),
    ({"sizes": {"1281x720": "256x144"}}, "sizes: the sides of the file must be even, not 1281x720"),
    ({"sizes": {"1280x720": "250x144"}}, "sizes: 1280x720 must be drawn with sides that are multiples of 16"),
    ({"sizes": {"1280x00": "256x144"}}, "sizes: 1280x00"),
    ({"sizes": {"01280x720": "256x144"}}, "sizes: 01280x720"),
    ({"sizes": {}}, "sizes must be"),
    ({"sizes": {"1280x720": 5}}, "sizes must be"),
    ({"steps": [8, 4, 2]}, "steps must be three whole numbers: least, default, most, not"),
    ({"steps": [0, 4, 8]}, "steps must be"),
    ({"steps": [4, 8]}, "steps must be"),
    ({"steps": [4, 8, 16, 32]}, "steps must be"),
    ({"steps": [4, 8.5, 16]}, "steps must be"),
    ({"steps": 8}, "steps must be"),
    ({"seconds": []}, "seconds must be a list"),
    ({"seconds": [4, -1]}, "seconds must be a list"),
    ({"seconds": [True]}, "seconds must be a list"),
    ({"seconds": [60], "capabilities": ["text", "extend"]}, "seconds must hold one up to 20"),
    ({"strength": 7}, "strength must be a number from 0 to 1, not 7"),
    ({"guidance": -1}, "guidance must be a number from 0 to 30, not -1"),
    ({"guidance": float("nan")}, "guidance must be"),
    ({"fps": 0}, "fps must be"),
    ({"rates": {"12": 0}}, "rates must be"),
    ({"rates": {"twelve": 6}}, "rates must be"),
    ({"price_micros": -1}, "price_micros must be"),
    ({"cost_ms": 0.5}, "cost_ms must be"),
    ({"pool": ""}, "pool must be"),
    ({"aliases": "sora-2"}, "aliases must be"),
    ({"loras": {"ink": 1}}, "loras must be"),
    ({"options": []}, "options must be"),
    ({"colour": "red"}, "no such key: colour"),
]


@pytest.mark.parametrize(("wrong", "complaint"), MISTAKES, ids=lambda each: str(each)[:40])
def test_an_entry_that_would_fail_at_its_first_video_is_refused_by_its_name_and_key(
    wrong: dict[str, Any], complaint: str
) -> None:
    assert Model(**entries.read(ENTRY)).steps == (4, 8, 32)
    with pytest.raises(ValueError, match=f"^own: {complaint}"):
        entries.read({**ENTRY, **wrong})


def test_an_entry_names_all_that_it_must_have_and_may_have_what_a_model_has() -> None:
    for key in ENTRY.keys() - {"name"}:
        with pytest.raises(ValueError, match=f"^own: missing: {key}$"):
            entries.read({name: value for name, value in ENTRY.items() if name != key})
    with pytest.raises(ValueError, match="must have a name"):
        entries.read({**ENTRY, "name": ""})
    assert {each.name for each in fields(Model)} == set(entries.REQUIRED | entries.OPTIONAL)


@pytest.mark.parametrize("text", ["", "[model]\nname = 'own'\n", "model = [1]\n"])
def test_a_file_without_entries_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(ValueError, match=r"there must be a \[\[model\]\]"):
        catalogue.load(tmp_path / "models.toml")


def test_only_the_embedded_model_needs_sides_of_sixteen() -> None:
    small = {"sizes": {"128x72": "64x36"}}
    with pytest.raises(ValueError, match="multiples of 16, not 64x36"):
        entries.read({**ENTRY, **small})
    assert entries.read({**ENTRY, **small, "engine": "diffusers"})["sizes"] == small["sizes"]


TOLD = (Shot("a", 2, "x"), Shot("b", 2, "y"))
COLLIDING: list[tuple[dict[str, object], str, str]] = [
    (
        {"keyframes": (Keyframe(0.0, "a"), Keyframe(0.05, "b"))},
        "the keyframe at 0 s and the keyframe at 0.05 s",
        "keyframes",
    ),
    ({"keyframes": (Keyframe(3.95, "a"),), "last_frame": "z"}, "'last_frame' and the keyframe at 3.95 s", "keyframes"),
    (
        {"keyframes": (Keyframe(4, "a"), Keyframe(3.9, "b"))},
        "the keyframe at 3.9 s and the keyframe at 4 s",
        "keyframes",
    ),
    (
        {"keyframes": (Keyframe(0.08, "a"),), "first_frame": "z"},
        "'input_reference' and the keyframe at 0.08 s",
        "keyframes",
    ),
    (
        {"keyframes": (Keyframe(2, "a"),), "shots": TOLD},
        "the reference of shots[1] and the keyframe at 2 s",
        "keyframes",
    ),
    ({"first_frame": "z", "shots": TOLD}, "'input_reference' and the reference of shots[0]", "shots"),
]


@pytest.mark.parametrize(("extras", "which", "param"), COLLIDING)
def test_two_pictures_for_one_frame_are_refused_because_one_would_be_lost(
    extras: dict[str, object], which: str, param: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"of 6 frames a second, {re.escape(which)} have the same") as caught:
        catalogue.plan(asked(**extras), SORA)
    assert (caught.value.param, caught.value.code) == (param, "invalid_value")


def test_keyframes_of_neighbouring_frames_are_taken_and_a_higher_rate_has_more_of_them() -> None:
    near = (Keyframe(0.0, "a"), Keyframe(0.17, "b"), Keyframe(3.6, "c"))
    assert catalogue.plan(asked(keyframes=near, last_frame="z"), SORA).keyframes == near
    closer = (Keyframe(0.0, "a"), Keyframe(0.08, "b"))
    assert catalogue.plan(asked(keyframes=closer, fps=24), SORA).keyframes == closer


LACKING: list[tuple[dict[str, object], str]] = [
    ({"last_frame": "k"}, "last_frame"),
    ({"keyframes": (Keyframe(1, "k"),)}, "keyframes"),
    ({"shots": (Shot("a", 4),)}, "shots"),
    ({"mask": "k"}, "mask"),
    ({"strength": 0.5}, "strength"),
    ({"negative_prompt": "rain"}, "negative_prompt"),
    ({"style": "ink"}, "style"),
    ({"motion_intensity": 0.0}, "motion_intensity"),
    ({"fps": 12}, "fps"),
    ({"loras": (Lora("sepia"),)}, "loras"),
    ({"characters": (UUID(int=1),)}, "characters"),
    ({"operation": Operation.EDIT, "source_clip": "k"}, "video"),
    ({"operation": Operation.EXTEND, "source_clip": "k"}, "video"),
]


@pytest.mark.parametrize(("extras", "param"), LACKING)
def test_what_a_model_lacks_is_refused_by_name(extras: dict[str, object], param: str) -> None:
    bare = replace(SORA, capabilities=frozenset({"text"}))
    with pytest.raises(InvalidRequest) as caught:
        catalogue.plan(asked(**extras), bare)
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")
    assert "kinema-dit" in caught.value.message


def test_a_plan_survives_storage_with_all_its_parts() -> None:
    request = card(
        keyframes=(Keyframe(2.5, "b"), Keyframe(1.5, "a")),
        shots=(Shot("a hill", 1), Shot("the sea", 3, "r")),
        loras=(Lora("sepia", 0.5),),
        characters=(UUID(int=1),),
        character_clips=("c",),
        source=UUID(int=2),
        source_clip="s",
        source_seconds=4.0,
        operation=Operation.REMIX,
        webhook_url="https://example.com",
    )
    plan = catalogue.plan(request, CARD)
    assert [frame.second for frame in plan.keyframes] == [1.5, 2.5]
    assert (plan.characters, plan.strength) == (("c",), 0.7)
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_rows_of_before_the_extras_are_still_read() -> None:
    request, plan = card(), catalogue.plan(card(), CARD)
    old = {"model", "prompt", "seconds", "size", "seed", "steps", "guidance", "first_frame", "metadata", "spec_version"}
    assert Request.from_json({name: value for name, value in request.to_json().items() if name in old}) == request
    drawn = {"rendered", "rendered_fps", "delivered", "fps", "negative_prompt"}
    assert Plan.from_json({name: value for name, value in plan.to_json().items() if name in old | drawn}) == plan


def extension(new: int, before: float) -> Plan:
    return catalogue.plan(card(new, operation=Operation.EXTEND, source_clip="s", source_seconds=before), CARD)


def test_an_extension_is_rendered_and_charged_for_its_new_seconds_only() -> None:
    plan = extension(8, 4.5)
    assert (plan.seconds, plan.total_seconds) == (8, 12.5)
    assert (plan.frames, plan.source_frames, plan.rendered_frames) == (96, 54, 96)
    assert catalogue.price(plan, CARD) == 80_000
    assert plan.strength is None, "nothing of the source is drawn again"


def test_an_extension_ends_at_two_minutes() -> None:
    assert extension(12, 108).total_seconds == 120
    with pytest.raises(InvalidRequest, match="at most 120"):
        extension(12, 109)


def test_the_price_is_never_rounded_down() -> None:
    cheap = replace(CARD, price_micros=1)
    assert catalogue.price(catalogue.plan(card(1, steps=1), cheap), cheap) == 1


def test_a_tenant_finds_what_it_may_use_and_nothing_else() -> None:
    every = [name for name, _ in MODELS.names()]
    assert every[0] == "kinema-dit"
    assert [name for name, _ in MODELS.names(["kinema-dit"])] == every
    assert [name for name, _ in MODELS.names(["sora-2"])] == ["sora-2"]
    assert MODELS.find("sora-2", ["sora-2"]) is SORA
    for name, allowed in (("kinema-dit", ["sora-2"]), ("sora-2", [])):
        with pytest.raises(NotFound):
            MODELS.find(name, allowed)


def test_a_source_must_be_as_long_as_the_model_can_draw() -> None:
    painted = card(13, operation=Operation.EDIT, source_clip="s", source_seconds=13.05)
    with pytest.raises(InvalidRequest, match=r"has 13\.05 seconds; 'testcard' takes from 1 to 12") as caught:
        catalogue.plan(painted, CARD)
    assert caught.value.param == "video"
    anew = asked(12 + 6, operation=Operation.REMIX, source_seconds=18.0)
    with pytest.raises(InvalidRequest, match="has 18 seconds; 'kinema-dit' takes '4', '8', '12', '16'"):
        catalogue.plan(anew, SORA)


def test_a_model_that_needs_a_picture_says_so_before_anything_waits() -> None:
    model = replace(SORA, capabilities=frozenset({"first_frame", "shots"}))
    with pytest.raises(InvalidRequest) as caught:
        catalogue.plan(asked(), model)
    assert (caught.value.param, caught.value.code) == ("input_reference", "missing_required_parameter")
    catalogue.plan(asked(first_frame="key"), model)
    shots = (Shot("a ball", 2), Shot("a lake", 2))
    with pytest.raises(InvalidRequest, match="every shot needs a reference"):
        catalogue.plan(asked(first_frame="key", shots=shots), model)
    catalogue.plan(asked(shots=tuple(replace(shot, reference="key") for shot in shots)), model)
