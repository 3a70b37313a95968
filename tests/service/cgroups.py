"""A cgroup of its own for the container: two systemds in one would end each other's processes."""

import contextlib
from pathlib import Path


def create(name: str) -> list[Path]:
    """Makes a cgroup below that of this process, in each hierarchy that systemd uses."""
    own = _own()
    created = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, options, *_ = line.split()
        if kind == "cgroup2":
            hierarchy = ""
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            hierarchy = "name=systemd"
        else:
            continue
        if hierarchy in own:
            folder = Path(mounted) / own[hierarchy] / name
            folder.mkdir()
            created.append(folder)
    return created


def remove(folders: list[Path]) -> None:
    """Removes what `create` made and what systemd made in it. A cgroup with processes in it stays."""
    for folder in folders:
        inner = [path for path in folder.rglob("*") if path.is_dir()]
        for path in [*sorted(inner, reverse=True), folder]:
            with contextlib.suppress(OSError):
                path.rmdir()


def _own() -> dict[str, str]:
    """The cgroup of this process, by hierarchy; that of cgroup v2 has no name."""
    fields = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    return {hierarchy: path.strip("/") for _, hierarchy, path in fields}
