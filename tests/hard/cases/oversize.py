"""Item 2: one request that is refused everywhere shuts nothing.

Three backends with a limit of tokens each. One chat asks for 90,000 tokens and does not fit anywhere: 429 with
`retry-after: 60`. The small requests of everybody else fit.
"""

from functools import partial

import load
from backend import Backend
from cases import Case
from faults import Fault
from judged import Verdict, share
from received import Request
from traffic import Planned, Who, chat
from world import Options, World

TOKENS_PER_MINUTE = 80_000
REFUSED = Fault("429_tokens", status=429, retry_after=60)
SMALL_PER_SECOND = 200 / 30


def limit_tokens(backend: Backend) -> None:
    """Refuses what does not fit into a minute's tokens; says what is left, as Azure does."""

    def decide(request: Request) -> Fault | None:
        return REFUSED if int(request.fields.get("max_tokens", 0)) > TOKENS_PER_MINUTE else None

    backend.decide = decide
    backend.extra_headers = lambda: {"x-ratelimit-remaining-tokens": "71000", "x-ratelimit-limit-tokens": "80000"}


def small(who: Who, dice: float) -> Planned:
    return chat(who, streamed=dice < 0.6)


async def run(large_at: list[float], warm: bool, options: Options) -> Verdict:
    seconds = 18.0 if options.quick else 34.0
    async with World(options, 3, ["app-a", "app-b", "large"]) as world:
        for backend in world.backends:
            limit_tokens(backend)
        first = 0.0 if warm else 4.0
        moments = [at for at in load.times(SMALL_PER_SECOND, seconds, f"{options.seed} small") if at >= first]
        plans = [load.plan(moments[0::2], "app-a", small, 1), load.plan(moments[1::2], "app-b", small, 500_001)]
        large = [chat(Who(at, 900_000 + n, "large"), False, max_tokens=90_000) for n, at in enumerate(large_at)]
        outcomes = await world.play(load.merged(*plans, large))
        verdict = Verdict()
        others = [o for o in outcomes if o.request.app != "large" and o.request.at > large_at[0]]
        refused = [o for o in others if not o.ok]
        verdict.figures = {
            "others": load.summary(others),
            "large": [outcome.row() for outcome in outcomes if outcome.request.app == "large"],
            "changes": await world.product.changes(),
            "lag_seconds": round(world.lag, 2),
        }
        verdict.at_most("share of the others refused", share(len(refused), len(others)), 0.01)
        return verdict


AGAIN = [3.0, 5.0, 7.5, 10.0, 13.0, 16.0]
CASES = [
    Case("oversize/once/warm", 2, partial(run, [3.0], True)),
    Case("oversize/once/cold", 2, partial(run, [3.0], False), quick=False),
    Case("oversize/again/warm", 2, partial(run, AGAIN, True), quick=False),
]
