"""The scenarios in the order in which they run, all on one container under one load."""

from collections.abc import Callable

from scenarios import changes, faults, package, stops, upgrades
from scenarios.world import World

SCENARIOS: list[tuple[str, Callable[[World], None]]] = [
    ("install", package.install),
    ("reload", changes.reload),
    ("reloads", changes.reloads),
    ("refused-reload", changes.refused_reload),
    ("certificate", changes.certificate),
    ("drain-backend", changes.drain_backend),
    ("upgrades", upgrades.ten_in_a_row),
    ("broken-upgrades", upgrades.to_broken_binaries),
    ("old-processes", upgrades.old_processes_end),
    ("package-upgrade", upgrades.by_package),
    ("stop", stops.after_upgrade),
    ("start-refused", faults.start_refused),
    ("interrupted-upgrade", stops.during_upgrade),
    ("restart", stops.restart),
    ("killed", faults.killed),
    ("hung", faults.hung),
    ("security", package.security),
    ("remove", package.remove),
    ("purge", package.purge),
]

__all__ = ["SCENARIOS", "World"]
