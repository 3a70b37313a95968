"""The process dies, hangs, or does not start."""

from typing import Any

import texts
from checks import wait_until
from scenarios.world import World
from texts import CERTIFICATE, KEY, RECALLED, UNIT

RESTART_SECONDS = 5
# WatchdogSec, and the restart after it.
WATCHDOG_SECONDS = 60


def killed(world: World) -> None:
    service, checks = world.service, world.checks
    with world.under_load(streams=5, allowed=True) as load:
        load.watch(5)
        before, learned, journal = service.pid(), known(service.status()), service.journal()
        world.container.must("kill", "-KILL", str(before))
        took = wait_until(lambda: service.pid() not in (0, before) and service.ready(), RESTART_SECONDS)
        checks.need(took is not None, "systemd restarts it", f"{before} -> {service.pid()} after {took} s")
        checks.check(learned > 0 and known(service.status()) == learned, "it knows what is normal, as before", learned)
        world.check_said(journal, RECALLED)
    with world.under_load(streams=5) as load:
        load.watch(3)


def known(status: dict[str, Any]) -> int:
    """How many targets it knows the normal time of."""
    targets = [target for model in status.get("models", []) for target in model["targets"]]
    return sum(target["base_ms"] is not None for target in targets)


def hung(world: World) -> None:
    service, checks = world.service, world.checks
    with world.under_load(streams=5, allowed=True):
        before = service.pid()
        world.container.must("kill", "-STOP", str(before))
        changed = wait_until(lambda: service.main_pid() not in (0, before), WATCHDOG_SECONDS)
        checks.check(changed is not None, "the watchdog ends and restarts it", f"after {changed} s")
        world.need_ready("it serves again")
    with world.under_load(streams=5) as load:
        load.watch(3)


def start_refused(world: World) -> None:
    """One clear line, the documented exit code, and a start once it is repaired. No load: nothing serves."""
    container, service = world.container, world.service
    world.quiet_load()
    service.systemctl("stop", UNIT)

    taker = "import socket,time; s=socket.create_server(('127.0.0.1',8080)); time.sleep(600)"
    container.must("systemd-run", "--quiet", "--unit=taker", "python3", "-c", taker)
    wait_until(lambda: "8080" in container.output("ss", "-Hltn", "sport = :8080"), 10)
    check_refused(world, "a taken port", texts.PORT_TAKEN, {texts.EXIT_CANNOT_START})
    container.must("systemctl", "stop", "taker")

    owner = container.must("stat", "--format=%a %u:%g", KEY).split()
    container.must("chown", "root:root", KEY)
    container.must("chmod", "600", KEY)
    codes = {texts.EXIT_PROBLEMS, texts.EXIT_CANNOT_START}
    check_refused(world, "an unreadable key", texts.KEY_UNREADABLE, codes)
    container.must("chown", owner[1], KEY)
    container.must("chmod", owner[0], KEY)

    container.must("cp", "--preserve", CERTIFICATE, "/opt/judge/good.crt")
    container.must("sh", "-c", f"echo 'no certificate' >{CERTIFICATE}")
    check_refused(world, "a bad certificate", texts.CERTIFICATE_BAD, codes)
    container.must("cp", "--preserve", "/opt/judge/good.crt", CERTIFICATE)

    service.systemctl("reset-failed", UNIT)
    world.checks.equal(service.systemctl("start", UNIT).returncode, 0, "repaired, it starts")
    world.need_ready("repaired, it serves")


def check_refused(world: World, what: str, told: str, codes: set[int]) -> None:
    service, checks = world.service, world.checks
    service.systemctl("reset-failed", UNIT)
    journal = service.journal()
    checks.check(service.systemctl("start", UNIT).returncode != 0, f"{what}: the start fails", "as it should")
    wait_until(lambda: journal.lines_with("code=exited, status="), 5)
    lines = journal.lines_with(told)
    checks.check(len(lines) == 1, f"{what}: one line tells", lines)
    ends = journal.lines_with("code=exited, status=")
    code = int(ends[0].rpartition("status=")[2].split("/")[0]) if ends else -1
    checks.check(code in codes, f"{what}: the exit code is documented", code)
    service.systemctl("stop", UNIT)
