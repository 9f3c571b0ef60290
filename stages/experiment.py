"""Experiment: change one thing, and hold what comes of it against what stands.

`python -m stages.experiment workshop train.learning_rate=0.01 --why "..."` runs the task's row with that
one param changed, as a DVC experiment in a folder of its own (`dvc exp show` lists it), and adds a
line to evidence/<task>/experiments.csv. `--next` tries the change that the pack proposes. Before and
after are compared on validation data, because test data choose nothing.
"""

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stages.params import FILE, checked, load
from stages.shared.files import read_csv, read_json, write
from stages.shared.refusal import Refusal, printable, refusing
from stages.shared.strict_yaml import read_yaml
from stages.shared.task import Task, tasks

if TYPE_CHECKING:
    import pandas as pd

LOG = "experiments.csv"
# Beside all of train: what changes the samples that are drawn, and not how they are measured.
DRAWING = ("evaluate.guidance", "evaluate.solver_steps")


@dataclass(frozen=True)
class Change:
    """One param and its new value, as DVC is told it: `workshop.train.epochs=18`."""

    key: str
    given: str

    def __str__(self) -> str:
        """Return it as it is written on the command line."""
        return f"{self.key}={self.given}"


@dataclass(frozen=True)
class Line:
    """A line of experiments.csv; `before` and `after` are of validation data."""

    date: str
    change: str
    why: str
    before: str
    after: str
    verdict: str
    kept: str


def proposed(task: Task) -> tuple[Change, str]:
    """Return the change that the pack proposes, and why.

    Raises:
        Refusal: the pack has not been made.
    """
    step = read_json(task.evidence / "data" / "next_step.json")
    *_, change = shlex.split(step["command"])
    key, given = change.split("=", 1)
    return Change(key, given), step["why"]


def asked(task: Task, changes: list[str]) -> Change:
    """Return the one change that is asked for, its key with the task's name in front.

    Raises:
        Refusal: there is none, there are several, or it is not written KEY=VALUE.
    """
    if len(changes) != 1:
        raise Refusal(
            f"{len(changes)} changes given; change one thing, so that you know what did it: "
            f"KEY=VALUE, such as train.learning_rate=0.005, or --next"
        )
    key, equals, given = changes[0].partition("=")
    if not (key and equals and given):
        raise Refusal(f"given {changes[0]!r}; must be KEY=VALUE, such as train.learning_rate=0.005")
    return Change(f"{task.name}.{key.removeprefix(f'{task.name}.')}", given)


def look_at(change: Change, task: Task) -> None:
    """Check a change against the params' schema, before anything runs.

    Raises:
        Refusal: the key is unknown, the value not allowed or not new; or before and after would
            not be comparable.
    """
    params = read_yaml(FILE)
    place: Any = params
    *path, name = change.key.split(".")
    for part in path:
        place = place.setdefault(part, {}) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise Refusal(f"{FILE}: {change.key}: no such key")
    try:
        value = yaml.safe_load(change.given)
    except yaml.YAMLError:
        raise Refusal(f"{change.key}: given {change.given!r}; must be a value as in YAML") from None
    known, before = name in place, place.get(name)
    place[name] = value
    checked(params, FILE)  # an unknown key gets its nearest known one here
    inside = change.key.removeprefix(f"{task.name}.")
    drawing = task.name == "generative" and inside in DRAWING
    if not (inside.startswith("train.") or drawing) or inside == "train.seeds":
        more = f", {' or '.join(DRAWING)}" if task.name == "generative" else ""
        raise Refusal(
            f"{change.key}: before and after would not be comparable; change one of "
            f"{task.name}.train (but its seeds){more}, or edit {FILE} and run dvc repro"
        )
    if known and value == before:
        raise Refusal(f"{change.key}: is {before!r} already; give another value")
    if isinstance(value, float) and "e" in repr(value):
        raise Refusal(
            f"{change.key}: DVC writes {change.given} as {value!r}, which YAML reads as text; edit "
            f"{FILE} (as 0.00001) and run dvc repro"
        )


