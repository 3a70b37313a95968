"""Item 10: what fails because of itself pays for itself.

Every backend responds with 500 to all requests of one app. They degrade no region, and do not use up what
the other app's requests are tried again with: a few of those fail at first, at random, and all of them must be served.
"""

import random
from functools import partial

import faults
import load
from backend import Backend
from cases import Case
from faults import Fault
from judged import Verdict
from received import Request
from traffic import Planned, Who, chat, respond
from world import Options, World

GOOD_PER_SECOND = 12.0
# Of the other app's first attempts.
SPORADIC = 0.04


def infect(backend: Backend, sporadic: float, seed: int) -> None:
    source = random.Random(f"{seed} sporadic {backend.name}")

    def decide(request: Request) -> Fault | None:
        if request.app == "poison":
            return faults.E500
        return faults.E500 if request.app == "good" and source.random() < sporadic else None

    backend.decide = decide


def good(who: Who, dice: float) -> Planned:
    return chat(who, streamed=dice < 0.6)


def stored(who: Who, dice: float) -> Planned:
    return respond(who, streamed=dice < 0.5, store=True)


def repeated(who: Who, dice: float) -> Planned:
    return chat(who, streamed=dice < 0.5)


async def run(kind: str, sporadic: float, options: Options) -> Verdict:
    seconds = 22.0 if options.quick else 45.0
    make = stored if kind == "stored" else repeated
    async with World(options, 3, ["good", "poison"]) as world:
        for backend in world.backends:
            infect(backend, sporadic, options.seed)
        moments = [load.times(GOOD_PER_SECOND, seconds, f"{options.seed} good")]
        moments.append([at for at in load.times(8.0, seconds, f"{options.seed} poison") if at > 4.0])
        plan = load.merged(load.plan(moments[0], "good", good, 1), load.plan(moments[1], "poison", make, 500_001))
        outcomes = await world.play(plan)
        others = [o for o in outcomes if o.request.app == "good"]
        changes = await world.product.changes()
        degraded = sum(count for change, count in changes.items() if "degraded" in change)
        verdict = Verdict()
        verdict.figures = {
            "good": load.summary(others),
            "poison": load.summary([o for o in outcomes if o.request.app == "poison"]),
            "upstream": world.upstream(),
            "changes": changes,
            "lag_seconds": round(world.lag, 2),
        }
        if not sporadic:
            verdict.at_most("regions that were degraded", degraded, 0)
        verdict.at_most("the other app's failed requests", sum(not o.ok for o in others), 0)
        return verdict


CASES = [
    Case("poison/stored", 10, partial(run, "stored", 0.0)),
    Case("poison/repeated", 10, partial(run, "repeated", 0.0), quick=False),
    Case("poison/stored-and-sporadic", 10, partial(run, "stored", SPORADIC), quick=False),
    Case("poison/repeated-and-sporadic", 10, partial(run, "repeated", SPORADIC)),
]
