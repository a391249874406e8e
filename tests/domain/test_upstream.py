"""What models.toml may say about a far end, and what it is told where that makes no sense."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from domain import catalogue
from domain.upstream import Dialect, FarEnd, far_end

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "many-gpus.md"
STEPS = (10, 40, 50)


def made(url: str = "http://gpu:8091/v1", capabilities: tuple[str, ...] = ("text",), **options: Any) -> Any:
    return far_end("wan", url, {"dialect": "vllm-omni", **options}, capabilities, STEPS)


def test_the_table_of_the_documentation_is_a_model(tmp_path: Path) -> None:
    example = PAGE.read_text().partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "models.toml").write_text(example)
    (model,) = catalogue.load(tmp_path / "models.toml").models
    there = far_end(model.name, model.path, model.options, model.capabilities, model.steps)
    assert (there.dialect, there.frames(80), there.fields) == (Dialect.VLLM_OMNI, 81, {"guidance_scale_2": 3.0})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"dialect": "sora"}, "dialect must be one of: openai, vllm-omni, sglang, kinema"),
        ({"key": "sk-1"}, "no such option: key"),
        ({"key_env": "A", "key_file": "b"}, "key_env or key_file, not both"),
        ({"timeout_seconds": "60"}, "timeout_seconds must be a number"),
        ({"most_bytes": 1.5}, "most_bytes must be a number"),
        ({"frames_multiple": True}, "frames_multiple must be a number"),
        ({"proxies": 1}, "proxies must be true or false"),
        ({"fields": [1]}, "fields must be a table"),
        ({"frames_multiple": 0}, "frames_multiple must be at least 1"),
        ({"patience_seconds": 0}, "must be above 0"),
        ({"patience_seconds": float("nan")}, "must be above 0, and finite"),
        ({"timeout_seconds": float("inf")}, "must be above 0, and finite"),
        ({"url": "gpu-1:8000"}, "path must be the URL"),
        ({"url": "ftp://gpu-1/v1"}, "path must be the URL"),
        ({"url": "http://me:secret@gpu-1/v1"}, "no user, password, query or fragment"),
        ({"url": "http://gpu-1/v1?key=1"}, "no user, password, query or fragment"),
        ({"capabilities": ("text", "mask", "style")}, "the dialect vllm-omni cannot express: mask, style"),
        ({"dialect": "openai"}, "cannot express steps"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r"^wan: ") as caught:
        made(**wrong)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_catalogue_refuses_it_at_its_load(tmp_path: Path) -> None:
    example = PAGE.read_text().partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "models.toml").write_text(example.replace('"negative_prompt"]', '"mask"]'))
    with pytest.raises(ValueError, match="wan: the dialect vllm-omni cannot express: mask"):
        catalogue.load(tmp_path / "models.toml")


@pytest.mark.parametrize(("wanted", "drawn"), [(1, 1), (2, 5), (5, 5), (80, 81), (81, 81), (82, 85)])
def test_frames_are_rounded_up_to_what_the_far_end_can_draw(wanted: int, drawn: int) -> None:
    assert made(frames_multiple=4, frames_plus=1).frames(wanted) == drawn


def test_every_option_is_in_the_documentation() -> None:

    table = PAGE.read_text().partition("## Options")[2].partition("The catalogue checks")[0]
    assert [
        each.name
        for each in fields(FarEnd)
        if each.name not in {"url", "capabilities"} and f"`{each.name}`" not in table
    ] == []
