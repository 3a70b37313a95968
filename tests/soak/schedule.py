"""What happens in a soak and when: requests, incidents and reloads, all drawn from one seed."""

import random
from dataclasses import dataclass

import faults
from faults import Fault

RELOAD_SECONDS = 20.0
# Of an incident, and of the peace after it: in a soak, and in one that is too short for more than a few of those.
INCIDENT_SECONDS, PEACE_SECONDS = (6.0, 18.0), (4.0, 12.0)
SHORT_INCIDENT_SECONDS, SHORT_PEACE_SECONDS = (2.5, 5.0), (1.5, 3.0)
SHORT_SECONDS = 180.0
# Calm before the first incident, and at the end: what is healed must be seen to serve.
CALM_SECONDS = 5.0
FAULTS: list[Fault] = [
    faults.SLOW,
    faults.SILENT,
    faults.SILENT_AFTER_HEADERS,
    faults.E500,
    faults.E503,
    faults.RESET,
    faults.REFUSE,
    faults.CUT,
    faults.ERROR_EVENT,
    faults.LIMITED,
    faults.LIMITED_5,
    faults.EMPTY,
    faults.HTML,
]

# Kinds of requests with their shares.
SHARES = {
    "chat_streamed": 0.34,
    "chat": 0.18,
    "embeddings": 0.10,
    "response_first": 0.09,
    "response_chained": 0.10,
    "response_unstored": 0.06,
    "response_stored": 0.03,
    "response_read": 0.03,
    "file_upload": 0.03,
    "file_read": 0.04,
}


@dataclass(frozen=True)
class Incident:
    """One region has one fault for a time."""

    region: int
    fault: Fault
    start: float
    end: float


@dataclass(frozen=True)
class Slot:
    """A request that is to be sent: its bytes are made when its time has come, since chains name what came before."""

    at: float
    number: int
    kind: str
    # Chooses among what may be named, below 1.
    dice: float


@dataclass(frozen=True)
class Schedule:
    slots: list[Slot]
    incidents: list[Incident]
    reloads: list[float]
    seconds: float

    @property
    def short(self) -> bool:
        return self.seconds < SHORT_SECONDS


def schedule(seconds: float, rate: float, seed: int, regions: int) -> Schedule:
    return Schedule(
        slots(seconds, rate, random.Random(f"{seed} requests")),
        incidents(seconds, random.Random(f"{seed} incidents"), regions),
        [RELOAD_SECONDS * n for n in range(1, int(seconds / RELOAD_SECONDS) + 1) if RELOAD_SECONDS * n < seconds],
        seconds,
    )


def slots(seconds: float, rate: float, source: random.Random) -> list[Slot]:
    found: list[Slot] = []
    at = source.expovariate(rate)
    while at < seconds:
        kind = source.choices(list(SHARES), list(SHARES.values()))[0]
        found.append(Slot(at, len(found) + 1, kind, source.random()))
        at += source.expovariate(rate)
    return found


def incidents(seconds: float, source: random.Random, regions: int) -> list[Incident]:
    """One after the other, each kind once before any comes again."""
    short = seconds < SHORT_SECONDS
    lasts = SHORT_INCIDENT_SECONDS if short else INCIDENT_SECONDS
    peace = SHORT_PEACE_SECONDS if short else PEACE_SECONDS
    found: list[Incident] = []
    bag: list[Fault] = []
    at = CALM_SECONDS
    while True:
        if not bag:
            bag = source.sample(FAULTS, len(FAULTS))
        end = at + source.uniform(*lasts)
        if end > seconds - CALM_SECONDS:
            return found
        found.append(Incident(source.randrange(regions), bag.pop(), at, end))
        at = end + source.uniform(*peace)
