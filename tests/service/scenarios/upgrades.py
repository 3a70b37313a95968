"""Another process takes over: by command, by package, and when the new one is no good."""

from checks import wait_until
from scenarios.world import World
from texts import BINARY, UNIT, UPGRADED, UPGRADE_FAILED

UPGRADES = 10
# From one upgrade to the next: some requests have to be made in between.
PAUSE_SECONDS = 3
# Old processes end when their last stream has.
STREAM_END_SECONDS = 100

# What /usr/bin/firstlight is replaced with, and its mode.
BROKEN_BINARIES = {
    "is no program": ("This is a text.\n", 0o644),
    "exits at once": ("#!/bin/sh\nexit 1\n", 0o755),
    "hangs": ("#!/bin/sh\nexec sleep infinity\n", 0o755),
}


def ten_in_a_row(world: World) -> None:
    service, checks = world.service, world.checks
    with world.under_load(streams=20) as load:
        journal = service.journal()
        pids = [service.pid()]
        for number in range(1, UPGRADES + 1):
            ended = service.firstlight("upgrade")
            pids.append(service.pid())
            new = ended.returncode == 0 and pids[-1] not in (0, pids[-2])
            fact = f"{pids[-2]} -> {pids[-1]}" if new else f"{ended.returncode}: {ended.stderr.strip()}"
            checks.check(new, f"upgrade {number}: another process serves", fact)
            checks.equal(service.main_pid(), pids[-1], f"upgrade {number}: systemd follows it")
            load.watch(PAUSE_SECONDS)
        world.check_said(journal, UPGRADED, times=UPGRADES)
        took = wait_until(lambda: service.processes() == [pids[-1]], STREAM_END_SECONDS)
        checks.check(took is not None, "the old processes end with their streams", f"{service.processes()} after {took} s")


def to_broken_binaries(world: World) -> None:
    service, checks, container = world.service, world.checks, world.container
    container.must("cp", "--preserve", BINARY, "/opt/judge/good")
    for what, (text, mode) in BROKEN_BINARIES.items():
        with world.under_load(streams=5) as load:
            before, journal = service.pid(), service.journal()
            container.write(BINARY, text, mode)
            ended = service.firstlight("upgrade")
            checks.equal(ended.returncode, 1, f"the new binary {what}: firstlight upgrade ends with 1")
            checks.check(ended.stderr.strip(), f"the new binary {what}: a reason is printed", ended.stderr.strip()[:200])
            checks.check(before and service.pid() == before, f"the new binary {what}: the old process serves", before)
            checks.equal(service.main_pid(), before, f"the new binary {what}: systemd follows the old process")
            world.check_said(journal, UPGRADE_FAILED)
            alone = wait_until(lambda: service.processes() == [before], 5)
            checks.check(alone is not None, f"the new binary {what}: nothing of it is left", service.processes())
            load.watch(PAUSE_SECONDS)
    container.must("sh", "-c", f"cp --preserve /opt/judge/good {BINARY}.new && mv {BINARY}.new {BINARY}")


def by_package(world: World) -> None:
    service, checks = world.service, world.checks
    with world.under_load(streams=20) as load:
        before, journal = service.pid(), service.journal()
        ended = world.container.run("dpkg", "--install", "/opt/judge/new.deb")
        checks.equal(ended.returncode, 0, f"dpkg --install of a newer version ({ended.stderr.strip()[-200:]})")
        changed = wait_until(lambda: service.pid() not in (0, before), 20)
        checks.check(changed is not None, "another process serves", f"{before} -> {service.pid()}")
        checks.equal(service.main_pid(), service.pid(), "systemd follows it")
        world.check_said(journal, UPGRADED)
        version = world.container.output("dpkg-query", "--show", "--showformat=${Version}", "firstlight")
        checks.check(version.startswith("0.0.2"), "the newer version is installed", version)
        load.watch(PAUSE_SECONDS)


def supervision(world: World) -> None:
    """After an upgrade systemd must still know whose end to wait for."""
    service, checks = world.service, world.checks
    with world.under_load(streams=20) as load:
        checks.equal(service.show("ActiveState"), "active", "the unit is active")
        checks.equal(service.main_pid(), service.pid(), "MainPID is the serving process")
        load.pause()
        stop = world.container.start("systemctl", "stop", UNIT)
        checks.check(wait_until(lambda: refuses(world), 15) is not None, "new connections are refused", "by then")
        running = load.tell("pause")["streams"]
        checks.check(stop.poll() is None and running > 0, "the stop waits for streams", f"{running} run")
        load.drained()
        # The end of the last stream ends it.
        stop_ended = wait_until(lambda: stop.poll() is not None, 15)
        checks.check(stop_ended is not None, "the stop ends after the last stream", f"{stop_ended} s after it")
        checks.equal(stop.wait(), 0, "systemctl stop succeeds")
        checks.equal(service.show("Result"), "success", "the unit ended well")
        checks.equal(service.systemctl("start", UNIT).returncode, 0, "systemctl start succeeds")
        load.resume()
        load.watch(PAUSE_SECONDS)


def refuses(world: World) -> bool:
    """Whether a new connection to the plain listener is refused: curl's exit code 7."""
    return world.container.run("curl", "--silent", "--max-time", "2", "http://127.0.0.1:8080/").returncode == 7
