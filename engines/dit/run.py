"""A network in training: optimisers, averaged weights, a clock; saved and resumed as one file."""

# pyright: basic
# (the types of torch are partial)

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.dit import parallel

ASTRAY = 20  # gradients in a row that may be no numbers
EDGES = ("direct", "table", "text.place", "enter", "leave.weight")  # matrices that read or write data, not hidden ones


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

    def share(self) -> float:
        """How much of the time is over, 0 to 1."""
        return min(1.0, self.elapsed() / self.minutes)


def rate_at(share: float) -> float:
    """Part of the learning rate: it warms up over the first 2 % of the time, then falls to almost nothing."""
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
        for name, value in model.state_dict().items():
            self.values[name].lerp_(value.detach().float(), weight)


def digest_of(network: nn.Module) -> str:
    """SHA-256 over all weights and buffers, in hex; as bfloat16, as which they travel."""
    total = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        total.update(name.encode() + value.detach().cpu().bfloat16().contiguous().view(torch.int16).numpy().tobytes())
    return total.hexdigest()


def optimisers(model: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for whatever reads or writes data, and for vectors."""
    hidden = [
        p for name, p in model.named_parameters() if p.ndim == 2 and not name.endswith(EDGES) and "direct" not in name
    ]
    chosen = {id(p) for p in hidden}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(hidden, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.97), weight_decay=0.0),
    ]


class Run:
    """A network in training. It goes on with what `path` holds, if there is such a file."""

    def __init__(
        self,
        model: nn.Module,
        path: Path,
        minutes: float,
        rate: float,
        decay: float,
        *,
        networks: Mapping[str, Any] | None = None,
    ) -> None:
        self.networks = dict(networks or {})  # what the weights belong to: plain values, kept beside them
        self.model, self.path, self.rate, self.decay, self.astray = model, path, rate, decay, 0
        self.optimisers = optimisers(model, rate)
        self.average, self.step, spent = Average(model), 0, 0.0
        if path.exists():
            spent = self._resume(torch.load(path, weights_only=True, map_location=next(model.parameters()).device))
        self.clock, self.saved = Clock.start(minutes, spent), time.monotonic()
        self.share = self.clock.share()

    def goes_on(self) -> bool:
        """Whether there is time for one more step; looks at the clock, the same one in all processes."""
        self.share = parallel.agreed(self.clock.share())
        return self.share < 1

    def _resume(self, state: dict) -> float:
        self.model.load_state_dict(state["model"])
        for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(stored)
        self.average.values, self.step = state["average"], state["step"]
        self.average.steps = self.step
        return state["spent"]

    def learn(self, loss: Tensor) -> float:
        """One step of the optimisers; returns the norm of the gradient. One that is not finite changes nothing.

        Raises FloatingPointError when there is no other any more.
        """
        for optimiser in self.optimisers:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = self.rate * rate_at(self.share)
        loss.backward()
        parallel.average_gradients(self.model)
        parallel.average_buffers(self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0).item()
        self.step += 1
        self.astray = 0 if isfinite(norm) else self.astray + 1
        if self.astray > ASTRAY:
            raise FloatingPointError(f"{ASTRAY} gradients in a row were not finite; the state is of before them")
        if not self.astray:
            for optimiser in self.optimisers:
                optimiser.step()
            self.average.update(self.model, self.decay)
        return norm

    def save(self, every: float = 0.0) -> None:
        """Write the state, unless it was written less than `every` seconds ago; never leaves half a file."""
        if parallel.rank() or time.monotonic() - self.saved < every:
            return
        self.saved, partial = time.monotonic(), self.path.with_suffix(".partial")
        stored = [optimiser.state_dict() for optimiser in self.optimisers]
        state = {"model": self.model.state_dict(), "optimisers": stored, "average": self.average.values}
        state |= self.networks
        torch.save({**state, "step": self.step, "spent": self.clock.elapsed()}, partial)
        partial.replace(self.path)
