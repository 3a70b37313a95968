"""Changes while requests run: configuration, certificate, one backend out and in again."""

from installation import REGIONS, configuration, make_certificate, served_certificate, weighted
from scenarios.world import World
from texts import CONFIGURATION, DRAINED_BACKEND, ENABLED_BACKEND, REFUSED, RELOADED, UNIT

# Enough for the effect of a change to show in requests.
WATCH_SECONDS = 5
# With the time that a reload itself takes: in about five seconds.
RELOADS, RELOAD_PAUSE_SECONDS = 20, 0.2


def reload(world: World) -> None:
    service, checks = world.service, world.checks
    with world.under_load(streams=2) as load:
        before, journal = service.status(), service.journal()
        world.container.write(CONFIGURATION, weighted(2))
        ended = service.systemctl("reload", "firstlight")
        checks.equal(ended.returncode, 0, "systemctl reload succeeds")
        after = service.status()
        checks.check(
            after.get("generation", 0) > before.get("generation", 0),
            "the generation grows",
            f"{before.get('generation')} -> {after.get('generation')}",
        )
        checks.equal(after.get("pid"), before.get("pid"), "the process stays")
        world.check_said(journal, RELOADED)
        load.watch(WATCH_SECONDS)


def reloads(world: World) -> None:
    service, checks = world.service, world.checks
    with world.under_load(streams=2):
        before, journal = service.status(), service.journal()
        again = f"for i in $(seq {RELOADS}); do systemctl reload {UNIT} || exit 1; sleep {RELOAD_PAUSE_SECONDS}; done"
        checks.equal(world.container.run("sh", "-c", again).returncode, 0, f"{RELOADS} times systemctl reload")
        checks.equal(service.status()["generation"] - before["generation"], RELOADS, "every reload counts")
        world.check_said(journal, RELOADED, times=RELOADS)
        service.systemctl("kill", "--signal=HUP", "--kill-whom=main", UNIT)
        world.check_said(journal, RELOADED, times=RELOADS + 1)
        checks.equal(service.pid(), before["pid"], "the process stays")


def refused_reload(world: World) -> None:
    service, checks = world.service, world.checks
    with world.under_load(streams=2) as load:
        before, journal = service.status(), service.journal()
        world.container.write(CONFIGURATION, configuration(no_such_key=1))
        checks.check(service.systemctl("reload", "firstlight").returncode != 0, "systemctl reload fails", "as it should")
        ended = service.firstlight("reload", "--wait")
        checks.equal(ended.returncode, 1, "firstlight reload ends with 1")
        checks.check("no_such_key" in ended.stderr, "the reason is printed", ended.stderr.strip()[:200])
        after = service.status()
        same = [(status.get("pid"), status.get("generation")) for status in (before, after)]
        checks.check(after and same[0] == same[1], "process and generation stay", same[1])
        world.check_said(journal, REFUSED, times=2)
        load.watch(WATCH_SECONDS)
        world.container.write(CONFIGURATION, configuration())
        checks.equal(service.systemctl("reload", "firstlight").returncode, 0, "the repaired file is taken")


def certificate(world: World) -> None:
    checks = world.checks
    with world.under_load(streams=10) as load:
        old = served_certificate(world.container)
        new = make_certificate(world.container)
        checks.check(old and old != new, "the old certificate is served before", old)
        checks.equal(world.service.systemctl("reload", "firstlight").returncode, 0, "systemctl reload succeeds")
        checks.equal(served_certificate(world.container), new, "a new connection is shown the new certificate")
        load.watch(WATCH_SECONDS)


def drain_backend(world: World) -> None:
    service, checks = world.service, world.checks
    name, *others = REGIONS
    with world.under_load(streams=10) as load:
        journal = service.journal()
        switch(world, "drain", [name])
        before = asked(world, name)
        load.watch(WATCH_SECONDS)
        checks.equal(asked(world, name) - before, 0, "the drained backend gets no new request")
        switch(world, "enable", [name])
        # While others are a little quicker they get all requests.
        switch(world, "drain", others)
        load.watch(WATCH_SECONDS)
        checks.check(asked(world, name) > before, "the enabled backend gets requests", asked(world, name) - before)
        switch(world, "enable", others)
        world.check_said(journal, DRAINED_BACKEND, times=len(REGIONS))
        world.check_said(journal, ENABLED_BACKEND, times=len(REGIONS))
        checks.equal(service.firstlight("diff").returncode, 0, "firstlight diff")


def switch(world: World, order: str, names: list[str]) -> None:
    for name in names:
        ended = world.service.firstlight("backend", order, name)
        world.checks.equal(ended.returncode, 0, f"firstlight backend {order} {name}")


def asked(world: World, name: str) -> int:
    """How many requests a fake backend has had."""
    found = world.fake_azure()
    return int(found[name]["counters"]["requests"])
