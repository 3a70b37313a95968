"""The service as an operator sees it: systemctl, the command line, the journal."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from container import Container
from texts import ADMIN, UNIT

# A copy that no scenario replaces: the command line must work while the installed binary is broken.
OWN_BINARY = "/opt/judge/firstlight"


class Service:
    def __init__(self, container: Container) -> None:
        self.container = container

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.container.run("systemctl", *arguments)

    def firstlight(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.container.run(OWN_BINARY, *arguments)

    def show(self, name: str) -> str:
        """A property of the unit, as systemd knows it."""
        return self.container.output("systemctl", "show", "--value", f"--property={name}", UNIT)

    def main_pid(self) -> int:
        return int(self.show("MainPID") or 0)

    def status(self) -> dict[str, Any]:
        """What the serving process says about itself; empty if none answers."""
        ended = self.firstlight("status", "--json")
        return json.loads(ended.stdout) if ended.returncode == 0 else {}

    def pid(self) -> int:
        """The process that serves, as it says itself; 0 if none answers."""
        return int(self.status().get("pid", 0))

    def ready(self) -> bool:
        return self.http_status("/readyz") == "200"

    def http_status(self, path: str) -> str:
        """The status of the admin listener's answer; 000 if there is none."""
        curl = ["curl", "--silent", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}"]
        return self.container.output(*curl, ADMIN + path)

    def processes(self) -> list[int]:
        """The pids of the unit's processes, as the container counts them."""
        group = self.show("ControlGroup")
        found = self.container.output("cat", f"/sys/fs/cgroup{group}/cgroup.procs") if group else ""
        return [int(pid) for pid in found.split()]

    def journal(self) -> "Journal":
        """The unit's journal from now on."""
        return Journal(self.container)


class Journal:
    """What a unit writes from one moment on."""

    def __init__(self, container: Container) -> None:
        self.container = container
        lines = container.output("journalctl", "--lines=0", "--show-cursor")
        self.cursor = lines.rpartition("-- cursor: ")[2].strip()

    def entries(self) -> Iterator[dict[str, Any]]:
        read = ["journalctl", f"--unit={UNIT}", "--output=json", f"--after-cursor={self.cursor}", "--all"]
        for line in self.container.output(*read).splitlines():
            yield json.loads(line)

    def records(self) -> Iterator[dict[str, Any]]:
        """The service log: lines of JSON with a message. The access log has none."""
        for entry in self.entries():
            text = entry.get("MESSAGE")
            if isinstance(text, str) and text.startswith("{"):
                record = json.loads(text)
                if "message" in record:
                    yield record

    def said(self, message: str) -> list[dict[str, Any]]:
        """The records with this very message."""
        return [record for record in self.records() if record["message"] == message]

    def lines_with(self, text: str) -> list[str]:
        """The lines that contain `text`, whoever wrote them, of the first start that has any."""
        found: dict[str, list[str]] = {}
        for entry in self.entries():
            message = entry.get("MESSAGE")
            if isinstance(message, str) and text in message:
                start = entry.get("_SYSTEMD_INVOCATION_ID") or entry.get("INVOCATION_ID") or ""
                found.setdefault(start, []).append(message)
        return next(iter(found.values()), [])
