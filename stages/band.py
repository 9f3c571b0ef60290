"""Band: run each row again with other threads, instructions and seeds, and write how far metrics lay.

`python -m stages.band` writes evidence/band.json, which `python -m stages.verify` goes by: a result that is
computed again elsewhere may lie as far from the committed one as two such runs do, 99 times of 100.
What is run is HEAD, in a scratch clone; params.yaml, section band, names the changes.
"""

import argparse
import math
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages.params import FILE, load
from stages.shared.files import as_json, read_json, write
from stages.shared.refusal import Refusal, refusing
from stages.shared.runtime import device, machine_here
from stages.shared.schema import Params
from stages.shared.task import Task, tasks
from stages.shared.verifying.band import FILE as BAND
from stages.shared.verifying.band import JUDGED, leaves
from stages.shared.verifying.scratch import cloned, git, ran, scratch

LEVEL = 0.99
RULE = (
    f"reach: the {LEVEL:.0%} prediction interval of the difference between two runs, t(runs) times the "
    "standard deviation over the committed result and these runs times the root of 2, and no less than "
    "the furthest run; seen: the words that came up; by_run: what each run gave, of what verify judges"
)
STAGES = ("prepare", "check", "baseline", "train", "evaluate")
_APART = 1000  # between the training seeds of two runs


@dataclass(frozen=True)
class Change:
    """One way of running again: what is said of it, and the params that differ."""

    name: str
    runtime: Mapping[str, Any]
    shift: int = 0

    def write(self, clone: Path, task: str) -> None:
        """Put it into a clone's params."""
        params = yaml.safe_load((clone / FILE).read_text(encoding="utf-8"))
        params["runtime"] |= self.runtime
        seeds = params[task]["train"]["seeds"]
        params[task]["train"]["seeds"] = [seed + self.shift for seed in seeds]
        (clone / FILE).write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def changes(params: Params) -> list[Change]:
    """Return the ways of running again that params name, each apart from what is in use."""
    named: list[tuple[str, list[Any]]] = [
        ("threads", list(params.band.threads)),
        ("cpu", list(params.band.cpu)),
        ("device", list(params.band.device)),
    ]
    found = [
        Change(f"runtime.{key}: {value}", {key: value})
        for key, values in named
        for value in values
        if value != getattr(params.runtime, key)
    ]
    shifts = [_APART * (number + 1) for number in range(params.band.seeds)]
    return [*found, *(Change(f"train.seeds + {shift}", {}, shift) for shift in shifts)]


def lacking(way: Change) -> None:
    """Look whether this machine has the device of a change.

    Raises:
        Refusal: it has not.
    """
    if "device" in way.runtime:
        device(load().runtime.model_copy(update=dict(way.runtime)))


def metrics_of(folder: Path, task: str, seeds: list[int]) -> dict[str, Any]:
    """Return a row's metrics by dotted key; those of a seed under the committed seed of its place.

    Args:
        folder: in which `data/evaluate/<task>/metrics.json` lies.
        task: of the row.
        seeds: the committed training seeds.
    """
    found = read_json(folder / "data" / "evaluate" / task / "metrics.json")
    return leaves(renamed(found, seeds))


def renamed(metrics: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
    """Return metrics with the committed seeds in place of those of a run, by their order."""
    found = {**metrics, "headline_seed": seeds[0]}
    if "seeds" in metrics:
        own = sorted(metrics["seeds"], key=int)
        found["seeds"] = {
            str(seed): metrics["seeds"][mine] for seed, mine in zip(sorted(seeds), own, strict=True)
        }
    return found


def reaches(
    committed: Mapping[str, Any], runs: list[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return by metric how far runs lay apart, by `RULE`; a metric that some run lacks is left out.

    Args:
        committed: by dotted key.
        runs: the same of each run.
    """
    from scipy.stats import t

    found: dict[str, dict[str, Any]] = {}
    for key, here in committed.items():
        if not all(key in run for run in runs):
            continue
        values = [here, *(run[key] for run in runs)]
        if isinstance(here, bool | str):
            found[key] = {
                "seen": sorted({str(one) if isinstance(one, str) else one for one in values})
            }
            continue
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        factor = float(t.ppf((1 + LEVEL) / 2, len(runs))) * math.sqrt(2) if runs else 0.0
        found[key] = {
            "committed": here,
            "least": min(values),
            "most": max(values),
            "reach": max(factor * sd, *(abs(one - here) for one in values)),
        }
        if key.startswith(JUDGED):
            found[key]["by_run"] = values[1:]
    return found


def measured(task: Task, ways: list[Change], folder: Path) -> dict[str, Any]:
    """Run one row again in each way; return its part of the band.

    Raises:
        Refusal: a stage fails.
    """
    base = folder / "base"
    seeds = list(task.params.train.seeds)
    runs, left, seconds = {}, {}, {}
    for way in ways:
        try:
            lacking(way)
        except Refusal as refusal:
            left[way.name] = str(refusal)
            print(f"band@{task.name}: {way.name}: left out: {refusal}", file=sys.stderr)
            continue
        clone = folder / "run"
        shutil.copytree(base, clone)
        way.write(clone, task.name)
        start = time.perf_counter()
        for stage in STAGES:
            done = ran(clone, "python", "-m", f"stages.{stage}", task.name)
            if done.returncode:
                told = done.stderr.strip().split("\n")[-1]
                raise Refusal(f"{task.name}, {way.name}: {told}")
        runs[way.name] = metrics_of(clone, task.name, seeds)
        seconds[way.name] = round(time.perf_counter() - start, 1)
        shutil.rmtree(clone)
        print(f"band@{task.name}: {way.name}: {seconds[way.name]} s", file=sys.stderr)
    committed = leaves(read_json(base / task.evidence / "data" / "metrics.json"))
    found = reaches(committed, list(runs.values()))
    return {"runs": seconds, "left_out": left, "metrics": found}


def _bands(names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in names:
        with scratch() as folder:
            cloned(str(Path.cwd()), "HEAD", folder / "base")
            params = load(folder / "base" / FILE)
            yield name, measured(tasks(params)[name], changes(params), folder)


def main() -> None:
    """Measure the band of every row, or of one, and write it."""
    parser = argparse.ArgumentParser(prog="python -m stages.band", description=__doc__)
    parser.add_argument(
        "task", nargs="*", choices=[[], *Params.tasks()], help="default: all of them"
    )
    given = parser.parse_args()
    with refusing("band"):
        path = Path(BAND)
        band = read_json(path) if path.exists() else {"rows": {}}
        commit = git(Path.cwd(), "rev-parse", "HEAD")
        for name, row in _bands(given.task or Params.tasks()):
            band["rows"][name] = {**row, "machine": machine_here(), "revision": commit}
            write(path, as_json({**band, "rule": RULE}))


if __name__ == "__main__":
    main()
