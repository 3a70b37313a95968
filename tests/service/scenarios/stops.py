"""The service is told to stop or to restart: what runs finishes, whichever process it runs in."""

from concurrent.futures import ThreadPoolExecutor

from checks import wait_until
from scenarios.upgrades import binary_kept, need_running
from scenarios.world import World
from texts import BINARY, DRAINING, SERVING, STOPPED, UNIT

# Streams of half a second a token.
SHORT_STREAM_TOKENS = 16
# A new process that takes its time.
SLOW_SECONDS = 3
# From the end of the last stream to the end of the unit.
END_SECONDS = 15


def after_upgrade(world: World) -> None:
    """At once: the main process has nothing to finish, the ones before it have all the streams."""
    service, checks = world.service, world.checks
    with world.under_load(streams=20) as load:
        checks.equal(service.main_pid(), service.pid(), "MainPID is the serving process")
        load.pause()
        journal = service.journal()
        checks.equal(service.firstlight("upgrade").returncode, 0, "firstlight upgrade")
        stop = world.container.start("systemctl", "stop", UNIT)
        checks.check(wait_until(lambda: refuses(world), 15) is not None, "new connections are refused", "by then")
        processes, running = service.processes(), load.tell("pause")["streams"]
        checks.check(stop.poll() is None and running > 0, "the stop waits for streams", f"{running} run in {processes}")
        checks.check(len(processes) > 1, "the processes before live", processes)
        load.drained()
        took = wait_until(lambda: stop.poll() is not None, END_SECONDS)
        checks.check(took is not None, "the stop ends after the last stream", f"{took} s after it")
        checks.equal(stop.wait(), 0, "systemctl stop succeeds")
        checks.equal(service.show("Result"), "success", "the unit ended well")
        world.check_said(journal, DRAINING, times=2)
        world.check_said(journal, STOPPED, times=len(processes))


def during_upgrade(world: World) -> None:
    """No process comes up while the unit stops. The load pauses: nothing serves afterwards."""
    service, checks, container = world.service, world.checks, world.container
    load = world.quiet_load()
    checks.equal(service.systemctl("start", UNIT).returncode, 0, "systemctl start")
    load.begin("a stop during an upgrade")
    with binary_kept(world), ThreadPoolExecutor() as threads:
        script = f'#!/bin/sh\nsleep {SLOW_SECONDS}\nexec /opt/judge/good "$@"\n'
        container.write(BINARY, script, 0o755)
        begin_stream(world)
        journal = service.journal()
        upgrading = threads.submit(service.firstlight, "upgrade")
        need_running(world, f"sleep {SLOW_SECONDS}")
        stop = service.systemctl("stop", UNIT)
        checks.equal(stop.returncode, 0, "systemctl stop succeeds")
        told = upgrading.result()
        checks.equal(told.returncode, 1, f"the upgrade is broken off ({told.stderr.strip()[:200]})")
        load.drained()
        checks.equal(service.show("Result"), "success", "the unit ended well")
        checks.equal(journal.said(SERVING), [], "no new process served")
        world.check_said(journal, STOPPED)
    load.judge()
    checks.equal(service.systemctl("start", UNIT).returncode, 0, "systemctl start succeeds")


def restart(world: World) -> None:
    """A stop and a start: connections are refused in between, so the load pauses."""
    service, checks = world.service, world.checks
    load = world.quiet_load()
    load.begin("a restart")
    begin_stream(world)
    before, journal = service.pid(), service.journal()
    checks.equal(service.systemctl("restart", UNIT).returncode, 0, "systemctl restart succeeds")
    world.need_ready("it serves")
    load.drained()
    checks.check(service.pid() not in (0, before), "another process serves", f"{before} -> {service.pid()}")
    world.check_said(journal, STOPPED)
    world.check_said(journal, SERVING)
    load.resume()
    load.watch(2)
    load.judge()


def begin_stream(world: World) -> None:
    """A stream that is surely there when it returns."""
    world.need_load().one_more_stream(SHORT_STREAM_TOKENS)
    there = wait_until(lambda: world.service.status().get("in_flight", 0) > 0, 5)
    world.checks.need(there is not None, "a stream runs", f"after {there} s")


def refuses(world: World) -> bool:
    """Whether a new connection to the plain listener is refused: curl's exit code 7."""
    return world.container.run("curl", "--silent", "--max-time", "2", "http://127.0.0.1:8080/").returncode == 7
