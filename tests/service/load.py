"""Steady load on one Firstlight: load.py '{"plain": 8080, "tls": 8443, ...}', see traffic.Settings.

It obeys lines on standard input, and answers each with a line of JSON on standard output:

    phase NAME   waits for the short requests under way, tells about the present phase and begins NAME
    pause        starts nothing more and waits for the short requests under way; streams go on
    resume       goes on
    streams N    waits until N streams run
    stream N     begins one more stream, of N tokens, even while nothing else is started
    drained      waits until no stream runs
    report       tells about all phases and all failures

It ends with its input, and after Settings.seconds at the latest.
"""

import asyncio
import json
import sys
from typing import Any

from traffic import Settings, Traffic


async def obey(traffic: Traffic, line: str) -> dict[str, Any]:
    command, _, argument = line.partition(" ")
    match command:
        case "phase":
            await traffic.settle()
            return traffic.ledger.next_phase(argument).summary()
        case "pause":
            traffic.going.clear()
            await traffic.until(lambda: not traffic.short)
        case "resume":
            traffic.going.set()
        case "streams":
            await traffic.until(lambda: len(traffic.streams) >= int(argument))
        case "stream":
            traffic.one_more_stream(int(argument))
        case "drained":
            await traffic.until(lambda: not traffic.streams)
        case "report":
            phases = [phase.summary() for phase in traffic.ledger.phases]
            return {"phases": phases, "failures": traffic.ledger.failures}
        case _:
            raise SystemExit(f"load.py: unknown command {line!r}")
    return {"short": len(traffic.short), "streams": len(traffic.streams)}


async def serve(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    traffic = Traffic(settings)
    traffic.start()
    try:
        async with asyncio.timeout(settings.seconds):
            while line := (await lines.readline()).decode().strip():
                print(json.dumps(await obey(traffic, line)), flush=True)
    finally:
        await traffic.stop()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    asyncio.run(serve(Settings(**json.loads(sys.argv[1]))))
