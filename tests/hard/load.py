"""An open loop of requests: each is sent at its time, whatever became of the others."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import client
from client import Outcome
from traffic import Planned, Who


@dataclass(frozen=True)
class Target:
    """Where requests are sent, and the keys of the apps."""

    port: int
    keys: dict[str, str]
    patience: float


async def run(target: Target, plan: Sequence[Planned], start: float | None = None) -> list[Outcome]:
    """Sends all of `plan` and waits for the last response. `start` is the load's moment 0 on the monotonic clock."""
    start = time.monotonic() if start is None else start
    tasks = []
    for request in plan:
        await asyncio.sleep(max(0.0, start + request.at - time.monotonic()))
        sent = client.send(target.port, target.keys[request.app], request, target.patience)
        tasks.append(asyncio.create_task(sent))
    return list(await asyncio.gather(*tasks))


def times(rate: float, seconds: float, seed: str) -> list[float]:
    """Moments of a Poisson process with `rate` a second."""
    source = random.Random(seed)
    moments, now = [], source.expovariate(rate)
    while now < seconds:
        moments.append(now)
        now += source.expovariate(rate)
    return moments


def plan(moments: Iterable[float], app: str, make: Callable[[Who, float], Planned], first: int = 0) -> list[Planned]:
    """A request for each moment. `make` also gets a random number below 1, to choose a kind by."""
    source = random.Random(f"{app} {first}")
    return [make(Who(at, first + index, app), source.random()) for index, at in enumerate(moments)]


def merged(*plans: list[Planned]) -> list[Planned]:
    return sorted((request for part in plans for request in part), key=lambda request: request.at)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Counts of requests and failures, with the first few failures as they were."""
    failed = [outcome for outcome in outcomes if not outcome.ok]
    return {
        "requests": len(outcomes),
        "failed": len(failed),
        "results": dict(Counter(outcome.result for outcome in outcomes)),
        "seconds_p50": percentile([o.seconds for o in outcomes if o.ok], 0.5),
        "seconds_p99": percentile([o.seconds for o in outcomes if o.ok], 0.99),
        "examples": [outcome.row() for outcome in failed[:3]],
    }


def percentile(values: list[float], share: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 3) if ordered else None
