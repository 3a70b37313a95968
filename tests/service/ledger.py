"""What became of the requests, by phase: a request belongs to the phase in which it ended."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

# More than anyone reads; the counts are complete in any case.
FAILURES_KEPT = 200


def percentile(sorted_values: list[float], share: float) -> float:
    """The value that `share` of the values are at or below; 0 of none."""
    if not sorted_values:
        return 0.0
    index = min(len(sorted_values) - 1, int(share * len(sorted_values)))
    return sorted_values[index]


def in_milliseconds(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    shares = {"p50_ms": 0.5, "p99_ms": 0.99}
    figures = {name: round(percentile(ordered, share) * 1000, 1) for name, share in shares.items()}
    return {"count": len(ordered), **figures}


@dataclass
class Phase:
    name: str
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    # Connections that were found closed before a request was sent on them. Legal, but worth knowing.
    closed_idle: int = 0

    def summary(self) -> dict[str, Any]:
        return {
            "phase": self.name,
            "seconds": round((self.ended_at or time.monotonic()) - self.started_at, 1),
            "requests": {kind: in_milliseconds(values) for kind, values in sorted(self.seconds.items())},
            "failed": dict(self.failed),
            "closed_idle": self.closed_idle,
        }


class Ledger:
    """All phases so far. The last is the present one."""

    def __init__(self) -> None:
        self.phases = [Phase("start")]
        self.failures: list[dict[str, Any]] = []

    @property
    def phase(self) -> Phase:
        return self.phases[-1]

    def next_phase(self, name: str) -> Phase:
        """Ends the present phase and returns it."""
        ended = self.phase
        ended.ended_at = time.monotonic()
        self.phases.append(Phase(name))
        return ended

    def succeeded(self, kind: str, seconds: float) -> None:
        self.phase.seconds.setdefault(kind, []).append(seconds)

    def failed(self, request: str, since: str, kind: str, detail: str) -> None:
        self.phase.failed[kind] += 1
        if len(self.failures) < FAILURES_KEPT:
            record = {"at": time.time(), "phase": self.phase.name, "begun_in": since}
            self.failures.append({**record, "request": request, "kind": kind, "detail": detail})
