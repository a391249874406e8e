"""Train from nothing: `python -m engines.dit.train autoencoder|transformer --minutes N --state DIR`.

Then `python -m engines.dit.train export --state DIR` writes the weights that the engine loads.

Both stages resume from DIR (`codec.pt`, `transformer.pt`), decay the learning rate over the minutes given, keep an
exponential average of the weights, print a line of progress, and write sample grids next to the state.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from PIL import Image
from torch import Tensor, nn

from engines.dit import checkpoint as checkpoints
from engines.dit import flow, train_codec, train_transformer
from engines.dit.codec import Codec
from engines.dit.config import Config
from engines.dit.model import Transformer
from engines.dit.text import Vocabulary
from engines.dit.train_transformer import Lesson, Pool

FIRST = 96  # clips of a pool before it is used more than once
GRID = 300  # steps between two looks
GRID_PROMPTS = (
    "a red ball rolls left",
    "a beautiful sunset over a mountain lake, with trees swaying in the wind",
    "a green square slides right on a white background",
    "a futuristic city at night, with flying cars between neon-lit skyscrapers",
    "sunset over the sea",
    "an astronaut floating in space, Earth visible in the background, stars twinkling",
    "the moon over the ocean at night",
    "a serene mountain lake at sunrise, with mist rising from the water",
    "snow falling over a forest",
    "a campfire burning at night",
)


@dataclass(slots=True)
class Clock:
    """Minutes of training that are spent, over all runs; learning rates follow it."""

    minutes: float
    spent: float
    since: float

    @classmethod
    def start(cls, minutes: float, spent: float) -> Clock:
        """Begin to count now."""
        return cls(minutes, spent, time.monotonic())

    def elapsed(self) -> float:
        """Minutes spent so far."""
        return self.spent + (time.monotonic() - self.since) / 60

    def rate(self) -> float:
        """Warm up over the first 2 %, then fall to zero at the end."""
        share = min(1.0, self.elapsed() / self.minutes)
        return max(0.01, min(1.0, share / 0.02)) * (1 - share) ** 0.7 + 0.004


class Average:
    """Exponential average of weights and buffers."""

    def __init__(self, model: nn.Module) -> None:
        self.values = {name: value.detach().clone().float() for name, value in model.state_dict().items()}
        self.steps = 0

    def update(self, model: nn.Module, decay: float) -> None:
        """Move towards the model; faster at first."""
        self.steps += 1
        weight = 1 - min(decay, (1 + self.steps) / (10 + self.steps))
        names, values = zip(*model.state_dict().items(), strict=True)
        for name, value in zip(names, values, strict=True):
            self.values[name].lerp_(value.detach().float(), weight)


def optimisers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for whatever reads or writes data, and for vectors."""
    edges = ("direct", "table", "text.place", "enter", "leave.weight")
    hidden = [
        p for name, p in model.named_parameters() if p.ndim == 2 and not name.endswith(edges) and "direct" not in name
    ]
    chosen = {id(p) for p in hidden}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(hidden, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.97), weight_decay=0.0),
    ]


class Run:
    """A model in training: optimisers, average, clock; saved and resumed as one file."""

    def __init__(self, model: nn.Module, path: Path, minutes: float, rate: float, decay: float) -> None:
        self.model, self.path, self.rate, self.decay = model, path, rate, decay
        self.optimisers = optimisers(model, rate)
        self.average, self.step, spent = Average(model), 0, 0.0
        if path.exists():
            state = torch.load(path, weights_only=True)
            model.load_state_dict(state["model"])
            for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(stored)
            self.average.values, self.step, spent = state["average"], state["step"], state["spent"]
            self.average.steps = self.step
        self.clock, self.saved = Clock.start(minutes, spent), time.monotonic()

    def learn(self, loss: Tensor) -> float:
        """One step of the optimisers; returns the norm of the gradient."""
        for optimiser in self.optimisers:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = self.rate * self.clock.rate()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.average.update(self.model, self.decay)
        self.step += 1
        return norm.item()

    def save(self, every: float = 0.0) -> None:
        """Write the state, unless it was written less than `every` seconds ago; never leaves half a file."""
        if time.monotonic() - self.saved < every:
            return
        self.saved, partial = time.monotonic(), self.path.with_suffix(".partial")
        stored = [optimiser.state_dict() for optimiser in self.optimisers]
        state = {"model": self.model.state_dict(), "optimisers": stored, "average": self.average.values}
        torch.save({**state, "step": self.step, "spent": self.clock.elapsed()}, partial)
        partial.replace(self.path)


def train_autoencoder(minutes: float, folder: Path) -> None:
    """Run or go on with the first stage."""
    torch.manual_seed(0)
    codec = Codec()
    train_codec.beginning(codec)
    run = Run(codec, folder / "codec.pt", minutes, rate=1.5e-3, decay=0.997)
    error = 0.0
    while run.clock.elapsed() < minutes:
        with torch.autocast("cpu", torch.bfloat16):
            loss, squared = train_codec.loss_of(codec, train_codec.batch_at(run.step), run.step)
        run.learn(loss)
        error = 0.98 * error + 0.02 * psnr(squared) if error else psnr(squared)
        if run.step % 50 == 0:
            print(
                f"codec {run.step} minute {run.clock.elapsed():.1f} loss {loss.item():.4f} psnr {error:.2f}", flush=True
            )
        run.save(every=100)
    run.save()


