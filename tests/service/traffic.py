"""The traffic of the load generator: minute-long streams, clients that keep their connection, clients that do not."""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from chat import Question, ask
from http1 import ClosedWhileIdle, Connection, Failure
from ledger import Ledger


@dataclass(frozen=True)
class Settings:
    plain: int
    key: str
    # Without a port for TLS everything goes over the plain one.
    tls: int = 0
    ca: str = ""
    # How many streams run at once, of how many tokens, and how long one takes.
    streams: int = 40
    stream_tokens: int = 120
    stream_seconds: float = 60.0
    # Requests per second over connections of their own.
    new_per_second: float = 10.0
    # Clients that keep their connection: some ask again soon, some after a while. Together 10 requests a second.
    quick_clients: int = 4
    quick_pause_seconds: tuple[float, float] = (0.0, 1.0)
    slow_clients: int = 6
    slow_pause_seconds: tuple[float, float] = (1.0, 5.0)
    # How long a short request may take, and how much longer than planned a stream.
    patience_seconds: float = 45.0
    # The load ends by itself.
    seconds: float = 1200.0


class Traffic:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger()
        self.tls = ssl.create_default_context(cafile=settings.ca) if settings.tls else None
        self.going = asyncio.Event()
        self.going.set()
        # Requests under way, as numbers that only grow.
        self.short: set[int] = set()
        self.streams: set[int] = set()
        self.begun = 0
        self.changed = asyncio.Condition()
        self.tasks: set[asyncio.Task[None]] = set()
        # The same pauses in every run.
        self.random = random.Random(1)

    def start(self) -> None:
        settings = self.settings
        for number in range(settings.quick_clients):
            self._spawn(self._kept_client(number, settings.quick_pause_seconds))
        for number in range(settings.slow_clients):
            self._spawn(self._kept_client(number, settings.slow_pause_seconds))
        self._spawn(self._every(1 / settings.new_per_second, self._new_request))
        if settings.streams:
            self._spawn(self._every(settings.stream_seconds / settings.streams, self._stream))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Waits for a state of the requests under way."""
        async with self.changed:
            await self.changed.wait_for(reached)

    async def settle(self) -> None:
        """Waits until the short requests that are under way now have ended."""
        waited_for = set(self.short)
        await self.until(lambda: not waited_for & self.short)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # A mistake in the load itself must not go unnoticed: it counts like a failed request.
            self.ledger.failed("load", self.ledger.phase.name, "load_broken", repr(error))

    async def _every(self, seconds: float, make: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        """Starts one after another at fixed times, whatever becomes of those before."""
        clock, number = asyncio.get_running_loop().time, 0
        due = clock()
        while True:
            if not self.going.is_set():
                await self.going.wait()
                due = clock()
            self._spawn(make(number))
            number, due = number + 1, due + seconds
            await asyncio.sleep(max(0.0, due - clock()))

    async def _kept_client(self, number: int, pause_seconds: tuple[float, float]) -> None:
        """Keeps its connection between requests, until the server says or shows that it does not."""
        kept: list[Connection] = []
        question = Question(tokens=1, stream=number % 4 >= 2)
        while True:
            if not self.going.is_set():
                drop(kept)
                await self.going.wait()
            await self._judged("kept", self.short, self._ask_kept(number, kept, question))
            await asyncio.sleep(self.random.uniform(*pause_seconds))

    async def _ask_kept(self, number: int, kept: list[Connection], question: Question) -> None:
        """`kept` holds the connection, if there is one; a failure costs it."""
        connections, kept[:] = list(kept), []
        try:
            outcome = await ask(connections[0], self.settings.key, question) if connections else None
        except ClosedWhileIdle:
            self.ledger.phase.closed_idle += 1
            outcome = None
        if outcome is None:
            drop(connections)
            connections = [await self._open(number)]
            outcome = await ask(connections[0], self.settings.key, question)
        self.ledger.succeeded(f"kept_{question.form}", outcome.total_seconds)
        if outcome.reusable:
            kept[:] = connections
        else:
            drop(connections)

    async def _new_request(self, number: int) -> None:
        question = Question(tokens=1, stream=number % 4 >= 2)
        await self._judged("new", self.short, self._ask_once("new", number, question))

    async def _stream(self, number: int) -> None:
        question = Question(tokens=self.settings.stream_tokens, stream=True)
        await self._judged("long", self.streams, self._ask_once("long", number, question))

    def one_more_stream(self, tokens: int) -> None:
        question = Question(tokens, stream=True)
        self._spawn(self._judged("extra", self.streams, self._ask_once("extra", 0, question)))

    async def _ask_once(self, kind: str, number: int, question: Question) -> None:
        connections = [await self._open(number)]
        try:
            outcome = await ask(connections[0], self.settings.key, question)
        finally:
            drop(connections)
        self.ledger.succeeded(f"{kind}_{question.form}", outcome.total_seconds)
        if question.stream:
            self.ledger.succeeded(f"{kind}_first_token", outcome.first_seconds)

    async def _open(self, number: int) -> Connection:
        """Every other one is encrypted."""
        if self.tls is not None and number % 2 == 1:
            return await Connection.open(self.settings.tls, self.tls)
        return await Connection.open(self.settings.plain, None)

    async def _judged(self, request: str, under_way: set[int], work: Awaitable[None]) -> None:
        """Does `work`; whatever goes wrong with it is written down, once, and never tried again."""
        since, number, self.begun = self.ledger.phase.name, self.begun, self.begun + 1
        limit = self.settings.patience_seconds
        if under_way is self.streams:
            limit += self.settings.stream_seconds
        under_way.add(number)
        try:
            async with asyncio.timeout(limit):
                await work
        except Failure as failure:
            self.ledger.failed(request, since, failure.kind, failure.detail)
        except ClosedWhileIdle:
            self.ledger.failed(request, since, "cut", "a new connection was closed before anything was sent on it")
        except TimeoutError:
            self.ledger.failed(request, since, "timeout", f"not answered within {limit:.0f} s")
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            self.ledger.failed(request, since, "bad_answer", repr(error))
        finally:
            under_way.discard(number)
            async with self.changed:
                self.changed.notify_all()


def drop(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()
    connections.clear()
