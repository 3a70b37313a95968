"""The process that is judged: a Firstlight with a configuration of its own, on free loopback ports."""

import asyncio
import hashlib
import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import http1
import traffic

START_SECONDS = 30
STOP_SECONDS = 20
RELOAD_SECONDS = 20


class Broken(Exception):
    """The process did not start, or did not live: no case can be judged."""


@dataclass
class Setup:
    """What a configuration is made of: where backends are, who the apps are, and what differs from the defaults."""

    backends: dict[str, int]
    apps: list[str]
    routing: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    weight: int = 1

    @property
    def keys(self) -> dict[str, str]:
        return {app: f"a-key-of-{app}-for-the-hard-cases" for app in self.apps}

    def text(self, socket: Path) -> str:
        endpoints: dict[str, dict[str, Any]] = {
            name: {"endpoint": f"http://127.0.0.1:{port}", "auth": "none"} for name, port in self.backends.items()
        }
        # What a reload changes. All the same, so that it changes nothing for the traffic.
        for endpoint in endpoints.values():
            endpoint["weight"] = self.weight
        hashed = {app: hashlib.sha256(key.encode()).hexdigest() for app, key in self.keys.items()}
        fields = {
            "listen": [{"address": "127.0.0.1:0"}],
            "admin": {"address": "127.0.0.1:0", "socket": str(socket)},
            "state_directory": "none",
            "backends": endpoints,
            "models": {traffic.MODEL: {}, traffic.EMBEDDINGS: {}},
            "apps": {app: {"api_keys": [{"sha256": digest, "name": app}]} for app, digest in hashed.items()},
            "drain_seconds": 1,
            **({"routing": self.routing} if self.routing else {}),
        }
        return json.dumps({**fields, **self.other}, indent=1)


class Product:
    """A running Firstlight. `async with` ends it."""

    def __init__(self, binary: str, setup: Setup, directory: Path) -> None:
        self.binary, self.setup, self.directory = binary, setup, directory
        self.socket, self.file = directory / "admin.sock", directory / "firstlight.yaml"
        self.port = self.admin_port = 0
        self.lines: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        if not os.access(self.binary, os.X_OK):
            raise Broken(f"{self.binary} is no executable; give another one with --binary")
        self._write()
        self.access = (self.directory / "access.log").open("wb")
        command = [self.binary, "run", "--config", str(self.file)]
        self.child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self.access,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        self.ready = asyncio.Event()
        self.reading = asyncio.create_task(self._read())
        try:
            async with asyncio.timeout(START_SECONDS):
                await self.ready.wait()
        except TimeoutError:
            await self.__aexit__()
            raise Broken(f"it does not listen: {self.lines[-3:]}") from None
        if not self.port:
            await self.__aexit__()
            raise Broken(f"it ended: {self.lines[-3:]}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.child.returncode is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self.child.wait()
            except TimeoutError:
                self.child.kill()
                await self.child.wait()
        await self.reading
        self.access.close()

    def alive(self) -> bool:
        return self.child.returncode is None

    async def reload(self, by_signal: bool) -> str:
        """Writes a changed configuration and has it loaded. Returns why that failed; empty if it did not."""
        self.setup.weight = 3 - self.setup.weight
        self._write()
        if by_signal:
            self.child.send_signal(signal.SIGHUP)
            return ""
        command = [self.binary, "reload", "--wait", "--socket", str(self.socket)]
        child = await asyncio.create_subprocess_exec(*command, stdout=-3, stderr=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(RELOAD_SECONDS):
                _, errors = await child.communicate()
        except TimeoutError:
            child.kill()
            await child.wait()
            return "no response"
        return "" if child.returncode == 0 else f"{child.returncode}: {errors.decode(errors='replace')[:300]}"

    async def changes(self) -> dict[str, float]:
        """How often targets changed their state, as `backend change`, from the metrics."""
        found: dict[str, float] = {}
        for line in (await self.metrics()).splitlines():
            if line.startswith("firstlight_target_changes_total{"):
                labels, _, value = line.partition("} ")
                named = dict(pair.split("=", 1) for pair in labels.partition("{")[2].split(","))
                key = " ".join(named[label].strip('"') for label in ("backend", "change"))
                found[key] = found.get(key, 0.0) + float(value)
        return {key: value for key, value in found.items() if value}

    async def metrics(self) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port, limit=http1.LINE_BYTES)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        head = await http1.read_head(reader)
        body = b"" if head is None else await http1.read_body(reader, head)
        writer.close()
        return body.decode()

    def _write(self) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(self.setup.text(self.socket))
        new.rename(self.file)

    async def _read(self) -> None:
        """Keeps the log, and looks for where it listens."""
        assert self.child.stderr is not None
        with (self.directory / "firstlight.log").open("wb") as log:
            async for line in self.child.stderr:
                log.write(line)
                if not self.ready.is_set():
                    self._look(line)
        self.ready.set()

    def _look(self, line: bytes) -> None:
        try:
            fields = json.loads(line)
        except ValueError:
            fields = {"message": line.decode(errors="replace")}
        self.lines.append(fields)
        message, address = str(fields.get("message", "")), str(fields.get("address", ""))
        port = int(address.rpartition(":")[2] or 0) if address else 0
        if message == "admin listening":
            self.admin_port = port
        elif message == "listening":
            self.port = port
        if self.port and self.admin_port:
            self.ready.set()