def look_at_evidence(task: Task) -> None:
    """Hold that what stands is of the present params: it is the `before`.

    Raises:
        Refusal: the pack is missing, or is of other params.
    """
    made = read_json(task.evidence / "data" / "params.json")
    if made != task.params.model_dump():
        raise Refusal(
            f"{task.evidence}/data/params.json differs from {FILE}: what stands is of other params; "
            f"run dvc repro pack@{task.name} first"
        )


def ran(change: Change, task: Task) -> tuple[str, str]:
    """Run the task's row with the change as a DVC experiment; return its name and what went wrong.

    It runs in a folder of its own: this work tree stays as it is, whatever happens.
    """
    mark = hashlib.sha256(str(change).encode()).hexdigest()[:6]
    name = re.sub(r"[^a-z0-9]+", "-", str(change).lower()).strip("-")[:40] + f"-{mark}"
    what = ("--name", name, "--set-param", str(change), f"pack@{task.name}")
    lines = _dvc("exp", "run", "--temp", "--force", *what)
    stage = re.compile(rf"(params|\w+@{task.name}): ")
    ours = [line for line in lines if stage.match(line)]
    return name, (ours or lines or [""])[-1]


def _dvc(*arguments: str) -> list[str]:
    """Run a DVC command; return the lines that it said where it failed, none where it did not."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["dvc", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": path},
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return []
    return [line.strip() for line in done.stdout.split("\n") if line.strip()] or [
        "dvc said nothing"
    ]


def revision(name: str) -> str:
    """Return the git reference of a DVC experiment."""
    told = _git("for-each-ref", "--sort=-creatordate", "--format=%(refname)", "refs/exps")
    found = [ref for ref in told.split("\n") if ref.endswith(f"/{name}")]
    if not found:
        raise Refusal(f"DVC has kept no experiment {name!r}; look at `dvc exp show`")
    return found[0]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refusal(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def of_classifiers(before: "pd.DataFrame", after: "pd.DataFrame", params: Any) -> tuple[str, ...]:
    """Return validation accuracy before and after, and the verdict of the paired comparison.

    Args:
        before: id, label and a prediction a seed, the headline's first.
        after: the same of the same samples.
        params: of the stage evaluate.

    Raises:
        Refusal: the samples differ.
    """
    from stages.shared.statistics import improvement

    if not before[["id", "label"]].equals(after[["id", "label"]]):
        raise Refusal("the validation samples of before and after differ; run dvc repro first")
    labels = before["label"].to_numpy()
    right = [labels == table.filter(regex=r"^seed_").to_numpy().T for table in (before, after)]
    found = improvement(right[0][0], right[1], params)
    shown = [f"accuracy {one[0].mean():.4f} (n {len(labels)})" for one in right]
    changes = right[1].mean(axis=1) - right[0].mean(axis=1)
    # A lucky or an unlucky headline is no change: each seed is held against itself.
    agreed = {"better": changes.min() > 0, "worse": changes.max() < 0}
    verdict = found.verdict if agreed.get(found.verdict, True) else "not distinguishable"
    return *shown, verdict


def of_generators(
    before: dict[str, float], after: dict[str, float], confidence: float
) -> tuple[str, ...]:
    """Return the Fréchet distance to validation images before and after, and a verdict.

    By Welch's t test over sampling seeds. Not paired: runs that start from the same noise differ so
    evenly that another training seed alone would count as a change.

    Args:
        before: by sampling seed, of the chosen checkpoint.
        after: the same.
        confidence: of the verdict.
    """
    import numpy as np
    from scipy import stats

    values = [np.array(list(one.values())) for one in (before, after)]
    verdict = "not distinguishable"
    if (
        min(map(len, values)) > 1
        and stats.ttest_ind(*values, equal_var=False).pvalue < 1 - confidence
    ):
        verdict = "better" if values[1].mean() < values[0].mean() else "worse"
    shown = [
        f"Fréchet distance {one.mean():.3f} ({one.min():.3f} to {one.max():.3f} over {len(one)} seeds)"
        for one in values
    ]
    return *shown, verdict


def compared(task: Task, at: str) -> tuple[str, ...]:
    """Return before, after and verdict; `at` is the experiment's git reference."""
    params, data = task.params.evaluate, task.evidence / "data"
    said = data / "validation_predictions.csv"
    held = said if said.exists() else data / "metrics.json"
    with tempfile.TemporaryDirectory() as scratch:
        after = Path(scratch, held.name)
        write(after, _git("show", f"{at}:{held.as_posix()}"))
        if held == said:
            one, other = (read_csv(path, dtype={"id": str}) for path in (held, after))
            return of_classifiers(one, other, params)
        drawn = [read_json(path)["selection"]["frechet_validation"] for path in (held, after)]
        return of_generators(drawn[0], drawn[1], params.confidence)


