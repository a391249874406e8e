from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domain.catalogue import Catalogue
from engines.diffusers import folder, loading, promises
from engines.diffusers.engine import DiffusersEngine
from engines.diffusers.families import Outline
from engines.diffusers.library import pipeline_class
from engines.diffusers.refusal import Refused
from engines.registry import Registry

from .conftest import NAMES, entry


@pytest.fixture
def copy(models: Path, tmp_path: Path) -> Path:
    """A folder to spoil; its path is `tmp_path / "wan"`."""
    return Path(shutil.copytree(models / "wan", tmp_path / "wan"))


def change(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def refused(root: Path, words: str, *capabilities: str, **others: Any) -> None:
    with pytest.raises(Refused, match=words):
        loading.load(entry("wan", *capabilities, **others), root)


def test_a_name_on_a_hub_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"is no folder.*read from this machine only"):
        loading.load(entry("Wan-AI/Wan2.1-T2V-1.3B-Diffusers"), tmp_path)


def test_a_single_file_is_not_the_layout(copy: Path) -> None:
    (copy / "model_index.json").unlink()
    refused(copy.parent, "has no model_index.json.*layout of diffusers")


def test_pickles_are_not_read(copy: Path) -> None:
    weights = next((copy / "transformer").glob("*.safetensors"))
    weights.rename(weights.with_name("diffusion_pytorch_model.bin"))
    refused(copy.parent, "as pickles.*save_pretrained")


def test_a_download_that_is_incomplete_is_told_apart(copy: Path) -> None:
    next((copy / "vae").glob("*.safetensors")).unlink()
    refused(copy.parent, "vae has no .*incomplete")


def test_a_pipeline_that_the_library_does_not_have_is_refused(copy: Path) -> None:
    change(copy / "model_index.json", _class_name="EvilPipeline")
    refused(copy.parent, "has no pipeline called EvilPipeline")


@pytest.mark.parametrize("name", ["AutoencoderKLWan", "FirstBlockCacheConfig"])
def test_a_class_of_the_library_that_is_no_pipeline_is_refused(copy: Path, name: str) -> None:
    change(copy / "model_index.json", _class_name=name)
    refused(copy.parent, f"has no pipeline called {name}")


def test_code_that_comes_with_weights_is_never_run(copy: Path) -> None:
    trap = copy / "transformer" / "my_model.py"
    trap.write_text("raise SystemExit('this ran')")
    change(copy / "model_index.json", transformer=["my_model", "MyModel"])
    refused(copy.parent, "wants code of its own")
    change(copy / "model_index.json", transformer=["diffusers", "WanTransformer3DModel"], _class_name=["x", "y"])
    refused(copy.parent, "names no pipeline of the library")


def test_a_component_that_maps_to_its_own_code_is_refused(copy: Path) -> None:
    change(copy / "text_encoder" / "config.json", auto_map={"AutoModel": "my_model.MyModel"})
    refused(copy.parent, "auto_map")


def test_an_entry_may_not_ask_for_foreign_code(copy: Path) -> None:
    refused(copy.parent, "is never run", options={"trust_remote_code": True})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"atention": ["flash"]}, "no such option: atention; there are device"),
        ({"offload": "disk"}, "must be one of none, model, group"),
        ({"compile": "yes"}, "must be of type bool"),
        ({"device": "cuda"}, "finds no GPU"),
        ({"window": 20}, "goes on from a first frame"),
        ({"window": 1}, "must be from 2 to 14400 frames, or 0"),
        ({"window": -3}, "must be from 2 to 14400 frames, or 0"),
        ({"window": 10**9}, "must be from 2 to 14400 frames, or 0"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(copy: Path, options: dict[str, Any], words: str) -> None:
    refused(copy.parent, words, options=options)


def test_an_entry_may_list_only_what_the_weights_can_do(copy: Path) -> None:
    refused(copy.parent, "cannot do first_frame; capabilities may list fps", "text", "first_frame")


@pytest.mark.parametrize(
    ("capability", "others", "words"),
    [
        ("mask_of_steel", {}, "cannot do mask_of_steel"),
        ("text", {"options": {"window": 20}}, "goes on from a first frame"),
        ("text", {"loras": {"ink": "ink.safetensors"}}, "the adapter ink must be"),
    ],
)
def test_an_entry_is_refused_before_any_weights_are_read(
    copy: Path, capability: str, others: dict[str, Any], words: str
) -> None:
    for weights in copy.glob("**/*.safetensors"):
        weights.write_bytes(b"whoever reads this fails")
    (copy / folder.HASHES).unlink(missing_ok=True)
    refused(copy.parent, words, capability, **others)
    assert not (copy / folder.HASHES).exists()
    refused(copy.parent, "cannot be loaded as WanPipeline", "text")


@pytest.mark.parametrize("name", NAMES)
def test_what_a_model_can_do_is_known_before_its_weights_are_read(
    models: Path, engine_of: Callable[[str], DiffusersEngine], name: str
) -> None:
    found = folder.look(models / name)
    before = Outline(pipeline_class(found.pipeline), found.config, found.network)
    after = Outline.of(engine_of(name)._loaded.base)
    assert promises.capabilities(before) == promises.capabilities(after)
    assert {name for name in promises.capabilities(after) if name in {"text", "first_frame"}}


def test_a_refused_entry_leaves_its_neighbours_warm(copy: Path) -> None:
    good, bad = entry("wan", "text"), entry("wan", "text", "first_frame", name="promising")
    registry = Registry(Catalogue((good, bad)), copy.parent, weights_bytes=1)
    warm = registry.engine("wan")
    with pytest.raises(Refused, match="promising: WanPipeline cannot do first_frame"):
        registry.engine("promising")
    assert registry.engine("wan") is warm


def test_weights_that_do_not_fit_their_configuration_are_refused(copy: Path) -> None:
    change(copy / "transformer" / "config.json", ffn_dim=64)
    refused(copy.parent, "cannot be loaded as WanPipeline")


def test_an_adapter_must_be_a_file_of_safetensors(copy: Path) -> None:
    (copy.parent / "ink.bin").write_bytes(b"")
    refused(copy.parent, "the adapter ink must be", loras={"ink": "ink.bin"})


def test_the_checkpoint_follows_the_weights_and_nothing_else(copy: Path) -> None:
    before = folder.look(copy).checkpoint
    change(copy / "scheduler" / "scheduler_config.json", flow_shift=5.0)
    assert folder.look(copy).checkpoint == before
    weights = next((copy / "vae").glob("*.safetensors"))
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert folder.look(copy).checkpoint != before


def test_weights_are_read_once_until_they_change(copy: Path) -> None:
    before = folder.look(copy).checkpoint
    weights = next((copy / "vae").glob("*.safetensors"))
    kept = weights.stat()
    weights.write_bytes(bytes(kept.st_size))
    os.utime(weights, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert folder.look(copy).checkpoint == before, "size and time are the same, so the file is not read"
    os.utime(weights, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    assert folder.look(copy).checkpoint != before


def test_hashes_that_were_half_written_are_made_again(copy: Path) -> None:
    before = folder.look(copy).checkpoint
    (copy / folder.HASHES).write_text('{"transformer/diff')
    assert folder.look(copy).checkpoint == before
    assert json.loads((copy / folder.HASHES).read_text())
