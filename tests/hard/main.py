"""Raw cases against a Firstlight executable. See tests/hard/run."""

import argparse
import asyncio
import fnmatch
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cases
from cases import Case
from product import Broken
from world import Options

# The longest case takes about 85 s; what takes longer hangs.
CASE_SECONDS = 150
HERE = Path(__file__).resolve()


def chosen(options: argparse.Namespace) -> list[Case]:
    every = cases.every()
    if options.case == ["all"]:
        return [case for case in every if case.quick or not options.quick]
    found = [case for case in every if any(matches(case.name, pattern) for pattern in options.case)]
    if not found:
        raise SystemExit(f"tests/hard/run: no such case; --list names them: {' '.join(options.case)}")
    return found


def matches(name: str, pattern: str) -> bool:
    return name == pattern or name.startswith(f"{pattern}/") or fnmatch.fnmatchcase(name, pattern)


async def one(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Runs a case in this process."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    directory = options.logs
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="firstlight-hard-") as temporary:
            verdict = await case.run(Options(options.binary, Path(temporary), options.seed, options.quick))
    else:
        directory = Path(directory) / case.name.replace("/", "-")
        directory.mkdir(parents=True, exist_ok=True)
        verdict = await case.run(Options(options.binary, directory, options.seed, options.quick))
    return verdict.json()


async def apart(case: Case, options: argparse.Namespace, turns: asyncio.Semaphore) -> dict[str, Any]:
    """Runs a case in a process of its own, which is ended where it hangs."""
    command = [sys.executable, "-B", str(HERE), "--one", "--case", case.name, "--binary", options.binary]
    command += ["--seed", str(options.seed), *(["--quick"] if options.quick else [])]
    command += ["--logs", options.logs] if options.logs else []
    async with turns:
        start = time.monotonic()
        child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert child.stdout is not None
        try:
            async with asyncio.timeout(CASE_SECONDS):
                said = await child.stdout.read()
                await child.wait()
        except (TimeoutError, asyncio.CancelledError):
            child.terminate()
            await child.wait()
            raise
    found = {"passed": False, "bars": [], "figures": {}, "broken": f"ended with {child.returncode}"}
    if said.strip():
        found = json.loads(said.splitlines()[-1])
    result = {"case": case.name, "item": case.item, "seconds": round(time.monotonic() - start, 1), **found}
    print(json.dumps(result), flush=True)
    return result


async def everything(options: argparse.Namespace) -> int:
    turns = asyncio.Semaphore(options.parallel)
    start = time.monotonic()
    results = await asyncio.gather(*(apart(case, options, turns) for case in chosen(options)))
    missed = [result for result in results if not result["passed"]]
    for result in missed:
        bars = "; ".join(f"{b['name']}: {b['value']:g}, wanted {b['wanted']}" for b in result["bars"] if not b["met"])
        print(f"FAILED {result['case']}: {bars or result.get('broken')}", file=sys.stderr)
    took = time.monotonic() - start
    print(f"{len(results) - len(missed)} of {len(results)} cases passed in {took:.0f} s", file=sys.stderr)
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/hard/run")
    default = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "debug/firstlight"
    parser.add_argument("--case", nargs="+", default=["all"], help="names, first parts of names, or patterns; all")
    parser.add_argument("--binary", default=str(default), help="the executable; instead of target/debug/firstlight")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter cases: below five minutes")
    parser.add_argument("--parallel", type=int, default=3, help="cases at a time")
    parser.add_argument("--logs", help="a directory that keeps the logs of each case")
    parser.add_argument("--list", action="store_true", help="names the cases")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.list:
        print("\n".join(case.name for case in chosen(options)))
        return 0
    if not options.one:
        return asyncio.run(everything(options))
    try:
        print(json.dumps(asyncio.run(one(chosen(options)[0], options))))
    except Broken as broken:
        print(json.dumps({"passed": False, "bars": [], "figures": {}, "broken": str(broken)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
