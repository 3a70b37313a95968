"""A soak of a Firstlight executable: mixed load, reloads and one incident after the other. See tests/soak/run."""

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "hard"))

import client
import traffic
from client import Outcome
from ledger import Judged, lines, report
from product import Broken
from schedule import Incident, Schedule, Slot, schedule
from traffic import Planned, Who
from world import Options, World

REGIONS = 3
APP = "soak"
# How long a client waits for the whole of a response; in a short soak less.
PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS = 60.0, 25.0
# How many things may be named by later requests; the oldest are forgotten.
REMEMBERED = 200


class Stored:
    """What earlier requests have left on the backends: the ends of chains, and files."""

    def __init__(self) -> None:
        self.responses: list[str] = []
        self.files: list[str] = []

    def note(self, outcome: Outcome) -> None:
        if not outcome.ok or outcome.identity is None or outcome.request.method != "POST":
            return
        kind = outcome.request.kind
        if kind == "file_upload":
            self.files = [*self.files, outcome.identity][-REMEMBERED:]
        elif kind in ("response_first", "response_chained", "response_stored"):
            self.responses = [*self.responses, outcome.identity][-REMEMBERED:]


def build(slot: Slot, stored: Stored) -> Planned:
    """The request of a slot. What needs something stored is a first link where nothing is."""
    who = Who(slot.at, slot.number, APP)
    streamed = slot.dice < 0.5
    chosen = random.Random(slot.dice)
    match slot.kind:
        case "chat_streamed" | "chat":
            return traffic.chat(who, slot.kind == "chat_streamed")
        case "embeddings":
            return traffic.embed(who)
        case "response_unstored":
            return traffic.respond(who, streamed, store=False)
        case "response_stored":
            return traffic.respond(who, streamed, store=True)
        case "response_chained" if stored.responses:
            return traffic.respond(who, streamed, chosen.choice(stored.responses))
        case "response_read" if stored.responses:
            return traffic.read(who, slot.kind, f"/openai/v1/responses/{chosen.choice(stored.responses)}")
        case "file_read" if stored.files:
            return traffic.read(who, slot.kind, f"/openai/v1/files/{chosen.choice(stored.files)}")
        case "file_read" | "file_upload":
            return traffic.upload(who)
        case _:
            return traffic.respond(who, streamed)


async def send_all(world: World, plan: Schedule) -> list[Outcome]:
    """An open loop: each request at its time."""
    stored = Stored()
    key = world.product.setup.keys[APP]
    patience = SHORT_PATIENCE_SECONDS if plan.short else PATIENCE_SECONDS

    async def send(slot: Slot) -> Outcome:
        outcome = await client.send(world.product.port, key, build(slot, stored), patience)
        stored.note(outcome)
        return outcome

    tasks = []
    for slot in plan.slots:
        await world.sleep_until(slot.at)
        tasks.append(asyncio.create_task(send(slot)))
    return list(await asyncio.gather(*tasks))


async def make_incidents(world: World, plan: Schedule) -> None:
    for incident in plan.incidents:
        await world.sleep_until(incident.start)
        backend = world.backends[incident.region]
        print(f"{incident.start:7.1f} s  {backend.name}: {incident.fault.name}", file=sys.stderr, flush=True)
        await backend.set_fault(incident.fault)
        await world.sleep_until(incident.end)
        await backend.set_fault(None)


async def make_reloads(world: World, plan: Schedule, problems: list[str]) -> None:
    """By command and by signal in turn."""
    for number, moment in enumerate(plan.reloads):
        await world.sleep_until(moment)
        if problem := await world.product.reload(by_signal=number % 2 == 1):
            problems.append(f"at {moment:.0f} s: {problem}")


def judge(world: World, plan: Schedule, outcomes: list[Outcome]) -> list[Judged]:
    """Puts what each request met at the backends beside what its client saw."""
    met: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for backend in world.backends:
        for arrival in backend.of_clients():
            if arrival.number is not None:
                met[arrival.number].append((arrival.at, arrival.met))
    found = []
    for outcome in outcomes:
        names = [name for _, name in sorted(met[outcome.request.number])]
        found.append(Judged(outcome, names, during(plan.incidents, outcome.request.at)))
    return found


def during(incidents: list[Incident], moment: float) -> str:
    """The fault of a time; also for a while after its end, since what it did may last."""
    names = [i.fault.name for i in incidents if i.start <= moment < i.end]
    after = [f"after {i.fault.name}" for i in incidents if i.end <= moment < i.end + 15.0]
    return (names + after + ["none"])[0]


async def soak(options: argparse.Namespace, directory: Path) -> int:
    plan = schedule(options.minutes * 60.0, options.rps, options.seed, REGIONS)
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    problems: list[str] = []
    async with World(Options(options.binary, directory, options.seed, False), REGIONS, [APP]) as world:
        world.start = time.monotonic()
        events = [
            asyncio.create_task(make_incidents(world, plan)),
            asyncio.create_task(make_reloads(world, plan, problems)),
        ]
        try:
            outcomes = await send_all(world, plan)
            await asyncio.gather(*events)
        finally:
            for event in events:
                event.cancel()
        if not world.product.alive():
            raise Broken("the process has died")
        found = report(judge(world, plan, outcomes), problems)
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(lines(found)))
        for example in found["elsewhere_examples"]:
            print(f"  {json.dumps(example)}")
    return 1 if found["could_have_been_answered_elsewhere"] or problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/soak/run")
    default = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "debug/firstlight"
    parser.add_argument("--minutes", type=float, default=20.0, help="how long requests are sent, 0.5 to 240")
    parser.add_argument("--rps", type=float, default=15.0, help="requests a second, at most 100")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", default=str(default), help="the executable; instead of target/debug/firstlight")
    parser.add_argument("--json", action="store_true", help="prints the report as JSON")
    parser.add_argument("--logs", help="a directory that keeps configuration and logs")
    options = parser.parse_args()
    if not (0.5 <= options.minutes <= 240 and 0 < options.rps <= 100):
        parser.error("--minutes is 0.5 to 240, --rps above 0 and at most 100")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        if options.logs:
            Path(options.logs).mkdir(parents=True, exist_ok=True)
            return asyncio.run(soak(options, Path(options.logs)))
        with tempfile.TemporaryDirectory(prefix="firstlight-soak-") as directory:
            return asyncio.run(soak(options, Path(directory)))
    except Broken as broken:
        print(f"tests/soak/run: {broken}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 130


if __name__ == "__main__":
    sys.exit(main())
