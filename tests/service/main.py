"""Boots a Debian, installs Firstlight and judges it while load runs. See tests/service/run."""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import installation
from checks import Broken, Checks
from container import Container
from scenarios import SCENARIOS, World
from service import Service

REPOSITORY = Path(__file__).resolve().parents[2]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/service/run")
    parser.add_argument("--tree", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument(
        "--packages", nargs=2, type=Path, metavar=("OLD", "NEW"), help="two versions, instead of those that scripts/package makes"
    )
    default = Path(os.environ["CARGO_TARGET_DIR"]) / "debug/firstlight"
    told = "is packed and plays the fake Azure, instead of target/debug/firstlight"
    parser.add_argument("--binary", type=Path, default=default, help=told)
    names = [name for name, _ in SCENARIOS]
    parser.add_argument("--only", metavar="NAME,...", help=f"these scenarios alone, of {', '.join(names)}")
    return parser.parse_args()


def make_packages(binary: Path) -> list[Path]:
    """Two packages that differ in their version only."""
    script, made = REPOSITORY / "scripts/package", []
    for version in ["0.0.1", "0.0.2"]:
        command = [str(script), "--profile", "dev", "--version", version, "--binary", str(binary)]
        # They are used once, so compressing them would only take time.
        environment = {**os.environ, "DPKG_DEB_COMPRESSOR_TYPE": "none"}
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        made.append(Path(told.splitlines()[-1]))
    return made


def keep_evidence(world: World, directory: Path) -> None:
    """Puts what a failure is understood with into a directory that stays."""
    container = world.service.container
    directory.mkdir(parents=True)
    (directory / "journal").write_text(container.output("journalctl", "--no-pager", "--output=short-precise"))
    (directory / "status").write_text(container.output("systemctl", "status", "--full", "--no-pager"))
    if world.load is not None:
        with contextlib.suppress(Broken):
            (directory / "load.json").write_text(world.load_report())
    tail = container.output("journalctl", "--no-pager", "--lines=400", "--unit=firstlight", "--output=cat")
    # The access log is in the file; here it would hide the rest.
    for line in [line for line in tail.splitlines() if '"request_id"' not in line][-25:]:
        print(f"  journal: {line[:300]}")


def judge(world: World, wanted: list[str]) -> None:
    for name, scenario in SCENARIOS:
        if name not in wanted:
            continue
        world.checks.scenario = name
        start = time.monotonic()
        try:
            scenario(world)
        except Broken as broken:
            world.checks.check(False, "can go on", broken)
        print(f"---- {name}: {time.monotonic() - start:.0f} s", flush=True)


def run(options: argparse.Namespace, work: Path, checks: Checks) -> None:
    packages = options.packages or make_packages(options.binary)
    wanted = options.only.split(",") if options.only else [name for name, _ in SCENARIOS]
    root = work / "root"
    root.mkdir()
    subprocess.run(["tar", "--numeric-owner", "-xpf", options.tree, "-C", root], check=True)
    installation.put_tools(root, options.binary)
    for name, package in zip(["old.deb", "new.deb"], packages, strict=True):
        shutil.copy(package, root / "opt/judge" / name)
    start = time.monotonic()
    with Container(root, work / "console") as container:
        print(f"---- booted: {time.monotonic() - start:.1f} s", flush=True)
        world = World(Service(container), checks)
        try:
            with contextlib.closing(world):
                judge(world, wanted)
                world.report()
                if checks.failed:
                    evidence = Path(os.environ["CARGO_TARGET_DIR"]) / "service-failure" / time.strftime("%Y%m%d-%H%M%S")
                    keep_evidence(world, evidence)
                    print(f"The journal and the load's report are in {evidence}")
        except BaseException:
            checks.failed.append("interrupted")
            raise


def main() -> int:
    options = arguments()
    checks = Checks()
    # A terminated run must not leave its container behind: leave through the `finally`s.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = Path(tempfile.mkdtemp(prefix="firstlight-service-"))
    try:
        run(options, work, checks)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Broken as broken:
        checks.check(False, "the container runs", broken)
    finally:
        shutil.rmtree(work)
    print(checks.last_line())
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
