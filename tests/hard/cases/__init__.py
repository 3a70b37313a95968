"""All cases by name. Each is a coroutine that gets the options and returns a verdict."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from judged import Verdict
from world import Options


@dataclass(frozen=True)
class Case:
    """`name` has its parts between slashes, so that a first part chooses all that share it."""

    name: str
    item: int
    run: Callable[[Options], Awaitable[Verdict]]
    # Whether `--quick` runs it.
    quick: bool = True


def every() -> list[Case]:
    from cases import alone, denied_hedge, fast_failure, not_streamed, one_healthy, overload, oversize, poison

    modules = [one_healthy, oversize, overload, not_streamed, fast_failure, poison, alone, denied_hedge]
    return [case for module in modules for case in module.CASES]