def train_denoiser(minutes: float, folder: Path) -> None:
    """Run or go on with the second stage; needs the codec of the first."""
    torch.manual_seed(0)
    config = Config()
    codec = Codec(config.codec)
    codec.load_state_dict(torch.load(folder / "codec.pt", weights_only=True)["average"])
    codec.eval()
    vocabulary = Vocabulary(train_transformer.words_of_grammar(config.text), config.text)
    model = Transformer(config, vocabulary.rows)
    run = Run(model, folder / "transformer.pt", minutes, rate=2e-3, decay=0.998)
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001  # pyright: ignore - one program for each size
    for block in model.blocks:
        block.forward = torch.compile(block.forward, dynamic=False)
    pools: dict[Lesson, Pool] = defaultdict(lambda: Pool([], [], []))
    began, losses, drawn = run.step, dict[str, float](), time.monotonic()
    while run.clock.elapsed() < minutes:
        rng = Random(run.step * 7919 + 1)
        generator = torch.Generator().manual_seed(run.step)
        lesson = train_transformer.lesson_at(run.clock.elapsed() / minutes, rng)
        pool = pools[lesson]
        train_transformer.fill(pool, codec, lesson, 16 if len(pool.captions) < FIRST else lesson.fresh, rng)
        batch = train_transformer.batch_of(pool, vocabulary, lesson, rng)
        loss = train_transformer.loss_of(model, batch, generator)
        norm = run.learn(loss)
        name = f"{min(lesson.size)}x{lesson.window}"
        losses[name] = 0.96 * losses.get(name, loss.item()) + 0.04 * loss.item()
        if run.step % 25 == 0:
            pace = (time.monotonic() - drawn) / 25
            drawn = time.monotonic()
            shown = " ".join(f"{name} {value:.3f}" for name, value in sorted(losses.items()))
            print(
                f"dit {run.step} minute {run.clock.elapsed():.1f} norm {norm:.2f} {pace:.2f} s/step {shown}", flush=True
            )
        if run.step % GRID == 0 and run.step > began:
            draw_grid(run, config, vocabulary, codec, folder / f"grid-{run.step:05d}.png")
        run.save(every=120)
    run.save()


def draw_grid(run: Run, config: Config, vocabulary: Vocabulary, codec: Codec, path: Path) -> None:
    """Sample the averaged weights for a look by eye: one row for each prompt, five frames each."""
    model = Transformer(config, vocabulary.rows)
    model.load_state_dict(run.average.values)
    grid = []
    for index, prompt in enumerate(GRID_PROMPTS):
        text = model.text(vocabulary.encode([vocabulary.split(prompt), []]))
        shape = (config.codec.channels, 10, 18)
        noise = torch.cat([flow.noise_of(index, 0, frame, shape) for frame in range(7)], dim=1)
        denoise = flow.Guided(model, text, 0 * noise, torch.zeros(1, 7), 3.0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            video = codec.decode(flow.sample(denoise, noise, 8))[0, [0, 6, 12, 18, 24]]
        grid.append(torch.cat(list(video), dim=-1))
    picture = torch.cat([torch.cat(grid[0::2], 1), torch.cat(grid[1::2], 1)], dim=-1)
    Image.fromarray((picture * 255).byte().permute(1, 2, 0).numpy()).save(path)


def export(folder: Path, out: Path) -> None:
    """Write the averaged weights of both stages as a checkpoint."""
    config = Config()
    codec = torch.load(folder / "codec.pt", weights_only=True)
    transformer = torch.load(folder / "transformer.pt", weights_only=True)
    empty = checkpoints.fresh(config, train_transformer.words_of_grammar(config.text))
    empty.codec.load_state_dict(codec["average"])
    empty.transformer.load_state_dict(transformer["average"])
    card = {
        "codec": {"steps": codec["step"], "minutes": round(codec["spent"], 1)},
        "transformer": {"steps": transformer["step"], "minutes": round(transformer["spent"], 1)},
    }
    checkpoints.save(replace(empty, card=card), out)
    sizes = {path.name: path.stat().st_size for path in sorted(out.glob("*.safetensors"))}
    print(f"{sizes} in all {sum(sizes.values())} bytes, sha256 {checkpoints.digest(out)}")


def psnr(squared: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error."""
    return -10 * torch.log10(squared).item()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("autoencoder", "transformer", "export"))
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--out", type=Path, default=checkpoints.WEIGHTS)
    parser.add_argument("--state", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    asked.state.mkdir(parents=True, exist_ok=True)
    if asked.stage == "export":
        export(asked.state, asked.out)
        return
    {"autoencoder": train_autoencoder, "transformer": train_denoiser}[asked.stage](asked.minutes, asked.state)


if __name__ == "__main__":
    main()
