"""The judgement of a case: figures, and bars that they meet or miss."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Bar:
    """What is wanted of one figure."""

    name: str
    value: float
    wanted: str
    met: bool


@dataclass
class Verdict:
    """What a case found."""

    figures: dict[str, Any] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)

    def at_most(self, name: str, value: float, bound: float) -> None:
        self.bars.append(Bar(name, round(value, 4), f"<= {round(bound, 4):g}", value <= bound + 1e-9))

    def at_least(self, name: str, value: float, bound: float) -> None:
        self.bars.append(Bar(name, round(value, 4), f">= {round(bound, 4):g}", value >= bound - 1e-9))

    @property
    def passed(self) -> bool:
        return all(bar.met for bar in self.bars)

    def json(self) -> dict[str, Any]:
        bars = [vars(bar) for bar in self.bars]
        return {"passed": self.passed, "bars": bars, "figures": self.figures}


def share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
