"""Train the classifier's heads on our own seed lines: `python -m moderation.train` writes moderation/heads.json.

Deterministic. Prints how well the heads do on seed lines left out of training and on the held-out lines, which
nothing is ever tuned on. Shape suffixes: N examples, D features.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# numpy's stubs leave the type of most results of indexing and linear algebra open.
from __future__ import annotations

import hashlib
import json
import random
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moderation.classifier import ENCODER_SHA256, HEADS_PATH, Classifier, Encoder, Heads
from moderation.policy import decide
from moderation.prompts import findings, normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SEEDS = Path(__file__).parent / "seeds"
HELD_OUT = SEEDS / "held_out"
PARENTS = {  # file -> its category, then the categories that contain it
    "harassment": ("harassment",),
    "harassment_threatening": ("harassment/threatening", "harassment"),
    "hate": ("hate",),
    "hate_threatening": ("hate/threatening", "hate"),
    "illicit": ("illicit",),
    "illicit_violent": ("illicit/violent", "illicit"),
    "self_harm": ("self-harm",),
    "self_harm_intent": ("self-harm/intent", "self-harm"),
    "self_harm_instructions": ("self-harm/instructions", "self-harm"),
    "sexual": ("sexual",),
    "violence": ("violence",),
    "violence_graphic": ("violence/graphic", "violence"),
}
KINDS = tuple(categories[0] for categories in PARENTS.values())
HARD = "benign_hard"
WORDINGS = 5  # of one seed line, at most
FRAMINGS = (
    *("a video of {}", "cinematic shot: {}", "{}, 4k, film grain", "{}, realistic style", "show me {}"),
    *("close up of {}", "an animation: {}", "{}, slow motion", "{} at night"),
)
REGULARISATION = 0.3
FOLDS = 5
HARD_FALSE_POSITIVES = 0.05  # share of tricky harmless seed lines, left out of training, that may reach 0.5
PADDING = "a sunset over the sea, calm waves, {}, warm light and gentle camera motion, shot on 35mm film"


@dataclass(frozen=True, slots=True)
class Examples:
    """Seed lines, spelled out. `line_N` numbers the line an example comes from: folds never split a line."""

    texts: tuple[str, ...]
    files: tuple[str, ...]
    line_N: NDArray[np.int64]

    @property
    def harmful(self) -> NDArray[np.bool_]:
        """Which examples are to be recognised."""
        return np.array([file in PARENTS for file in self.files])


def main() -> None:
    """Train, write the heads, print the figures."""
    encoder, examples = Encoder(), read_examples()
    features_ND = _features(encoder, examples.texts)
    left_out_N = cross_validate(features_ND, examples)
    shift = _shift(left_out_N, examples)
    heads = fit_heads(features_ND, examples, shift)
    HEADS_PATH.write_text(json.dumps(heads, separators=(",", ":")) + "\n")
    print(f"{len(examples.texts)} examples of {examples.line_N.max() + 1} lines; bias shifted by {shift:.2f}")
    _print_left_out(left_out_N + shift, examples)
    _print_held_out(Classifier(encoder, Heads.read()))


def read_lines(path: Path) -> list[str]:
    """The lines of a seed file, without comments."""
    return [line.strip() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]


def seeds_digest() -> str:
    """SHA-256 over the training lines, kept in heads.json so that stale heads are noticed."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(SEEDS.glob("*.txt")))).hexdigest()


def read_examples() -> Examples:
    """Every seed line in up to five wordings, each bare and once in a typical prompt's frame."""
    chance = random.Random(7)  # noqa: S311 - draws wordings
    rows: list[tuple[str, str, int]] = []
    lines = [(path.stem, line) for path in sorted(SEEDS.glob("*.txt")) for line in read_lines(path)]
    for number, (file, line) in enumerate(lines):
        for wording in _wordings(line, chance):
            rows.append((wording, file, number))
            rows.append((chance.choice(FRAMINGS).format(wording), file, number))
    texts, files, numbers = zip(*rows, strict=True)
    return Examples(tuple(map(normalise, texts)), files, np.array(numbers))


def cross_validate(features_ND: Floats, examples: Examples) -> Floats:
    """Logits of harm for each example from a head that saw no wording of its line."""
    fold_N: NDArray[np.int64] = np.random.default_rng(7).integers(0, FOLDS, examples.line_N.max() + 1)[examples.line_N]
    logits_N = np.zeros(len(features_ND))
    for fold in range(FOLDS):
        seen_N: NDArray[np.bool_] = fold_N != fold
        weight_D, bias = fit(features_ND[seen_N], examples.harmful[seen_N])
        logits_N[~seen_N] = features_ND[~seen_N] @ weight_D + bias
    return logits_N


