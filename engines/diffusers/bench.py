"""What the engine adds to, and takes from, the library alone: the same clip from both, in turns, as ratios.

    python -m engines.diffusers.bench                          # a toy, anywhere: shows that the script works
    python -m engines.diffusers.bench --network 1.3b --device cuda --frames 33 --steps 10

Wan's architecture with random weights: time does not depend on what weights say. Only the text encoder is cut down,
for both alike. Neither side caches, quantises or skips: `lossless` options only. A run is a render and its MP4.
"""

# pyright: basic
# (the library's types are partial)
from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from domain.catalogue import Model
from domain.video import Plan, Size
from engines.diffusers import library, loading, options
from engines.diffusers.engine import DiffusersEngine
from engines.encode import encode
from engines.protocol import Conditions, Step

LOSSLESS = {"attention": ["_flash_3", "flash", "_native_cudnn"], "compile": True}
PROMPT = "a serene mountain lake at sunrise, with mist rising from the water"
AIMS = {"end_to_end": 0.80, "tail": 1.15}  # of the plain pipeline; of a decode alone
NETWORKS = {
    "toy": (
        {"num_attention_heads": 2, "attention_head_dim": 12, "ffn_dim": 32, "num_layers": 2},
        {"base_dim": 3, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    ),
    "1.3b": ({"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30}, {}),
}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one run."""

    whole: float
    denoise: float  # to the end of the last step, text included

    @property
    def tail(self) -> float:
        """From the last step to the finished file."""
        return self.whole - self.denoise


def main(arguments: list[str]) -> int:
    """Prints a report; 1 if an aim is missed on a GPU, where alone they count."""
    parser = argparse.ArgumentParser(prog="engines.diffusers.bench")
    parser.add_argument("--network", choices=sorted(NETWORKS), default="toy")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--size", type=Size.parse, default=Size(64, 48), help="832x480 for the aims")
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    report = measure(asked.network, asked.device, plan_of(asked.size, asked.frames, asked.steps), asked.runs)
    text = json.dumps(report, indent=2)
    print(text)
    if asked.json:
        asked.json.write_text(text)
    return int(asked.device == "cuda" and any(report["ratios"][name] > aim for name, aim in AIMS.items()))


def plan_of(size: Size, frames: int, steps: int) -> Plan:
    """One second at as many frames a second, so that the number is exact."""
    return Plan(
        model="bench", prompt=PROMPT, seconds=1, rendered=size, rendered_fps=frames, delivered=size, fps=frames,
        seed=7, steps=steps, guidance=5.0,
    )  # fmt: skip


def measure(network: str, device: str, plan: Plan, runs: int) -> dict[str, Any]:
    """Both sides in turns after one run each that does not count; medians and ratios."""
    plain = wan(network, device)
    plain.set_progress_bar_config(disable=True)
    engine = engine_of(wan(network, device), device)
    sides: dict[str, Callable[[Path], Times]] = {
        "plain": lambda folder: of_library(plain, plan, folder, device),
        "engine": lambda folder: of_engine(engine, plan, folder, device),
    }
    times: dict[str, list[Times]] = {name: [] for name in sides}
    for number in range(runs + 1):
        for name, run in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                took = run(Path(folder))
            if number:
                times[name].append(took)
    decode = statistics.median([decode_alone(plain.vae, plan, device) for _ in range(runs + 1)][1:])
    seconds = {name: summary(each, plan) for name, each in times.items()}
    return {
        "network": network, "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "clip": f"{plan.rendered}, {plan.rendered_frames} frames, {plan.steps} steps with guidance", "runs": runs,
        "facts": dict(engine.facts), "seconds": {**seconds, "decode_alone": round(decode, 4)},
        "ratios": {
            "end_to_end": round(seconds["engine"]["whole"] / seconds["plain"]["whole"], 3),
            "denoise": round(seconds["engine"]["denoise"] / seconds["plain"]["denoise"], 3),
            "tail": round(seconds["engine"]["tail"] / decode, 3),
        },
        "aims": AIMS, "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device == "cuda" else None,
    }  # fmt: skip


def summary(times: list[Times], plan: Plan) -> dict[str, float]:
    """Medians."""
    found = {name: statistics.median(getattr(each, name) for each in times) for name in ("whole", "denoise", "tail")}
    return {name: round(value, 4) for name, value in {**found, "step": found["denoise"] / plan.steps}.items()}


def of_library(pipeline: Any, plan: Plan, folder: Path, device: str) -> Times:
    """The pipeline's own call, then the file."""
    begun, ends = now(device), [0.0]

    def stepped(_pipeline: Any, _index: int, _time: Any, kept: dict[str, Any]) -> dict[str, Any]:
        ends.append(now(device))
        return kept

    frames = pipeline(
        prompt=plan.prompt, width=plan.rendered.width, height=plan.rendered.height, num_frames=plan.rendered_frames,
        num_inference_steps=plan.steps, guidance_scale=plan.guidance, callback_on_step_end=stepped,
        generator=torch.Generator("cpu").manual_seed(plan.seed),
    ).frames[0]  # fmt: skip
    encode([np.rint(frames * 255).astype(np.uint8)], plan, folder, lambda _done, _total: None)
    return Times(now(device) - begun, ends[-1] - begun)


def of_engine(engine: DiffusersEngine, plan: Plan, folder: Path, device: str) -> Times:
    """The engine into the encoder, as a worker does it."""
    begun, decodes = now(device), [0.0]

    def on_step(step: Step) -> None:
        if step.phase == "decode" and not decodes[0]:
            decodes[0] = now(device)

    encode(engine.render(plan, Conditions(), on_step), plan, folder, lambda _done, _total: None)
    return Times(now(device) - begun, decodes[0] - begun)


def decode_alone(autoencoder: Any, plan: Plan, device: str) -> float:
    """Seconds of `decode` for latents of the plan's shape."""
    latents = (1, 16, 1 + (plan.rendered_frames - 1) // 4, plan.rendered.height // 8, plan.rendered.width // 8)
    noise = torch.randn(latents, generator=torch.Generator().manual_seed(1)).to(device, autoencoder.dtype)
    begun = now(device)
    with torch.no_grad():
        autoencoder.decode(noise)
    return now(device) - begun


def now(device: str) -> float:
    """The clock, once the GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def engine_of(pipeline: Any, device: str) -> DiffusersEngine:
    """As a worker would load it, with every option that loses nothing."""
    entry = Model(
        name="bench", engine="diffusers", pool="gpu", path="", aliases=(), sizes={}, seconds=(1,), fps=1,
        rendered_fps=1, steps=(1, 1, 1000), guidance=5.0, capabilities=frozenset({"text"}), price_micros=0, cost_ms=1,
        options={"device": device, **(LOSSLESS if device == "cuda" else {})},
    )  # fmt: skip
    return DiffusersEngine(loading.prepare(entry, Path(), options.parse("bench", entry.options), pipeline, ""))


def wan(network: str, device: str) -> Any:
    """Wan's text-to-video pipeline with random weights, made where it runs."""
    models: Any = library.diffusers
    texts: Any = library.transformers
    transformer, autoencoder = NETWORKS[network]
    width = transformer["num_attention_heads"] * transformer["attention_head_dim"]
    text = texts.UMT5Config(vocab_size=384, d_model=width, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.manual_seed(1)
    with torch.device(device):
        pipeline = models.WanPipeline(
            tokenizer=texts.ByT5Tokenizer(),
            text_encoder=texts.UMT5EncoderModel(text).eval(),
            transformer=models.WanTransformer3DModel(**transformer, text_dim=width).eval(),
            vae=models.AutoencoderKLWan(**autoencoder).eval(),
            scheduler=models.UniPCMultistepScheduler(
                prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
            ),
        )
    return pipeline.to(device, dtype)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
