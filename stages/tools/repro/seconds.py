"""How long each stage is expected to take: it decides what starts first."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from stages.core.files import write

FILE = Path(".dvc/tmp/repro/seconds.json")  # of this machine; git ignores it
# Of stages that have not run here yet. Only their proportions count.
_TYPICAL = {
    "prepare": 1.0,
    "check": 5.0,
    "baseline": 8.0,
    "train": 60.0,
    "evaluate": 10.0,
    "failures": 5.0,
    "pack": 3.0,
}


def expected_seconds(names: Iterable[str]) -> dict[str, float]:
    """Return the seconds of each stage: those of its last run here, else typical ones."""
    measured = _read()
    return {name: measured.get(name, _TYPICAL.get(name.partition("@")[0], 1.0)) for name in names}


def remember_seconds(seconds: Mapping[str, float]) -> None:
    """Keep the seconds of stages that have run."""
    if seconds:
        content = _read() | {name: round(value, 2) for name, value in seconds.items()}
        write(FILE, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _read() -> dict[str, float]:
    try:
        content = json.loads(FILE.read_bytes())
        return {str(name): float(value) for name, value in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # there is none yet, or it is damaged: a guess serves as well
