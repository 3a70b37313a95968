"""The openai SDK's own tests, direct against its mock server and then through Firstlight:

    suite.py BINARY WORK [--sync]

WORK is what `run` unpacked: `sdk`, `official` and `steady`. Whatever passes direct must pass through Firstlight, on
both forms of URL. `--sync` runs only the tests with the sync client. What already fails direct is the mock's or the
document's matter and is only counted.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

import models

sys.path.append(str(Path(__file__).resolve().parent.parent))
import stack

# What the SDK's tests send; see tests/conftest.py in the SDK.
KEYS = ["My API Key", "My Admin API Key"]

# What OpenAI has and Azure OpenAI has not: first segments below /v1 that are passed on for this suite only.
EXTRA_PATHS = [
    "agents",
    "audio",
    "chatkit",
    "content_provenance_checks",
    "decisions",
    "live",
    "moderations",
    "organization",
    "projects",
    "safety",
    "skills",
    "vaults",
    "webhook_endpoints",
    "webhook_event_types",
]

# Every test runs with the sync client, the async one and that one on aiohttp. The `strict` variants send just what
# these do; the SDK only reads the same answer more strictly.
WHICH = "not strict"
WHICH_SYNC = "not strict and not Async"

# On both forms a request must arrive as it was sent; on this one only its model is another one.
RENAMED = "deployment-of-"

START_SECONDS = 30
# Half a minute on two free cores. Only a hang takes so long.
SUITE_SECONDS = 600
# So many are as good as more.
DIFFERENCES_MAX = 200
SHOWN = 40


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def steady(work, document):
    """The SDK's mock server, checked and started as the SDK's scripts/mock does it. Gives its address."""
    # It cannot be asked for a free port of its own choice.
    port = free_port()
    formats = [
        f"--validator-{where}-{what}-format=brackets" for where in ("query", "form") for what in ("array", "object")
    ]
    command = [str(work / "steady"), "--host", "127.0.0.1", "-p", str(port), "--quiet", *formats, str(document)]
    with (work / "steady.log").open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            address = f"127.0.0.1:{port}"
            wait_until_healthy(child, address, work / "steady.log")
            yield address
        finally:
            child.terminate()
            child.wait(stack.STOP_SECONDS)


def wait_until_healthy(child, address, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            with urllib.request.urlopen(f"http://{address}/_x-steady/health", timeout=1):
                return
        time.sleep(0.05)
    raise SystemExit(f"suite.py: steady did not start within {START_SECONDS} s:\n{log.read_text()}")


@contextlib.contextmanager
def firstlight(binary, upstream, deployments, directory):
    """A Firstlight with steady as its one backend. Gives its address."""
    config = directory / "firstlight.yaml"
    # JSON is YAML.
    config.write_text(json.dumps(configuration(upstream, deployments), indent=2))
    process = stack.Process(
        "firstlight", [binary, "run", "--config", str(config)], dict(os.environ), "stderr", directory
    )
    try:
        yield stack.listening(process)
    finally:
        code = process.stop()
        if code:
            raise SystemExit(f"suite.py: Firstlight ended with {code}:\n{process.tail()}")


def configuration(upstream, deployments):
    return {
        "listen": [{"address": "127.0.0.1:0"}],
        "admin": {"address": "none", "socket": "none"},
        "state_directory": "none",
        "backends": {"steady": {"endpoint": f"http://{upstream}", "auth": "none"}},
        "models": {
            model: {"backends": {"steady": deployment}, "probe": "off"} for model, deployment in deployments.items()
        },
        "apps": {"sdk": {"api_keys": [{**stack.hashed(key), "name": key.replace(" ", "-")} for key in KEYS]}},
        "extra_paths": EXTRA_PATHS,
        # What steady makes up is no stream of tokens: nothing is to be learned from it, raced or waited for.
        "routing": {"policy": "ema", "probe": {"interval_seconds": 0}},
        "retry": {"max_attempts": 1},
        "drain_seconds": 1,
    }


def run_tests(name, base_url, work, which, most_failures=None):
    """One run of the SDK's tests. Gives the outcome of each test: None where it passed, else what went wrong.

    After `most_failures` the run ends: the SDK tries failed requests again, so that many of them take long."""
    report = work / f"{name}.xml"
    report.unlink(missing_ok=True)
    # The SDK's own options ask for a process per core and for its slowest tests.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-o", "addopts=", "-p", "no:cacheprovider"]
    command += ["--tb=short", f"--junitxml={report}", "-k", which, "tests/api_resources"]
    if most_failures is not None:
        command += [f"--maxfail={most_failures}"]
    environment = {**os.environ, "TEST_API_BASE_URL": base_url, "DEFER_PYDANTIC_BUILD": "false"}
    started = time.monotonic()
    with (work / f"{name}.log").open("wb") as log:
        try:
            subprocess.run(
                command, cwd=work / "sdk", env=environment, stdout=log, stderr=log, timeout=SUITE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise SystemExit(f"suite.py: {name} took more than {SUITE_SECONDS} s; see {log.name}") from None
    if not report.exists():
        raise SystemExit(f"suite.py: {name} ran no test:\n{(work / f'{name}.log').read_text()[-4000:]}")
    outcomes = read_report(report)
    counts = [sum(outcome is kind for outcome in outcomes.values()) for kind in (None, SKIPPED)]
    failed = len(outcomes) - sum(counts)
    print(
        f"{name}: {counts[0]} passed, {failed} failed, {counts[1]} skipped in {time.monotonic() - started:.0f} s",
        flush=True,
    )
    return outcomes


SKIPPED = "skipped"


def read_report(report):
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        outcome = None
        for child in case:
            if child.tag == "skipped":
                outcome = SKIPPED
            elif child.tag in ("failure", "error"):
                outcome = (child.get("message") or child.text or child.tag).splitlines()[0][:200]
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return outcomes


def differences(direct, through):
    """What passes direct and not through, with the reason; `not run` is what a run that was ended early left out."""
    return {
        test: through.get(test, "not run")
        for test, outcome in direct.items()
        if outcome is None and through.get(test, "not run") is not None
    }


def tell(name, different):
    print(f"{name}: {len(different)} tests pass direct and not through Firstlight", flush=True)
    # Those that have a reason first.
    for test, reason in sorted(different.items(), key=lambda item: (item[1] == "not run", item[0]))[:SHOWN]:
        print(f"  {test}\n    {reason}")
    if len(different) > SHOWN:
        print(f"  and {len(different) - SHOWN} more")


def main(binary, work, *options):
    which = WHICH_SYNC if options == ("--sync",) else WHICH
    # A terminated runner must not leave its children behind: leave through the `finally`s above.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = Path(work)
    # A name with a colon is none that a deployment can have.
    named = [model for model in models.named(work / "sdk" / "tests" / "api_resources") if ":" not in model]
    forms = {
        "openai-v1": ("/openai/v1", {model: RENAMED + model for model in named}),
        "plain-v1": ("/v1", {model: model for model in named}),
    }
    found = 0
    with tempfile.TemporaryDirectory(prefix="firstlight-sdk-") as directory:
        with steady(work, work / "document.json") as upstream:
            direct = run_tests("direct", f"http://{upstream}/openai/v1", work, which)
            most = sum(outcome not in (None, SKIPPED) for outcome in direct.values()) + DIFFERENCES_MAX
            for name, (prefix, deployments) in forms.items():
                with firstlight(binary, upstream, deployments, Path(directory)) as address:
                    different = differences(direct, run_tests(name, f"http://{address}{prefix}", work, which, most))
                tell(name, different)
                found += len(different)
    if not any(outcome is None for outcome in direct.values()):
        raise SystemExit("suite.py: no test passes direct: nothing was compared")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
