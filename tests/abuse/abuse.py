"""Black-box abuse of a Firstlight: abuse.py BINARY [PART...]

Parts: slow, bursts, frames, framing, vtc, bodies; all of them without any. Load goes to loopback only.
"""

import contextlib
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import bodies
import bursts
import frames
import framing
import slow
import vtc

import service
from recorder import Recorder

# Behind the first is a mock, behind the others an upstream that records what it gets.
BEHIND_MOCK = {"slow": slow, "bursts": bursts, "frames": frames}
BEHIND_RECORDER = {"framing": framing, "bodies": bodies}


def main(binary, *wanted):
    unknown = set(wanted) - {*BEHIND_MOCK, *BEHIND_RECORDER, "vtc"}
    if unknown:
        raise SystemExit(f"abuse.py: no such part: {', '.join(sorted(unknown))}\n{__doc__}")
    # A terminated runner must not leave its children behind: leave through the `with`s below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A thousand connections, and as many in the process that is attacked.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    failures = service.Failures()
    with tempfile.TemporaryDirectory(prefix="firstlight-abuse-") as directory:
        directory = Path(directory)
        for name, part in BEHIND_MOCK.items():
            with contextlib.ExitStack() as stack:
                if not wanted or name in wanted:
                    upstreams = stack.enter_context(service.mock(binary, directory))
                    abuse(name, part, binary, upstreams, directory, failures)
        recorder = Recorder()
        for name, part in BEHIND_RECORDER.items():
            if not wanted or name in wanted:
                part.recorder = recorder
                abuse(name, part, binary, {"upstream": recorder.address}, directory, failures)
        recorder.stop()
        if not wanted or "vtc" in wanted:
            vtc.upstream = vtc.free_address()
            abuse("vtc", vtc, binary, {"upstream": vtc.upstream}, directory, failures)
    print(f"\n{len(failures.told)} failures" if failures.told else "\nNothing failed.")
    for problem in failures.told:
        print(f"  {problem}")
    return 1 if failures.told else 0


def abuse(name, part, binary, upstreams, directory, failures):
    """One part against a Firstlight of its own."""
    print(f"{name}: {part.__doc__.splitlines()[0]}", flush=True)
    started = time.monotonic()
    with service.firstlight(binary, upstreams, directory) as running:
        part.run(running, directory, failures)
        # Behind that one is nobody any more.
        served = part is vtc or service.good(running)
        failures.check(served is True, f"{name}: a good client afterwards: {served}")
        failures.check(running.alive(), f"{name}: the process has died")
    failures.check(running.process.child.returncode == 0, f"{name}: it ended with {running.process.child.returncode}")
    print(f"  {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    sys.exit(main(*sys.argv[1:]))
