"""Checks that go on after a failure: each says one line, the last line counts them."""

import time
from collections.abc import Callable


class Broken(Exception):
    """A scenario cannot go on: what it stands on is not there."""


class Checks:
    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.scenario = ""

    def check(self, holds: object, name: str, fact: object) -> bool:
        """Says whether `name` holds, with the `fact` that shows it."""
        name = f"{self.scenario}: {name}"
        if holds:
            self.passed += 1
        else:
            self.failed.append(name)
        print(f"{'ok' if holds else 'FAILED'} {name}: {fact}", flush=True)
        return bool(holds)

    def equal(self, found: object, expected: object, name: str) -> bool:
        fact = repr(found) if found == expected else f"{found!r}, expected {expected!r}"
        return self.check(found == expected, name, fact)

    def need(self, holds: object, name: str, fact: object) -> None:
        """A check without which the rest of the scenario makes no sense."""
        if not self.check(holds, name, fact):
            raise Broken(name)

    def last_line(self) -> str:
        return f"{self.passed} passed, {len(self.failed)} failed"


def wait_until(reached: Callable[[], object], seconds: float) -> float | None:
    """Waits for a state. Returns after how many seconds it was reached, None if it was not."""
    start = time.monotonic()
    while not reached():
        if time.monotonic() - start > seconds:
            return None
        time.sleep(0.1)
    return round(time.monotonic() - start, 1)
