"""A measured number with its bar, and the table that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

HEADS = ("what", "measured", "bar", "ceiling", "chance", "clips")


@dataclass(frozen=True, slots=True)
class Measure:
    """`ceiling` is what the renderer's own clips reach, `chance` what clips reach under another clip's caption."""

    what: str
    value: float
    unit: str = "%"
    clips: int = 1
    bar: float | None = None
    at_most: bool = False  # the bar is a limit, not a goal
    ceiling: float | None = None
    chance: float | None = None

    @property
    def passed(self) -> bool | None:
        """None where there is no bar."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.at_most else self.value >= self.bar

    def worse(self, other: Measure) -> bool:
        """Whether the other one of the same kind is nearer to the bar."""
        return self.value > other.value if self.at_most else self.value < other.value

    def row(self) -> str:
        """A row of a Markdown table under HEADS."""
        sign = "≤" if self.at_most else "≥"
        bar = "" if self.bar is None else f"{sign} {_number(self.bar, self.unit)}"
        cells = (self.what, _number(self.value, self.unit), bar, *(_percent(x) for x in (self.ceiling, self.chance)))
        return "| " + " | ".join((*cells, str(self.clips))) + " |"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**stored)


def table(measures: Sequence[Measure]) -> str:
    """All of them in Markdown."""
    head = ["| " + " | ".join(HEADS) + " |", "| " + " | ".join("---" for _ in HEADS) + " |"]
    return "\n".join([*head, *(measure.row() for measure in measures)])


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.0f} %"
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 3 else 2}f} {unit}".strip()


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"
