"""The package comes and goes."""

from installation import configuration, make_authority, make_certificate
from scenarios.world import World
from texts import CONFIGURATION, DRAINING, SECRETS, SECURITY_THRESHOLD, STOPPED, UNIT

# Where nothing of the package's may be: what the judge brought, the journal, and what is no file.
NOT_SEARCHED = ["/proc", "/sys", "/dev", "/opt/judge", "/var/log", "/tmp", "/var/tmp"]


def install(world: World) -> None:
    container, service, checks = world.container, world.service, world.checks
    make_authority(container)
    container.must("systemctl", "start", "fake-azure")
    ended = container.run("dpkg", "--install", "/opt/judge/old.deb")
    checks.need(ended.returncode == 0, "dpkg --install", ended.stderr.strip()[-300:] or "no complaint")
    checks.equal(container.output("systemctl", "is-enabled", UNIT), "enabled", "the unit is enabled")
    checks.equal(container.output("systemctl", "is-active", UNIT), "inactive", "without a configuration it does not run")
    checks.equal(container.output("systemctl", "is-failed", UNIT), "inactive", "which is no failure")
    owners = container.output("stat", "--format=%a %U:%G", SECRETS)
    checks.equal(owners, "750 root:firstlight", "the place for secrets")
    make_certificate(container)
    container.write(CONFIGURATION, configuration())
    ended = service.systemctl("start", UNIT)
    checks.equal(ended.returncode, 0, f"with a configuration it starts {ended.stderr.strip()}".strip())
    world.need_ready("it serves")
    checks.equal(service.main_pid(), service.pid(), "systemd knows the process that serves")
    world.start_load()


def security(world: World) -> None:
    ended = world.container.run("systemd-analyze", "security", f"--threshold={SECURITY_THRESHOLD}", "--no-pager", UNIT)
    fact = (ended.stdout + ended.stderr).strip().splitlines()[-1:]
    world.checks.check(ended.returncode == 0, f"the exposure is at most {SECURITY_THRESHOLD / 10}", fact)
    warned = world.container.run("systemd-analyze", "verify", "--man=no", UNIT).stderr.strip()
    world.checks.equal(warned, "", "systemd-analyze verify")


def remove(world: World) -> None:
    container, checks = world.container, world.checks
    with world.under_load(streams=10) as load:
        files = container.output("dpkg", "--listfiles", "firstlight").splitlines()
        kept = container.output("dpkg-query", "--show", "--showformat=${Conffiles}", "firstlight")
        journal = world.service.journal()
        load.pause()
        running = load.tell("pause")["streams"]
        ended = container.run("dpkg", "--remove", "firstlight")
        checks.equal(ended.returncode, 0, "dpkg --remove")
        world.check_said(journal, DRAINING)
        world.check_said(journal, STOPPED)
        load.drained()
        checks.check(running > 0, "streams ran when it began", running)
        gone = [path for path in files if path not in kept and "firstlight" in path]
        test = 'for path; do [ ! -f "$path" ] || echo "$path"; done'
        left = container.output("sh", "-c", test, "sh", *gone)
        checks.equal(left, "", "the package's files are gone")
        there = container.run("test", "-f", CONFIGURATION).returncode
        checks.equal(there, 0, f"{CONFIGURATION} is kept")


def purge(world: World) -> None:
    container, checks = world.container, world.checks
    checks.equal(container.run("dpkg", "--purge", "firstlight").returncode, 0, "dpkg --purge")
    prune = " -o ".join(f"-path {path}" for path in NOT_SEARCHED)
    left = container.output("sh", "-c", rf"find / \( {prune} \) -prune -o -iname '*firstlight*' -print")
    checks.equal(left, "", "no file of that name is left")
    units = container.output("systemctl", "list-unit-files", "--no-legend", "*firstlight*")
    checks.equal(units, "", "no unit is left")
