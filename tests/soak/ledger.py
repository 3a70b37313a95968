"""What the clients of a soak saw, beside what was possible.

A failed request could have been answered elsewhere if it may be repeated, failed before its first content, and another
region was healthy and had room. Here only one region at a time has a fault and none has a limit of its own, so that
the last holds for every request. What may be repeated:

| freedom | repeated elsewhere |
|---|---|
| free | always: it leaves nothing behind |
| stored by default, the first of a chain | unless a response had begun |
| once (a file, `store: true`) | only if every attempt met what surely did nothing: a refused connection, a 429 |
| bound (a link of a chain, a stored thing) | never: one backend has what it names |
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import faults
import traffic
from client import Outcome

EXAMPLES = 20


@dataclass(frozen=True)
class Judged:
    """A request with what it met at the backends, in order."""

    outcome: Outcome
    met: list[str]
    # The fault of the time, for what reached no backend.
    during: str

    @property
    def fault(self) -> str:
        bad = [name for name in self.met if name != "ok"]
        return bad[0] if bad else f"none met, {self.during}" if self.during != "none" else "none"

    @property
    def possible(self) -> bool:
        """Whether a failed request could have been answered elsewhere."""
        outcome = self.outcome
        if not outcome.nothing_seen:
            return False
        met = [faults.BY_NAME[name] for name in self.met if name != "ok"]
        if outcome.request.freedom == traffic.FREE:
            return True
        if outcome.request.freedom == traffic.DEFAULT_STORED:
            return not any(fault.begins_well for fault in met)
        if outcome.request.freedom == traffic.BOUND:
            return False
        return len(met) == len(self.met) and all(fault.leaves_untouched for fault in met)


def report(judged: list[Judged], reloads: list[str]) -> dict[str, Any]:
    """Counts, a table of kind by fault, and the first failures that need not have been."""
    failed = [one for one in judged if not one.outcome.ok]
    needless = [one for one in failed if one.possible]
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for one in failed:
        table[one.outcome.request.kind][one.fault] += 1
    elsewhere: dict[str, Counter[str]] = defaultdict(Counter)
    for one in needless:
        elsewhere[one.outcome.request.kind][f"{one.fault}: {one.outcome.result}"] += 1
    return {
        "requests": len(judged),
        "by_kind": dict(Counter(one.outcome.request.kind for one in judged)),
        "failed": len(failed),
        "could_have_been_answered_elsewhere": len(needless),
        "failed_by_kind_and_fault": {kind: dict(counts) for kind, counts in sorted(table.items())},
        "elsewhere_by_kind_and_fault": {kind: dict(counts) for kind, counts in sorted(elsewhere.items())},
        "elsewhere_examples": [
            {**one.outcome.row(), "met": one.met, "during": one.during} for one in needless[:EXAMPLES]
        ],
        "failed_reloads": reloads,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The report for reading."""
    text = [
        f"requests                              {found['requests']}",
        f"failed                                {found['failed']}",
        f"could have been answered elsewhere    {found['could_have_been_answered_elsewhere']}",
        "",
        "failed, by operation and fault (of them: could have been answered elsewhere, with what the client saw)",
    ]
    for kind, counts in found["failed_by_kind_and_fault"].items():
        for fault, count in sorted(counts.items()):
            seen = found["elsewhere_by_kind_and_fault"].get(kind, {})
            part = {name.partition(": ")[2]: n for name, n in seen.items() if name.rpartition(": ")[0] == fault}
            which = ", ".join(f"{n} {name}" for name, n in part.items())
            text.append(f"  {kind:<18} {fault:<34} {count:>4}   ({sum(part.values())}{': ' if which else ''}{which})")
    return text + [f"reload failed: {problem}" for problem in found["failed_reloads"]]
