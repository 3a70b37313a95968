"""Item 13: a request that is stuck is rescued as soon as somewhere else is free again.

Two regions. One is down or limited when the other goes silent: what is stuck there has nowhere to go at its deadline.
Then the first one heals, and what is still stuck must be served by it.
"""

from functools import partial

import faults
import load
from cases import Case
from faults import Fault
from judged import Verdict
from traffic import Planned, Who, chat
from world import Incident, Options, World

DOWN_AT, SILENT_AT, HEALED_AT, LAST_AT = 5.0, 9.5, 12.0, 14.0
# The healed region's probes have some seconds between them.
RESCUED_SECONDS = 25.0


def make(streamed: bool, who: Who, _dice: float) -> Planned:
    return chat(who, streamed=streamed)


async def run(fault: Fault, streamed: bool, options: Options) -> Verdict:
    """The load ends soon after the healing: no later request may be what finds the region healthy."""
    happening = [Incident(0, fault, DOWN_AT, HEALED_AT), Incident(1, faults.SILENT, SILENT_AT)]
    patience = RESCUED_SECONDS + HEALED_AT - SILENT_AT
    async with World(options, 2) as world:
        moments = load.times(10.0, LAST_AT, f"{options.seed}")
        outcomes = await world.play(load.plan(moments, "app-a", partial(make, streamed), 1), happening, patience)
        met = [{a.number for a in world.arrivals(region, SILENT_AT - 1.0) if a.met != "ok"} for region in (0, 1)]
        stuck = [o for o in outcomes if o.request.number in met[1]]
        lost = [o for o in stuck if o.result == "timeout"]
        # What had failed there before has a reason not to be sent there again.
        failed_there = [o for o in lost if o.request.number in met[0]]
        verdict = Verdict()
        verdict.figures = {
            "all": load.summary(outcomes),
            "stuck": load.summary(stuck),
            "never_rescued_and_failed_there_before": len(failed_there),
            "changes": await world.product.changes(),
            "lag_seconds": round(world.lag, 2),
        }
        verdict.at_least("requests that were stuck", len(stuck), 1)
        verdict.at_most("stuck requests that were never rescued", len(lost) - len(failed_there), 0)
        return verdict


LIMITED_3 = Fault("429_retry_after_3", status=429, retry_after=3)
CASES = [
    Case("denied-hedge/503/streamed", 13, partial(run, faults.E503, True)),
    Case("denied-hedge/429/streamed", 13, partial(run, LIMITED_3, True)),
    Case("denied-hedge/refuse/streamed", 13, partial(run, faults.REFUSE, True), quick=False),
    Case("denied-hedge/503/not-streamed", 13, partial(run, faults.E503, False), quick=False),
]
