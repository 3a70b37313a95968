"""Another process takes over: by command, by signal, by package, and when the new one is no good."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from checks import wait_until
from scenarios.world import World
from texts import BINARY, RELOADED, UNDER_WAY, UNIT, UPGRADE_FAILED, UPGRADE_REFUSED, UPGRADED

UPGRADES = 10
# From one upgrade to the next: some requests have to be made in between.
PAUSE_SECONDS = 2
# Old processes end when their last stream has.
STREAM_END_SECONDS = 100

# What /usr/bin/firstlight is replaced with, and its mode.
BROKEN_BINARIES = {
    "is no program": ("This is a text.\n", 0o644),
    "exits at once": ("#!/bin/sh\nexit 1\n", 0o755),
    "hangs": ("#!/bin/sh\nexec sleep infinity\n", 0o755),
}


def ten_in_a_row(world: World) -> None:
    """Nobody waits for the old processes here: all of them drain at once."""
    service = world.service
    with world.under_load(streams=20) as load:
        journal = service.journal()
        for number in range(1, UPGRADES + 1):
            upgrade(world, f"upgrade {number}", lambda: service.firstlight("upgrade").returncode)
            load.watch(PAUSE_SECONDS)
        by_signal = ["kill", "--signal=USR2", "--kill-whom=main", UNIT]
        upgrade(world, "upgrade by signal", lambda: service.systemctl(*by_signal).returncode)
        load.watch(PAUSE_SECONDS)
        world.check_said(journal, UPGRADED, times=UPGRADES + 1)


def upgrade(world: World, name: str, order: Callable[[], int]) -> None:
    """Orders an upgrade; it must be there soon afterwards, and systemd must follow it."""
    service, before = world.service, world.service.pid()
    code = order()
    wait_until(lambda: service.pid() not in (0, before) and service.main_pid() == service.pid(), 5)
    after = service.pid()
    world.checks.check(code == 0 and after not in (0, before), f"{name}: another process serves", f"{before} -> {after}")
    world.checks.equal(service.main_pid(), after, f"{name}: systemd follows it")


def old_processes_end(world: World) -> None:
    """Those of all the upgrades before."""
    service = world.service
    took = wait_until(lambda: service.processes() == [service.main_pid()], STREAM_END_SECONDS)
    found = service.processes()
    world.checks.check(took is not None, "the old processes have ended with their streams", f"{found} after {took} s")


def to_broken_binaries(world: World) -> None:
    with binary_kept(world):
        for what, (text, mode) in BROKEN_BINARIES.items():
            with world.under_load(streams=5) as load:
                world.container.write(BINARY, text, mode)
                to_broken_binary(world, f"the new binary {what}", meanwhile=what == "hangs")
                load.watch(PAUSE_SECONDS)


def to_broken_binary(world: World, what: str, meanwhile: bool) -> None:
    service, checks = world.service, world.checks
    before, there, journal = service.pid(), set(service.processes()), service.journal()
    with ThreadPoolExecutor() as threads:
        upgrading = threads.submit(service.firstlight, "upgrade")
        if meanwhile:
            orders_meanwhile(world)
        ended = upgrading.result()
    checks.equal(ended.returncode, 1, f"{what}: firstlight upgrade ends with 1")
    checks.check(ended.stderr.strip(), f"{what}: a reason is printed", ended.stderr.strip()[:200])
    checks.check(before and service.pid() == before, f"{what}: the old process serves", before)
    checks.equal(service.main_pid(), before, f"{what}: systemd follows the old process")
    world.check_said(journal, UPGRADE_FAILED)
    alone = wait_until(lambda: not set(service.processes()) - there, 5)
    checks.check(alone is not None, f"{what}: nothing of it is left", service.processes())


def orders_meanwhile(world: World) -> None:
    """While a new process hangs the old one obeys what can be obeyed, and refuses the rest in a line."""
    service, checks, journal = world.service, world.checks, world.service.journal()
    need_running(world, "sleep infinity")
    second = service.firstlight("upgrade")
    checks.check(second.returncode == 1 and UNDER_WAY in second.stderr, "a second upgrade is refused", second.stderr.strip())
    world.check_said(journal, UPGRADE_REFUSED)
    service.systemctl("kill", "--signal=USR2", "--kill-whom=main", UNIT)
    world.check_said(journal, UPGRADE_REFUSED, times=2)
    drain = service.firstlight("backend", "drain", "eastus2")
    checks.check(drain.returncode == 1 and UNDER_WAY in drain.stderr, "a drain has to wait", drain.stderr.strip())
    # Not by systemctl, which would start the broken binary for it.
    checks.equal(service.firstlight("reload").returncode, 0, "a reload is done")
    service.systemctl("kill", "--signal=HUP", "--kill-whom=main", UNIT)
    world.check_said(journal, RELOADED, times=2)


def need_running(world: World, command: str) -> None:
    """Waits until a command of a new process, which is a script, runs."""
    found = wait_until(lambda: world.container.run("pgrep", "--full", command).returncode == 0, 10)
    world.checks.need(found is not None, "the new process is started", f"after {found} s")


@contextlib.contextmanager
def binary_kept(world: World) -> Iterator[None]:
    """Puts the installed binary back at the end."""
    world.container.must("cp", "--preserve", BINARY, "/opt/judge/good")
    try:
        yield
    finally:
        world.container.must("sh", "-c", f"cp --preserve /opt/judge/good {BINARY}.new && mv {BINARY}.new {BINARY}")


def by_package(world: World) -> None:
    service, checks = world.service, world.checks
    with world.under_load(streams=20) as load:
        journal = service.journal()
        install = ["dpkg", "--install", "/opt/judge/new.deb"]
        upgrade(world, "dpkg --install of a newer version", lambda: world.container.run(*install).returncode)
        world.check_said(journal, UPGRADED)
        version = world.container.output("dpkg-query", "--show", "--showformat=${Version}", "firstlight")
        checks.check(version.startswith("0.0.2"), "the newer version is installed", version)
        load.watch(PAUSE_SECONDS)
