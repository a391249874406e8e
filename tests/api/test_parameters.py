from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import parameters, references
from api.multipart import Upload
from api.parameters import Terms
from api.planning import _draft
from domain import catalogue
from domain.errors import InvalidRequest, NotFound
from domain.video import Operation, Request, Size

CATALOGUE = catalogue.load(Path("models.toml"), testcard=True)
CREATE = Operation.CREATE


def parse(**values: Any) -> Request:
    settled = parameters.named(CREATE, values)
    name = parameters.model_name(settled)
    model = CATALOGUE.find(name)
    return _draft(CREATE, parameters.read(CREATE, settled, Terms(model)), name, None, model)


def test_a_prompt_is_enough() -> None:
    assert parse(prompt="a ball") == Request("sora-2", "a ball", 4, Size(720, 1280))


def test_text_of_a_form_and_numbers_of_json_mean_the_same() -> None:
    typed = parse(prompt="x", seconds=8, seed=2**63 - 1, steps=16, guidance=3)
    text = parse(prompt="x", seconds="8", seed=str(2**63 - 1), steps="16", guidance="3.0")
    assert typed == text == Request("sora-2", "x", 8, Size(720, 1280), seed=2**63 - 1, steps=16, guidance=3.0)


def test_null_means_absent() -> None:
    assert parse(prompt="x", seed=None, seconds=None, nobody=None) == parse(prompt="x")


WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "prompt", "missing_required_parameter", "Missing required parameter: 'prompt'."),
    ({"prompt": " "}, "prompt", "string_below_min_length", "must not be empty"),
    ({"prompt": "x" * 32_001}, "prompt", "string_above_max_length", "at most 32000 characters, got 32001"),
    ({"prompt": 5}, "prompt", "invalid_type", "expected a string, but got an integer instead"),
    ({"prompt": ["x"]}, "prompt", "invalid_type", "but got an array"),
    ({"prompt": Upload(b"")}, "prompt", "invalid_type", "but got a file"),
    ({"model": {}}, "model", "invalid_type", "but got an object"),
    (
        {"seconds": "5"},
        "seconds",
        "invalid_value",
        "Invalid value: '5'. Supported values are: '4', '8', '12', '16', '20', '30', and '60'.",
    ),
    ({"seconds": "four"}, "seconds", "invalid_value", "Invalid value: 'four'"),
    ({"seconds": "04"}, "seconds", "invalid_value", "Invalid value: '04'"),
    ({"seconds": 4.0}, "seconds", "invalid_type", "but got a number"),
    ({"seconds": True}, "seconds", "invalid_type", "but got a boolean"),
    ({"size": "1x1"}, "size", "invalid_value", "Supported values are: '720x1280', '1280x720'"),
    ({"size": 720}, "size", "invalid_type", "but got an integer"),
    ({"seed": -1}, "seed", "invalid_value", "seed must be from 0"),
    ({"seed": 2**63}, "seed", "invalid_value", "seed must be from 0"),
    ({"seed": "3.5"}, "seed", "invalid_type", "expected an integer, but got a string"),
    ({"seed": False}, "seed", "invalid_type", "but got a boolean"),
    ({"steps": 33}, "steps", "invalid_value", "steps must be from 4 to 32"),
    ({"guidance": "high"}, "guidance", "invalid_type", "expected a number"),
    ({"guidance": "nan"}, "guidance", "invalid_type", "expected a number"),
    ({"guidance": "inf"}, "guidance", "invalid_value", "guidance must be from 0 to 30"),
    ({"guidance": 10**400}, "guidance", "invalid_type", "expected a number"),
    ({"guidance": True}, "guidance", "invalid_type", "but got a boolean"),
    ({"metadata": "x"}, "metadata", "invalid_type", "expected an object, but got a string"),
    ({"metadata": {"n": 1}}, "metadata.n", "invalid_type", "expected a string, but got an integer"),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "invalid_value", "at most 16 keys"),
    ({"metadata": {"k" * 65: ""}}, "metadata", "invalid_value", "1 to 64 characters"),
    ({"metadata": {"": ""}}, "metadata", "invalid_value", "1 to 64 characters"),
    ({"metadata": {"k": "v" * 513}}, "metadata", "invalid_value", "at most 512"),
    ({"sedd": 1}, "sedd", "unknown_parameter", "Unknown parameter: 'sedd'."),
]


@pytest.mark.parametrize(("values", "param", "code", "message"), WRONG)
def test_a_refusal_names_its_parameter(values: dict[str, Any], param: str, code: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(**({"prompt": "x"} if values else {}) | values)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert message in refused.value.message


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "values",
    [
        {"model": LONG},
        {"seconds": LONG},
        {"size": LONG},
        {"seed": 10**4000},
        {"seed": -(10**4000)},
        {"seed": LONG},
        {"steps": 10**4000},
        {"guidance": 1e300},
        {"guidance": LONG},
        {"metadata": {LONG: ""}},
        {"metadata": {LONG: 1}},
        {LONG: ""},
    ],
)
def test_a_refusal_repeats_at_most_64_characters_of_what_came(values: dict[str, Any]) -> None:
    with pytest.raises((InvalidRequest, NotFound)) as refused:
        parse(**{"prompt": "x", **values})
    assert "x" * 65 not in refused.value.message
    assert "0" * 65 not in refused.value.message
    assert len(refused.value.message) < 250
    assert len(refused.value.param or "") <= len("metadata.") + 64


def test_metadata_at_its_limits_is_taken() -> None:
    metadata = {"k" * 62 + f"{n:02}": "v" * 512 for n in range(16)}
    assert parse(prompt="x", metadata=metadata).metadata == metadata


LETTERS = "aé4x{"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(LETTERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(LETTERS, max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(parameters.of(CREATE))), JSON), st.sampled_from(["sora-2", "testcard"]))
def test_any_json_is_a_request_or_a_refusal(values: dict[str, Any], model: str) -> None:
    given_values = {name: value for name, value in values.items() if value is not None}
    try:
        request = parse(**{"prompt": "x", "model": model, **given_values})
        if "input_reference" in given_values:
            references.picture("input_reference", given_values["input_reference"])
    except (InvalidRequest, NotFound):
        return
    assert Request.from_json(request.to_json()) == request


@given(
    st.sampled_from(Operation),
    st.dictionaries(st.sampled_from(sorted(each.name for each in parameters.PARAMETERS)), JSON),
)
def test_every_call_reads_or_refuses_any_json(operation: Operation, values: dict[str, Any]) -> None:
    model = CATALOGUE.find("testcard")
    filled = {each.name: "x" for each in parameters.of(operation).values() if each.required}
    try:
        settled = parameters.named(operation, {**filled, **values})
        read = parameters.read(operation, settled, Terms(model))
    except InvalidRequest:
        return
    assert set(read) == set(settled) - {"model"}