def fit_heads(features_ND: Floats, examples: Examples, shift: float) -> dict[str, Any]:
    """The content of heads.json."""
    harmful_N = examples.harmful
    weight_D, bias = fit(features_ND, harmful_N)
    files = [file for file in examples.files if file in PARENTS]
    kinds = {kind: fit(features_ND[harmful_N], np.array([kind in PARENTS[file] for file in files])) for kind in KINDS}
    return {
        "encoder": ENCODER_SHA256,
        "seeds": seeds_digest(),
        "harm": _head(weight_D, bias + shift),
        "kinds": {kind: _head(*head) for kind, head in kinds.items()},
    }


def fit(features_ND: Floats, positive_N: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Logistic regression by Newton's method, both classes of equal weight: (weight_D, bias)."""
    inputs_ND = np.column_stack([features_ND, np.ones(len(features_ND))])
    share = float(positive_N.mean())
    balance_N: Floats = np.where(positive_N, 0.5 / share, 0.5 / (1 - share))
    penalty_DD = np.diag([REGULARISATION] * features_ND.shape[1] + [1e-6])
    theta_D: Floats = np.zeros(inputs_ND.shape[1])
    for _ in range(25):
        p_N: Floats = 1 / (1 + np.exp(-inputs_ND @ theta_D))
        gradient_D: Floats = inputs_ND.T @ (balance_N * (p_N - positive_N)) + penalty_DD @ theta_D
        curvature_DD: Floats = (inputs_ND * (balance_N * p_N * (1 - p_N))[:, None]).T @ inputs_ND + penalty_DD
        theta_D -= np.linalg.solve(curvature_DD, gradient_D)
    return theta_D[:-1], float(theta_D[-1])


def _features(encoder: Encoder, texts: Sequence[str]) -> Floats:
    return encoder.encode(texts).numpy().astype(np.float64)


def _wordings(line: str, chance: random.Random) -> list[str]:
    parts = [part.split("|") if place % 2 else [part] for place, part in enumerate(re.split(r"\{([^}]*)\}", line))]
    every = ["".join(choice) for choice in product(*parts)]
    return every if len(every) <= WORDINGS else chance.sample(every, WORDINGS)


def _shift(left_out_N: Floats, examples: Examples) -> float:
    """What to add to every logit so that the tricky harmless lines reach 0.5 as rarely as wanted."""
    hard_N = np.array([file == HARD for file in examples.files])
    return -float(np.quantile(left_out_N[hard_N], 1 - HARD_FALSE_POSITIVES))


def _head(weight_D: Floats, bias: float) -> dict[str, Any]:
    return {"bias": round(bias, 4), "weight": [round(value, 4) for value in weight_D.tolist()]}


def _print_left_out(logits_N: Floats, examples: Examples) -> None:
    print("\nseed lines left out of training, harm head alone: share at 0.5 / 0.8")
    for file in sorted(set(examples.files)):
        p_N = 1 / (1 + np.exp(-logits_N[[each == file for each in examples.files]]))
        print(f"  {file:24} {np.mean(p_N >= 0.5):6.2f} {np.mean(p_N >= 0.8):6.2f}")


def _print_held_out(classifier: Classifier) -> None:
    print("\nheld-out lines, whole decision: share not allowed / blocked; then inside harmless padding")
    lines = {path.stem: read_lines(path) for path in sorted(HELD_OUT.glob("*.txt"))}
    lines["all harmful"] = [line for file in PARENTS for line in lines[file]]
    for name, prompts in lines.items():
        bare, padded = _shares(classifier, prompts), _shares(classifier, map(PADDING.format, prompts))
        print(f"  {name:24} {len(prompts):4} {bare}   {padded}", flush=True)


def _shares(classifier: Classifier, prompts: Iterable[str]) -> str:
    actions = [decide(findings(prompt), classifier.score(prompt)).action for prompt in prompts]
    flagged, blocked = (np.mean([action in kinds for action in actions]) for kinds in (("review", "block"), ("block",)))
    return f"{flagged:6.2f} {blocked:6.2f}"


if __name__ == "__main__":
    main()
