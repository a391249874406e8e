"""Train a low-rank adapter from a folder of clips with captions; the base and its text encoder stay as they are.

Every clip is encoded once. A step shows the transformer a few pieces of clips with noise and asks for the clean ones,
sometimes with the first frame known, as the base itself was trained. While it learns, the thin matrices stand beside
the layers, so that only they have gradients. Every eighth clip is held out and only measured.

Legend: as in `model`; R rank, O features out, I features in.
"""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from engines.dit import clips, lora
from engines.dit.checkpoint import Checkpoint
from engines.dit.lora import Adapter
from engines.dit.lora_lessons import Lesson, Material, Piece, lesson_of, loss_of, material_of
from engines.dit.model import Transformer

DECAY = 0.99  # of the average
LOOK = 60.0  # seconds between two measurements of the held-out loss
DRAWS = 2  # noises for each measured piece
MEASURED = 4  # pieces, for the card
SAVE = 60.0  # seconds between two savings

Report = Callable[[float, str], None]  # share that is done, and a line that says how it goes


class OtherTraining(ValueError):
    """The state that is there cannot go on with what is asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. It ends after `steps` of all runs if they are given, else after `minutes` of all runs."""

    minutes: float = 10.0
    steps: int | None = None
    rank: int = 8
    alpha: float = 8.0
    rate: float = 4e-3
    fps: int = 6
    seed: int = 0
    trigger: str = ""  # words put in front of every caption


