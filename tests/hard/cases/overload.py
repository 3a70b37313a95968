"""Item 2: under half as much again as three backends can serve, nearly all of what they can serve is served.

Each backend has a token bucket of 20 requests a second. Clients send 90 a second and never again what was refused.
`requests` refuses in the words of the limit of requests, `tokens` in those of tokens.
"""

import time
from dataclasses import dataclass
from functools import partial

import load
from backend import Backend
from cases import Case
from faults import Fault
from judged import Verdict, share
from received import Request
from traffic import Planned, Who, chat
from world import Options, World

RATE, BURST = 20.0, 10.0
OFFERED = 1.5 * 3 * RATE
WARM_SECONDS = 5.0


@dataclass
class Bucket:
    """What a backend may still serve."""

    rate: float = RATE
    burst: float = BURST
    left: float = BURST
    at: float = 0.0

    def take(self, now: float) -> bool:
        self.left = min(self.burst, self.left + (now - self.at) * self.rate) if self.at else self.burst
        self.at = now
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


def limit(backend: Backend, what: str, retry_after: int | None, bucket: Bucket) -> None:
    refused = Fault(f"429_{what}", status=429, retry_after=retry_after)

    def decide(_request: Request) -> Fault | None:
        return None if bucket.take(time.monotonic()) else refused

    backend.decide = decide


def make(who: Who, dice: float) -> Planned:
    return chat(who, streamed=dice < 0.5)


async def run(what: str, retry_after: int | None, options: Options) -> Verdict:
    seconds = 20.0 if options.quick else 35.0
    async with World(options, 3) as world:
        for backend in world.backends:
            limit(backend, what, retry_after, Bucket())
        halves = [load.times(OFFERED / 2, seconds, f"{options.seed} {app}") for app in world.apps]
        plan = load.merged(load.plan(halves[0], "app-a", make, 1), load.plan(halves[1], "app-b", make, 500_001))
        outcomes = await world.play(plan)
        judged = [o for o in outcomes if o.request.at >= WARM_SECONDS]
        good = sum(o.ok for o in judged)
        possible = 3 * RATE * (seconds - WARM_SECONDS)
        verdict = Verdict()
        refused = [o for o in judged if o.status == 429]
        verdict.figures = {
            "all": load.summary(judged),
            "good_per_second": round(good / (seconds - WARM_SECONDS), 1),
            "possible_per_second": 3 * RATE,
            "upstream": world.upstream(),
            "refusal_seconds_p99": load.percentile([o.seconds for o in refused], 0.99),
            "retry_after_told": sorted({str(o.retry_after) for o in refused})[:12],
            "changes": await world.product.changes(),
            "lag_seconds": round(world.lag, 2),
        }
        verdict.at_least("share of what the backends can serve", good / possible, 0.9)
        other = [o for o in judged if not o.ok and o.status != 429]
        verdict.at_most("share that failed otherwise", share(len(other), len(judged)), 0.001)
        return verdict


async def one_limited(retry_after: int | None, options: Options) -> Verdict:
    """One region of three may serve a tenth of its share; the others have room for everything."""
    seconds = 20.0 if options.quick else 35.0
    async with World(options, 3) as world:
        limit(world.backends[0], "requests", retry_after, Bucket(rate=1.0, burst=1.0, left=1.0))
        outcomes = await world.play(load.plan(load.times(30.0, seconds, f"{options.seed}"), "app-a", make, 1))
        sent, upstream = len(outcomes), world.upstream()
        verdict = Verdict()
        verdict.figures = {
            "all": load.summary(outcomes),
            "upstream": upstream,
            "refused_there": sum(a.met != "ok" for a in world.arrivals(0)),
            "changes": await world.product.changes(),
            "lag_seconds": round(world.lag, 2),
        }
        verdict.at_most("failed requests", sum(not o.ok for o in outcomes), 0)
        verdict.at_most("extra upstream requests", share(upstream - sent, sent), 0.1)
        return verdict


SECONDS: list[int | None] = [1, 5, 30, None]
QUICK = [("requests", 5), ("requests", None)]
CASES = [
    Case(f"overload/{what}/retry-after-{named or 'none'}", 2, partial(run, what, named), (what, named) in QUICK)
    for what in ("requests", "tokens")
    for named in SECONDS
]
CASES += [Case(f"one-limited/retry-after-{n or 'none'}", 2, partial(one_limited, n), quick=False) for n in SECONDS]
