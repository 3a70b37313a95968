"""Item 9: a region that fails fast, without a first token, does not draw the traffic.

Three equal regions, streamed chats. One begins to answer at once with what helps nobody. At first it may have its
fair share, then less. Where the response proves nothing about the request, clients do not see it.
"""

from functools import partial

import faults
import load
from cases import Case
from faults import Fault
from judged import Verdict, share
from received import Request
from traffic import Planned, Who, chat
from world import Incident, Options, World

RATE = 25.0
WARM_SECONDS = 6.0
# A third, and what chance adds to it over so many requests.
FAIR = 1 / 3 + 0.07
# What clients must not see. A 400 and a 410 may be about the request, 204 and a filtered stream may be true.
HIDDEN = [faults.E404, faults.HTML, faults.EMPTY, faults.EMPTY_STREAM]
SHOWN = [faults.E400, faults.E410, faults.NO_CONTENT, faults.FILTERED]


def make(who: Who, _dice: float) -> Planned:
    return chat(who)


async def run(fault: Fault, warm: bool, options: Options) -> Verdict:
    start = WARM_SECONDS if warm else 0.0
    lasts = 16.0 if options.quick else 30.0
    end = start + lasts
    async with World(options, 3) as world:
        plan = load.plan(load.times(RATE, end, f"{options.seed}"), "app-a", make, 1)
        outcomes = await world.play(plan, [Incident(1, fault, start)])
        during = [o for o in outcomes if o.request.at >= start]

        def part(since: float, until: float) -> float:
            """The region's share of clients' requests in a time."""
            sent = sum(since <= o.request.at < until for o in outcomes)
            return share(len(world.arrivals(1, since, until)), sent)

        verdict = Verdict()
        fifth = lasts / 4
        verdict.figures = {
            "during": load.summary(during),
            "share_by_quarter": [round(part(start + n * fifth, start + (n + 1) * fifth), 3) for n in range(4)],
            "first_three_seconds": round(part(start, start + 3.0), 3),
            "changes": await world.product.changes(),
            "lag_seconds": round(world.lag, 2),
        }
        verdict.at_most("its share over all", part(start, end), FAIR)
        # A filtered stream is a whole response: a fair share is right for ever.
        if fault is not faults.FILTERED:
            verdict.at_most("its share in the last quarter", part(end - fifth, end), 0.15)
        if fault in HIDDEN:
            verdict.at_most("failed requests", sum(not o.ok for o in during), 0)
        return verdict


async def bad_client(fault: Fault, options: Options) -> Verdict:
    """The other side of it: where every region says the same to one app's requests, no region is at fault."""
    seconds = 20.0 if options.quick else 35.0

    def decide(request: Request) -> Fault | None:
        return fault if request.app == "bad" else None

    async with World(options, 3, ["good", "bad"]) as world:
        for backend in world.backends:
            backend.decide = decide
        moments = [load.times(RATE / 2, seconds, f"{options.seed} {app}") for app in world.apps]
        plan = load.merged(load.plan(moments[0], "good", make, 1), load.plan(moments[1], "bad", make, 500_001))
        outcomes = await world.play(plan)
        bad = [o for o in outcomes if o.request.app == "bad"]
        good = [o for o in outcomes if o.request.app == "good"]
        sent = sum(a.met != "ok" for region in range(3) for a in world.arrivals(region))
        changes = await world.product.changes()
        verdict = Verdict()
        verdict.figures = {"good": load.summary(good), "bad": load.summary(bad), "changes": changes}
        verdict.at_most("the good app's failed requests", sum(not o.ok for o in good), 0)
        verdict.at_most("changes of the regions' states", sum(changes.values()), 0)
        verdict.at_most(
            "upstream requests for one of the bad app's", share(sent, len(bad)), 1.0 if fault is faults.E400 else 2.0
        )
        wrong = [o for o in bad if o.status != fault.status]
        verdict.at_most("the bad app's requests that got another status", len(wrong), 0)
        return verdict


QUICK = [faults.E404, faults.E400, faults.HTML, faults.EMPTY_STREAM]
CASES = [
    Case(
        f"fast-failure/{fault.name}/{state}",
        9,
        partial(run, fault, state == "warm"),
        state == "warm" and fault in QUICK,
    )
    for fault in HIDDEN + SHOWN
    for state in ("warm", "cold")
]
CASES += [
    Case(f"bad-client/{fault.name}", 9, partial(bad_client, fault), quick=False) for fault in (faults.E400, faults.E404)
]