def train(
    folder: Path,
    base: Checkpoint,
    out: Path,
    recipe: Recipe,
    *,
    state: Path | None = None,
    report: Report = lambda *_: None,
    device: str = "cpu",
) -> Adapter:
    """Train, or go on with, an adapter, and write it with its card: `out` and the same name with `.json`.

    `state` (by default beside `out`) keeps what a later run goes on with; it is written every minute, and whatever
    ends this one. `report` is called after every step. The base moves to the device, and is not changed.
    Raises BadClips, OtherTraining.
    """
    found = clips.find(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    base.transformer.to(device)
    base.codec.to(device)
    tuning = Tuning(base, recipe, state or out.with_suffix(".state"))
    material = material_of(found, base, fps=recipe.fps, trigger=recipe.trigger)
    tuning.start()
    try:
        _learn(tuning, material, report)
    finally:
        tuning.save()
    adapter = tuning.adapter({"clips": len(found), **_card(tuning, material)})
    lora.save(adapter, out)
    out.with_suffix(".json").write_text(json.dumps(adapter.card, indent=2) + "\n")
    return adapter


def _learn(tuning: Tuning, material: Material, report: Report) -> None:
    """Steps until the time is over, with a look at the held-out clips now and then."""
    shown, looked, saved, loss = "", 0.0, time.monotonic(), 0.0
    while tuning.share < 1:
        if material.held_out and time.monotonic() - looked > LOOK:
            shown = f", held out {measure(tuning, material.held_out):.3f}"
            looked = time.monotonic()
        now = tuning.learn(material)
        loss = 0.95 * loss + 0.05 * now if loss else now
        report(tuning.share, f"step {tuning.step}, loss {loss:.3f}{shown}")
        if time.monotonic() - saved > SAVE:
            tuning.save()
            saved = time.monotonic()


def _card(tuning: Tuning, material: Material) -> dict[str, Any]:
    """What was done and what came of it: losses of the base and of the adapter on the same clips and noises."""
    learned = [piece for shelf in material.learned.values() for piece in shelf][:MEASURED]
    return {
        **tuning.identity,
        "steps": tuning.step,
        "minutes": round(tuning.minutes, 2),
        "loss_on_its_clips": _both(tuning, learned),
        "loss_on_held_out_clips": _both(tuning, material.held_out[:MEASURED]),
    }


def _both(tuning: Tuning, pieces: Sequence[Piece]) -> dict[str, float] | None:
    if not pieces:
        return None
    base = measure(tuning, pieces, without=True)
    return {"base": round(base, 4), "adapted": round(measure(tuning, pieces), 4)}


class Pairs(nn.Module):
    """The thin matrices in training, in the order of the layers. They begin without effect."""

    def __init__(self, transformer: Transformer, rank: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        there = lora.layers(transformer).values()
        down = [torch.randn(rank, each.in_features, generator=generator) * each.in_features**-0.5 for each in there]
        self.down = nn.ParameterList(down)
        self.up = nn.ParameterList(torch.zeros(each.out_features, rank) for each in there)


@contextmanager
def beside(transformer: Transformer, pairs: Pairs, strength: float) -> Iterator[None]:
    """The transformer's layers with the pairs added to what they answer; the base has no gradients meanwhile."""
    needed = [weight for weight in transformer.parameters() if weight.requires_grad]
    there = zip(lora.layers(transformer).values(), pairs.down, pairs.up, strict=True)
    hooks = [layer.register_forward_hook(partial(_add, down, up, strength)) for layer, down, up in there]
    transformer.requires_grad_(False)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for weight in needed:
            weight.requires_grad_(True)


def _add(
    down_RI: Tensor, up_OR: Tensor, strength: float, _layer: nn.Module, given: tuple[Tensor], answer: Tensor
) -> Tensor:
    low = nn.functional.linear(given[0], down_RI)
    return answer + strength * nn.functional.linear(low, up_OR)


class Tuning:
    """Pairs in training with their optimiser and average; saved and resumed as one file."""

    def __init__(self, base: Checkpoint, recipe: Recipe, path: Path) -> None:
        self.base, self.recipe, self.path = base, recipe, path
        self.device = next(base.transformer.parameters()).device
        self.pairs = Pairs(base.transformer, recipe.rank, recipe.seed).to(self.device)
        self.optimiser = torch.optim.AdamW(self.pairs.parameters(), lr=recipe.rate, betas=(0.9, 0.97), weight_decay=0.0)
        self.average = [weight.detach().clone() for weight in self.pairs.parameters()]
        self.step, spent = 0, 0.0
        lasting = {name: value for name, value in asdict(recipe).items() if name not in {"minutes", "steps"}}
        self.identity = {"base": base.sha256, **lasting}
        if path.exists():
            state = torch.load(path, weights_only=True, map_location=self.device)
            if (there := state.get("identity")) != self.identity:
                raise OtherTraining(f"{path} belongs to a training with {there}; remove it to begin anew")
            self.pairs.load_state_dict(state["pairs"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average, self.step, spent = state["average"], state["step"], state["spent"]
        self._spent = spent
        self.start()

    def start(self) -> None:
        """Count the minutes from now on; what went by before does not matter."""
        self._since = time.monotonic() - self._spent * 60

    @property
    def minutes(self) -> float:
        """Spent, over all runs."""
        return (time.monotonic() - self._since) / 60

    @property
    def share(self) -> float:
        """How much of the training is over."""
        steps = self.recipe.steps
        return min(1.0, self.minutes / self.recipe.minutes if steps is None else self.step / max(1, steps))

    def learn(self, material: Material) -> float:
        """One step; the loss before it."""
        rng, generator = Random(self.recipe.seed * 7919 + self.step), torch.Generator()
        generator.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        lesson = lesson_of(material, self.recipe.fps, rng)
        with beside(self.base.transformer, self.pairs, self.recipe.alpha / self.recipe.rank):
            loss = loss_of(self.base.transformer, self.base.vocabulary, lesson, generator)
            self.optimiser.zero_grad()
            loss.backward()
        nn.utils.clip_grad_norm_(self.pairs.parameters(), 1.0, error_if_nonfinite=True)  # the state stays as it was
        self.optimiser.param_groups[0]["lr"] = self.recipe.rate * min(1.0, (self.step + 1) / 20) * (1.05 - self.share)
        self.optimiser.step()
        self.step += 1
        weight = 1 - min(DECAY, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.average, self.pairs.parameters(), strict=True):
            mean.lerp_(value.detach(), weight)
        return loss.item()

    def adapter(self, card: dict[str, Any]) -> Adapter:
        """The average as an adapter."""
        half = len(self.average) // 2
        down, up = self.average[:half], self.average[half:]
        names = lora.layers(self.base.transformer)
        pairs = {name: (d.cpu().clone(), u.cpu().clone()) for name, d, u in zip(names, down, up, strict=True)}
        return Adapter(pairs, self.recipe.alpha, self.base.config, self.base.sha256, self.recipe.trigger, card)

    def save(self) -> None:
        """Write the state, whole or not at all."""
        partial_file = self.path.with_suffix(".partial")
        state = {"pairs": self.pairs.state_dict(), "optimiser": self.optimiser.state_dict(), "average": self.average}
        torch.save({**state, "identity": self.identity, "step": self.step, "spent": self.minutes}, partial_file)
        partial_file.replace(self.path)


@torch.no_grad()
def measure(tuning: Tuning, pieces: Sequence[Piece], *, without: bool = False) -> float:
    """Mean loss over pieces of the average, or of the base alone; always under the same noises."""
    base = tuning.base
    model = base.transformer if without else lora.adapted(base.transformer, [(tuning.adapter({}), 1.0)])
    losses: list[float] = []
    for number, piece in enumerate(pieces):
        clean_BLZhw = piece.latents_LZhw.expand(DRAWS, -1, -1, -1, -1)
        lesson = Lesson(clean_BLZhw, [piece.words] * DRAWS, [False] * DRAWS, tuning.recipe.fps)
        loss = loss_of(model, base.vocabulary, lesson, torch.Generator().manual_seed(number))
        losses.append(loss.item())
    return sum(losses) / len(losses)
