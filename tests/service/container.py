"""A real systemd in a container: booted from a tree, entered by command, ended by pid."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import cgroups
from checks import Broken, wait_until

BOOT_SECONDS = 60
POWEROFF_SECONDS = 30
# No command in the container takes longer, if it ends at all.
COMMAND_SECONDS = 180

# The container's machine has nothing of ours in its environment.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class Container:
    """A booted container. `with` ends it, whatever happens."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root = root
        self.log = log
        self.name = f"firstlight-{os.getpid()}"
        self.nspawn: subprocess.Popen[bytes] | None = None
        self.leader = 0
        self.cgroups: list[Path] = []

    def __enter__(self) -> "Container":
        try:
            self._boot()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _boot(self) -> None:
        self.cgroups = cgroups.create(self.name)
        # The shell joins the cgroup before it becomes nspawn. Should this process be killed, the container powers off.
        join = "".join(f"echo $$ >{shlex.quote(str(folder / 'cgroup.procs'))}; " for folder in self.cgroups)
        nspawn = ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]
        nspawn += ["--boot", f"--directory={self.root}", f"--machine={self.name}"]
        nspawn += ["--private-network", "--link-journal=no", "--resolv-conf=off", "--timezone=off"]
        with self.log.open("wb") as log:
            self.nspawn = subprocess.Popen(
                ["sh", "-c", f'{join}exec "$@"', "sh", *nspawn],
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for this process, which then ends the container in order.
                start_new_session=True,
            )
        if wait_until(self._booted, BOOT_SECONDS) is None:
            raise Broken(f"the container did not boot within {BOOT_SECONDS} s:\n{self.log_tail()}")

    def _booted(self) -> bool:
        assert self.nspawn is not None
        if self.nspawn.poll() is not None:
            raise Broken(f"systemd-nspawn ended with {self.nspawn.returncode}:\n{self.log_tail()}")
        self.leader = self._find_leader()
        return self.leader != 0 and self.output("systemctl", "is-system-running") in ("running", "degraded")

    def _find_leader(self) -> int:
        """The container's process 1, by its pid out here; 0 while there is none."""
        assert self.nspawn is not None
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        return 0

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def entering(self, command: Sequence[str]) -> list[str]:
        """What to run out here so that `command` runs in there."""
        enter = ["nsenter", "--target", str(self.leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        return [*enter, "--root", "--wd", "--", *command]

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command in the container, to its end."""
        entering = self.entering(command)
        try:
            return subprocess.run(
                entering, input=stdin, env=ENVIRONMENT, capture_output=True, text=True, timeout=COMMAND_SECONDS
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(entering, 124, "", f"did not end within {COMMAND_SECONDS} s")

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Starts a command in the container, with pipes to its input and output. The caller ends it."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        # Should this process be killed, an nsenter that outlives it would keep the container from powering off.
        entering = ["setpriv", "--pdeathsig", "KILL", *self.entering(command)]
        return subprocess.Popen(entering, env=ENVIRONMENT, text=True, **pipes)

    def output(self, *command: str) -> str:
        return self.run(*command).stdout.strip()

    def must(self, *command: str) -> str:
        """Runs a command that every scenario stands on."""
        ended = self.run(*command)
        if ended.returncode != 0:
            raise Broken(f"{shlex.join(command)} ended with {ended.returncode}: {ended.stderr.strip()}")
        return ended.stdout.strip()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Puts a file in its place in one step, as an editor or a deployment tool does."""
        folder, name = os.path.split(path)
        script = 'mkdir -p "$1" && cat >"$1/.$2.new" && chmod "$3" "$1/.$2.new" && mv "$1/.$2.new" "$1/$2"'
        ended = self.run("sh", "-c", script, "sh", folder, name, f"{mode:o}", stdin=text)
        if ended.returncode != 0:
            raise Broken(f"cannot write {path}: {ended.stderr}")

    def end(self) -> None:
        """Powers off; what has not ended by then is killed, by pid."""
        if self.nspawn is not None and self.nspawn.poll() is None:
            if self.leader:
                self.run("systemctl", "poweroff")
            else:
                self.nspawn.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.nspawn.wait(POWEROFF_SECONDS)
            self._kill()
        # The last processes leave the cgroup a moment after nspawn has ended.
        deadline = time.monotonic() + 5
        while any(folder.exists() for folder in self.cgroups) and time.monotonic() < deadline:
            cgroups.remove(self.cgroups)

    def _kill(self) -> None:
        assert self.nspawn is not None
        if self.nspawn.poll() is None:
            # With its process 1 everything in the container ends.
            if leader := self._find_leader():
                os.kill(leader, signal.SIGKILL)
            self.nspawn.kill()
            self.nspawn.wait()