def lines(task: Task) -> "pd.DataFrame":
    """Return the task's experiments so far, all text."""
    import pandas as pd

    path = task.evidence / LOG
    names = list(Line.__dataclass_fields__)
    if not path.exists():
        return pd.DataFrame(columns=names, dtype=str)
    table = read_csv(path, dtype=str)
    if list(table) != names:
        raise Refusal(f"{path}: must have the columns {', '.join(names)}")
    return table


def add(task: Task, line: Line) -> None:
    """Add a line to the task's experiments; failed attempts stay."""
    import pandas as pd

    table = pd.concat([lines(task), pd.DataFrame([asdict(line)])], ignore_index=True)
    write(task.evidence / LOG, table)


def experiment(task: Task, change: Change, why: str, *, keep: bool) -> Line:
    """Run the change, compare, and return the line that is to be added."""
    look_at_evidence(task)
    look_at(change, task)
    lines(task)  # a damaged file is refused before the work, not after it
    name, wrong = ran(change, task)
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    if wrong:
        return Line(date, str(change), why, "", "", f"failed: {wrong}", "no")
    before, after, verdict = compared(task, revision(name))
    kept = keep and verdict == "better"
    if kept and (told := _dvc("exp", "apply", name)):
        print(f"experiment@{task.name}: dvc exp apply {name}: {told[-1]}", file=sys.stderr)
        kept = False
    return Line(date, str(change), why, before, after, verdict, "yes" if kept else "no")


def main() -> None:
    """Run one experiment, or list those that were run."""
    parser = argparse.ArgumentParser(prog="python -m stages.experiment", description=__doc__)
    parser.add_argument("task")
    parser.add_argument("change", nargs="*", help="KEY=VALUE: train.learning_rate=0.005")
    parser.add_argument("--next", action="store_true", help="try what the pack proposes")
    parser.add_argument("--why", default="", help="what you expect, and why")
    parser.add_argument("--keep", action="store_true", help="take it over where it is better")
    parser.add_argument("--list", action="store_true", help="print the experiments so far")
    given = parser.parse_args()
    with refusing(f"experiment@{given.task}"):
        found = tasks(load())
        if given.task not in found:
            parser.error(f"task: given {given.task!r}; must be one of {', '.join(found)}")
        task = found[given.task]
        if given.list:
            for row in lines(task).itertuples(index=False):
                print("\t".join(printable(str(cell)) for cell in row))
            return
        if given.next and given.change:
            raise Refusal("give either a change or --next")
        change, why = proposed(task) if given.next else (asked(task, given.change), "")
        why = given.why.strip() or why
        if not why:
            raise Refusal("--why is missing: say what you expect, and why, before you look")
        line = experiment(task, change, why, keep=given.keep)
        add(task, line)
        for name, value in asdict(line).items():
            print(f"{name}: {printable(value)}")
        print(f"added to: {task.evidence / LOG}")


if __name__ == "__main__":
    main()
