"""Item 11: one backend alone is tried once more, within the retry budget."""

import random
from collections.abc import Iterator
from functools import partial

import faults
import load
from backend import Backend
from cases import Case
from faults import Fault
from judged import Verdict, share
from received import Request
from traffic import Planned, Who, chat
from world import Options, World


def draws(seed: int) -> Iterator[bool]:
    """Whether the next request fails: half of each ten, in an order by chance."""
    source = random.Random(f"{seed} half")
    while True:
        yield from source.sample([True, False] * 5, 10)


def half(backend: Backend, fault: Fault, seed: int) -> None:
    """Half of what clients send fails; probes are served."""
    source = draws(seed)

    def decide(request: Request) -> Fault | None:
        return fault if request.number is not None and next(source) else None

    backend.decide = decide


def served_with_one_more(seed: int, requests: int) -> int:
    """How many of them are served if each that fails is sent once more."""
    source = draws(seed)
    return sum(not next(source) or not next(source) for _ in range(requests))


def make(who: Who, dice: float) -> Planned:
    return chat(who, streamed=dice < 0.5)


async def few(fault: Fault, options: Options) -> Verdict:
    """20 requests within a minute, of which half fail at first."""
    seconds = 24.0 if options.quick else 57.0
    async with World(options, 1) as world:
        half(world.backends[0], fault, options.seed)
        moments = [index * seconds / 20 for index in range(20)]
        outcomes = await world.play(load.plan(moments, "app-a", make, 1))
        ideal = served_with_one_more(options.seed, 20)
        verdict = Verdict({"all": load.summary(outcomes), "upstream": world.upstream(), "with_one_more_each": ideal})
        # An unlucky seed may have less to give.
        verdict.at_least("good of 20", sum(o.ok for o in outcomes), min(14, ideal))
        return verdict


async def many(options: Options) -> Verdict:
    """100 requests a second: the retries may not multiply the load."""
    seconds = 12.0 if options.quick else 25.0
    async with World(options, 1) as world:
        half(world.backends[0], faults.E500, options.seed)
        outcomes = await world.play(load.plan(load.times(100.0, seconds, f"{options.seed}"), "app-a", make, 1))
        sent, upstream = len(outcomes), world.upstream()
        verdict = Verdict({"all": load.summary(outcomes), "upstream": upstream, "lag_seconds": round(world.lag, 2)})
        verdict.at_most("extra upstream requests", share(upstream - sent, sent), 0.1)
        verdict.at_least("good", share(sum(o.ok for o in outcomes), sent), 0.48)
        return verdict


async def limited(seconds: int, options: Options) -> Verdict:
    """A 429 that names more than a second is told at once, and not sent again."""
    async with World(options, 1) as world:
        world.backends[0].fault = Fault("429", status=429, retry_after=seconds)
        outcomes = await world.play([make(Who(0.0, 1, "app-a"), 0.9)])
        verdict = Verdict({"all": load.summary(outcomes), "retry_after": outcomes[0].retry_after})
        verdict.at_most("seconds", outcomes[0].seconds, 2.0)
        verdict.at_most("upstream requests", world.upstream(), 1 if seconds > 1 else 2)
        verdict.at_least("told as 429", float(outcomes[0].status == 429), 1)
        return verdict


CASES = [
    Case("alone/20-a-minute/500", 11, partial(few, faults.E500)),
    Case("alone/20-a-minute/503", 11, partial(few, faults.E503), quick=False),
    Case("alone/100-a-second", 11, many),
    Case("alone/429-retry-after-30", 11, partial(limited, 30)),
    Case("alone/429-retry-after-1", 11, partial(limited, 1), quick=False),
]
