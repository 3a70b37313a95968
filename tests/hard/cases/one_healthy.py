"""Item 1: while any one region is healthy, nobody who may be sent there fails.

One of 2, 3 or 5 regions is healthy; the others answer 5xx, refuse, reset, or each something else. All of them at
once; or each region in turn for six seconds (rolling); or all but one, and another one each six seconds (moving).
Cold starts have the fault before the first request ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import faults
import load
from cases import Case
from client import Outcome
from faults import Fault
from judged import Verdict
from traffic import FREE, Planned, Who, chat
from world import Incident, Options, World

KINDS: dict[str, list[Fault]] = {
    "5xx": [faults.E503, faults.E500],
    "refuse": [faults.REFUSE],
    "reset": [faults.RESET],
    "mix": [faults.E503, faults.RESET, faults.REFUSE, faults.E500],
}
# Other ways to fail, tried at one size only.
MORE_KINDS: dict[str, list[Fault]] = {
    "close": [faults.CLOSE],
    "late-503": [faults.LATE_503],
    "error-event-first": [faults.ERROR_FIRST],
    "all-of-these": [faults.CLOSE, faults.ERROR_FIRST, faults.E502],
}
WARM_SECONDS = 6.0
# Of an incident that moves on.
STEP_SECONDS = 6.0
PATIENCE = 15.0


@dataclass(frozen=True)
class Combination:
    regions: int
    kind: str
    shape: str
    rate: int
    warm: bool

    @property
    def name(self) -> str:
        return "/".join(
            ["one-healthy", str(self.regions), self.kind, self.shape, str(self.rate), "warm" if self.warm else "cold"]
        )


def make(who: Who, dice: float) -> Planned:
    """Mostly streamed, some not, and a few that may not be repeated: they have a bar of their own."""
    if dice < 0.04:
        return chat(who, streamed=False, store=True)
    return chat(who, streamed=dice < 0.7)


def incidents(what: Combination, quick: bool) -> tuple[list[Incident], float]:
    """What happens, and how long the load runs."""
    start = WARM_SECONDS if what.warm else 0.0
    kinds = (KINDS | MORE_KINDS)[what.kind]
    regions = range(what.regions)
    if what.shape == "at-once":
        end = start + (8.0 if quick else 14.0)
        healthy = what.regions - 1
        return [Incident(r, kinds[r % len(kinds)], start) for r in regions if r != healthy], end
    found = []
    for step in regions:
        begin = start + step * STEP_SECONDS
        down = [step] if what.shape == "rolling" else [r for r in regions if r != step]
        found += [Incident(r, kinds[(r + step) % len(kinds)], begin, begin + STEP_SECONDS) for r in down]
    return found, start + what.regions * STEP_SECONDS


async def run(what: Combination, options: Options) -> Verdict:
    happening, seconds = incidents(what, options.quick)
    async with World(options, what.regions) as world:
        plan = plans(what.rate, seconds, options.seed)
        outcomes = await world.play(plan, happening, PATIENCE)
        return await judge(world, outcomes, len(happening))


def plans(rate: float, seconds: float, seed: int) -> list[Planned]:
    half = [load.times(rate / 2, seconds, f"{seed} {app}") for app in ("app-a", "app-b")]
    return load.merged(load.plan(half[0], "app-a", make, 1), load.plan(half[1], "app-b", make, 500_001))


async def judge(world: World, outcomes: Sequence[Outcome], down: int) -> Verdict:
    verdict = Verdict()
    free = [outcome for outcome in outcomes if outcome.request.freedom == FREE]
    once = [outcome for outcome in outcomes if outcome.request.freedom != FREE]
    # What a healthy region was already working on when an incident came is nobody's fault.
    begun = {a.number for region in range(world.regions) for a in world.arrivals(region) if a.met == "ok"}
    once_counted = [o for o in once if o.nothing_seen and o.request.number not in begun]
    counted = [outcome for outcome in free if outcome.nothing_seen]
    verdict.figures = {
        "repeatable": load.summary(free),
        "not_repeatable": load.summary(once),
        "upstream": world.upstream(),
        "changes": await world.product.changes(),
        "failed_by_second": by_second(counted),
        "lag_seconds": round(world.lag, 2),
    }
    # A stream that an incident cuts cannot be mended.
    verdict.at_most("repeatable requests that failed before any content", len(counted), 0)
    # Once for each target and incident, before that target is out.
    verdict.at_most("other requests that failed", len(once_counted), down)
    return verdict


def by_second(failed: Sequence[Outcome]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for outcome in failed:
        counts[int(outcome.request.at)] = counts.get(int(outcome.request.at), 0) + 1
    return counts


async def long(options: Options) -> Verdict:
    """503 from one region for 40 s; a second resets for 20 of them."""
    happening = [Incident(0, faults.E503, 5.0, 45.0), Incident(1, faults.RESET, 15.0, 35.0)]
    async with World(options, 3) as world:
        outcomes = await world.play(plans(10.0, 50.0, options.seed), happening, PATIENCE)
        return await judge(world, outcomes, len(happening))


QUICK = {
    "one-healthy/3/5xx/at-once/30/warm",
    "one-healthy/3/5xx/at-once/30/cold",
    "one-healthy/2/refuse/at-once/100/warm",
    "one-healthy/2/reset/at-once/7/cold",
    "one-healthy/5/mix/at-once/30/warm",
    "one-healthy/5/refuse/at-once/7/cold",
    "one-healthy/3/mix/rolling/30/warm",
    "one-healthy/2/mix/rolling/30/warm",
    "one-healthy/3/mix/moving/30/warm",
}
COMBINATIONS = [
    Combination(regions, kind, shape, rate, warm)
    for regions in (2, 3, 5)
    for kind in KINDS
    for shape in ("at-once", "rolling", "moving")
    for rate in (7, 30, 100)
    for warm in (True, False)
    # Where all but one are down and which one moves, more than three targets need more attempts than there are.
    if shape != "moving" or regions <= 3
]
COMBINATIONS += [Combination(3, kind, "at-once", 30, warm) for kind in MORE_KINDS for warm in (True, False)]
CASES = [Case(what.name, 1, partial(run, what), what.name in QUICK) for what in COMBINATIONS]
CASES.append(Case("one-healthy-long", 1, long, quick=False))
