"""Item 3: requests that are not streamed leave a region that has gone silent.

25 chats a second, none streamed, three regions. One says nothing any more: no head, no byte, no end.
The prompts are long enough that hedges cannot pay for all of them.
"""

from functools import partial

import faults
import load
from cases import Case
from faults import Fault
from judged import Verdict, share
from traffic import Planned, Who, chat
from world import Incident, Options, World

RATE = 25.0
WARM_SECONDS = 8.0
OUT_SECONDS = 15.0


def make(who: Who, _dice: float) -> Planned:
    return chat(who, streamed=False, filler=6)


async def run(fault: Fault, rate: float, options: Options) -> Verdict:
    silent = 26.0 if options.quick else 42.0
    patience = 20.0 if options.quick else 40.0
    end = WARM_SECONDS + silent
    async with World(options, 3) as world:
        plan = load.plan(load.times(rate, end, f"{options.seed}"), "app-a", make, 1)
        outcomes = await world.play(plan, [Incident(1, fault, WARM_SECONDS)], patience)
        during = [o for o in outcomes if o.request.at >= WARM_SECONDS]
        unanswered = [o for o in during if not o.ok]
        late = sum(o.request.at >= WARM_SECONDS + OUT_SECONDS for o in outcomes)
        there = world.arrivals(1, WARM_SECONDS)
        after = world.arrivals(1, WARM_SECONDS + OUT_SECONDS, end)
        verdict = Verdict()
        verdict.figures = {
            "during": load.summary(during),
            "sent_to_the_silent_region": len(there),
            "sent_there_after_15_seconds": len(after),
            "last_sent_there_after": round(there[-1].at - world.start - WARM_SECONDS, 1) if there else 0,
            "changes": await world.product.changes(),
            "lag_seconds": round(world.lag, 2),
        }
        # A trickle that finds out whether it is back is no mistake.
        verdict.at_most("share sent there after 15 s", share(len(after), late), 0.02)
        verdict.at_most("share without a response", share(len(unanswered), len(during)), 0.02)
        return verdict


CASES = [
    Case("not-streamed/silent/25", 3, partial(run, faults.SILENT, RATE)),
    Case("not-streamed/silent/5", 3, partial(run, faults.SILENT, 5.0), quick=False),
    Case("not-streamed/silent-after-headers/25", 3, partial(run, faults.SILENT_AFTER_HEADERS, RATE), quick=False),
]
