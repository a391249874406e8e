"""The library, imported once with every road to the network closed: nothing is ever fetched or reported."""

# pyright: basic
# (the library's types are partial)

from __future__ import annotations

import os

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}

import diffusers
import huggingface_hub.constants
import transformers
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from engines.diffusers.refusal import Refused

__all__ = ["VERSION", "DiffusionPipeline", "FirstBlockCacheConfig", "LTXVideoCondition", "pipeline_class", "unpatchify"]

# Another library may have imported the hub's client before us.
huggingface_hub.constants.HF_HUB_OFFLINE = True
diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

VERSION = diffusers.__version__


def pipeline_class(name: str) -> type[DiffusionPipeline]:
    """A pipeline by its class name. Raises Refused for what this version of the library does not have."""
    found = getattr(diffusers, name, None)
    if not (isinstance(found, type) and issubclass(found, DiffusionPipeline)):
        raise Refused(f"diffusers {VERSION} has no pipeline called {name}; foreign code is never run")
    return found
