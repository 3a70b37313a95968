"""What a case runs in: raw backends, a Firstlight in front of them, and a clock that starts with the load."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import load
from backend import Arrival, Backend, Pace
from client import Outcome
from faults import Fault
from product import Product, Setup
from traffic import Planned

REGIONS = ["eastus", "westus", "swedencentral", "japaneast", "brazilsouth"]


@dataclass(frozen=True)
class Incident:
    """A fault of one region, from and until so many seconds after the load's start. It ends for good with the case."""

    region: int
    fault: Fault
    start: float
    end: float = float("inf")


@dataclass
class Options:
    """What the command line gives to every case."""

    binary: str
    directory: Path
    seed: int
    quick: bool


@dataclass
class World:
    """`async with` starts and ends all of it."""

    options: Options
    regions: int
    apps: list[str] = field(default_factory=lambda: ["app-a", "app-b"])
    pace: Pace = field(default_factory=Pace)
    routing: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self.stack = AsyncExitStack()
        names = REGIONS[: self.regions]
        self.backends = [Backend(name, self.options.seed, self.pace) for name in names]
        try:
            for backend in self.backends:
                await backend.start()
                self.stack.push_async_callback(backend.stop)
            ports = {backend.name: backend.port for backend in self.backends}
            setup = Setup(ports, self.apps, self.routing, self.other)
            self.product = await self.stack.enter_async_context(
                Product(self.options.binary, setup, self.options.directory)
            )
        except BaseException:
            await self.stack.aclose()
            raise
        self.start = time.monotonic()
        self.lag = 0.0
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def play(
        self, plan: Sequence[Planned], incidents: Sequence[Incident] = (), patience: float = 20.0
    ) -> list[Outcome]:
        """Sends `plan` while `incidents` come and go. The last response ends it."""
        # An incident at the very start is there before the first request.
        for incident in incidents:
            if incident.start <= 0.0:
                await self.backends[incident.region].set_fault(incident.fault)
        self.start = time.monotonic()
        by_region = [[i for i in incidents if i.region == region] for region in range(self.regions)]
        tasks = [asyncio.create_task(self._suffer(part)) for part in by_region if part]
        tasks.append(asyncio.create_task(self._measure_lag()))
        target = load.Target(self.product.port, self.product.setup.keys, patience)
        try:
            return await load.run(target, plan, self.start)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def arrivals(self, region: int, since: float = 0.0, until: float = float("inf")) -> list[Arrival]:
        """Requests of clients that a region got, by seconds after the load's start."""
        return self.backends[region].of_clients(self.start + since, self.start + until)

    def upstream(self) -> int:
        """Requests of clients that all regions got together."""
        return sum(len(self.arrivals(region)) for region in range(self.regions))

    async def _suffer(self, incidents: Sequence[Incident]) -> None:
        """All that happens to one region, in the order of time."""
        ordered = sorted(incidents, key=lambda incident: incident.start)
        backend = self.backends[ordered[0].region]
        for incident, after in zip(ordered, [*ordered[1:], None], strict=True):
            if incident.start > 0.0:
                await self.sleep_until(incident.start)
                await backend.set_fault(incident.fault)
            if incident.end == float("inf"):
                return
            await self.sleep_until(incident.end)
            # No moment of health between two incidents that touch.
            if after is None or after.start > incident.end:
                await backend.set_fault(None)

    async def sleep_until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, self.start + moment - time.monotonic()))

    async def _measure_lag(self) -> None:
        """How late this process's own loop was at most: where that is large, the machine was too busy to judge times."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self.lag = max(self.lag, time.monotonic() - before - 0.05)
