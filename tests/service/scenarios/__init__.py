"""The scenarios in the order in which they run, all on one container under one load."""

from collections.abc import Callable

from scenarios import changes, faults, package, upgrades
from scenarios.world import World

SCENARIOS: list[tuple[str, Callable[[World], None]]] = [
    ("install", package.install),
    ("reload", changes.reload),
    ("refused-reload", changes.refused_reload),
    ("certificate", changes.certificate),
    ("drain-backend", changes.drain_backend),
    ("upgrades", upgrades.ten_in_a_row),
    ("broken-upgrades", upgrades.to_broken_binaries),
    ("package-upgrade", upgrades.by_package),
    ("supervision", upgrades.supervision),
    ("killed", faults.killed),
    ("hung", faults.hung),
    ("start-refused", faults.start_refused),
    ("security", package.security),
    ("remove", package.remove),
    ("purge", package.purge),
]

__all__ = ["SCENARIOS", "World"]
