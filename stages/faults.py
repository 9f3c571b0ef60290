"""Faults: plant one at a time in a scratch clone, and see whether the project's own checks name it.

`python -m stages.faults list`, `plant NAME` (a clone with the fault in it, to look for it), `drill`
(every fault, and clean runs beside them; Markdown to the screen). What is cloned is HEAD; this folder
is not touched.
"""

import argparse
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stages.params import FILE, load
from stages.shared.files import read_json
from stages.shared.planted import DRAWN, FAULTS, IMAGES, SAMPLES, TEXTS, VERIFY, Fault
from stages.shared.refusal import REFUSED, Refusal, refusing
from stages.shared.runtime import machine
from stages.shared.verifying.scratch import git, ran

ROOT = Path(__file__).resolve().parents[1]
ANY = "any"
_GIT = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "faults"), ("EMAIL", "faults@example.invalid"))
}


# As short as lets every check hold and the faults show; only keys that a task has are set.
_SMALL: dict[str, dict[str, dict[str, Any]]] = {
    IMAGES: {"train": {"epochs": 6, "seeds": [0]}},
    DRAWN: {"train": {"seeds": [0]}},
    TEXTS: {
        "train": {
            "model": "scratch",
            "scratch": {"layers": 1, "width": 16, "heads": 2},
            "epochs": 2,
            "seeds": [0],
            "learning_rate": 0.005,
        }
    },
    SAMPLES: {
        "baseline": {"vae": {"epochs": 4}, "judge": {"epochs": 6, "channels": [16, 32]}},
        "train": {
            "log_every": 20,
            "review": [20, 60],
            "batch_size": 32,
            "channels": [16, 16],
            "learning_rate": 0.01,
            "average": 0.9,
            "seeds": [0],
        },
        "evaluate": {
            "samples": 200,
            "sampling_seeds": [0, 1],
            "solver_steps": 3,
            "resamples": 100,
        },
    },
}
_SHOWN = 150
_CLEAN = ("prepare", "check", "baseline", "train", "evaluate", "failures")


def kinds(project: Path) -> dict[str, str]:
    """Return each task's kind, as its row in dvc.yaml tells it."""
    rows = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))
    found = {}
    for name, row in rows["stages"]["prepare"]["foreach"].items():
        found[name] = row["medium"]
        if not row["measure"].endswith("classification.py"):
            found[name] = SAMPLES
        elif row["path"].startswith("stages/"):  # code is the raw data
            found[name] = DRAWN
    return found


def plant(fault: Fault, clone: Path, task: str) -> None:
    """Put a fault into a clone.

    Raises:
        Refusal: the code is no longer what the fault replaces, or it makes no sense for the task.
    """
    kind = kinds(clone)[task]
    if not fault.of(kind):
        raise Refusal(f"{fault.name} makes no sense for {task}; `python -m stages.faults list`")
    for edit in fault.of(kind):
        edit.apply(clone, task)


def _merged(given: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in changes.items() if key in given}
    return {
        **given,
        **{
            key: _merged(given[key], value) if isinstance(value, dict) else value
            for key, value in known.items()
        },
    }


def _rewrite(clone: Path, task: str, changes: Mapping[str, Any]) -> None:
    path = clone / FILE
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params[task] = _merged(params[task], changes)
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def cloned(where: Path) -> Path:
    """Return a clone of HEAD in the folder `where`, which must not be there or be empty."""
    git(ROOT, "clone", "--quiet", str(ROOT), str(where))
    return where


@dataclass
class Seen:
    """What the stages said: named findings, the line on which they stopped, and how long it took."""

    findings: list[str] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0


def run_stages(clone: Path, task: str, stages: tuple[str, ...]) -> Seen:
    """Run stages in a clone until one stops, and return what their checks name."""
    seen, start = Seen(), time.perf_counter()
    for stage in stages:
        done = ran(clone, sys.executable, "-m", f"stages.{stage}", task)
        lines = done.stderr.strip().splitlines()
        own = f"{stage}@{task}"
        seen.findings += [line for line in lines if line.startswith(own)]
        if stage == "check":
            seen.findings += list(_failed(clone, task))
        if done.returncode:
            last = lines[-1] if lines else f"exit {done.returncode}"
            seen.stopped = last if done.returncode == REFUSED else f"{stage} crashed: {last}"
            break
    seen.seconds = time.perf_counter() - start
    return seen


def _failed(clone: Path, task: str) -> Iterator[str]:
    path = clone / "data" / "check" / task / "checks.json"
    for row in read_json(path) if path.exists() else []:
        if not row["held"]:
            yield f"check@{task}: {row['check']}: {row['saw']}"


class Drill:
    """One task's prepared clone, copied for each fault."""

    def __init__(self, task: str, scratch: Path) -> None:
        self.task = task
        self.scratch = scratch
        self.base = cloned(scratch / f"{task}-base")
        self.kind = kinds(self.base)[task]
        shutil.rmtree(self.base / ".git")
        seen = run_stages(self.base, task, ("prepare",))
        if seen.stopped:
            raise Refusal(f"the scratch clone without a fault: {seen.stopped}")

    def fault(self, fault: Fault) -> tuple[bool, str, float]:
        """Return whether a fault is found, what names it, and the seconds."""
        seen = self._verified(fault) if VERIFY in fault.run else self._run(fault)
        for line in seen.findings:
            if re.search(fault.named, line):
                return True, line, seen.seconds
        return False, seen.stopped or "nothing", seen.seconds

    def _run(self, fault: Fault) -> Seen:
        with self._copy(fault.name) as clone:
            if self.kind not in fault.whole:
                _rewrite(clone, self.task, _SMALL.get(self.kind, _SMALL[IMAGES]))
            plant(fault, clone, self.task)
            return run_stages(clone, self.task, fault.run)

    def _verified(self, fault: Fault) -> Seen:
        """Commit a forgery, and return what verify says of it."""
        clone = cloned(self.scratch / f"{self.task}-{fault.name}")
        plant(fault, clone, self.task)
        git(clone, "commit", "--quiet", "--all", "--message", "better", more=_GIT)
        start = time.perf_counter()
        done = ran(
            clone,
            sys.executable,
            *("-m", "stages.verify", "--tier", "metrics", "--only", self.task, "compare"),
        )
        seconds = time.perf_counter() - start
        shutil.rmtree(clone)
        return Seen(done.stdout.strip().splitlines(), f"verify: exit {done.returncode}", seconds)

    def clean(self, seed: int) -> tuple[bool, str, float]:
        """Return whether a run without a fault, with the task's own params, is silent.

        Args:
            seed: of the split and of the training, in place of the task's own.
        """
        with self._copy(f"clean-{seed}") as clone:
            changes = {"prepare": {"split": {"seed": seed}}, "train": {"seeds": [seed]}}
            _rewrite(clone, self.task, changes)
            seen = run_stages(clone, self.task, _CLEAN)
        said = [*seen.findings, seen.stopped] if seen.stopped else seen.findings
        return not said, said[0] if said else "nothing", seen.seconds

    @contextmanager
    def _copy(self, name: str) -> Iterator[Path]:
        clone = self.scratch / f"{self.task}-{name}"
        shutil.copytree(self.base, clone)
        try:
            yield clone
        finally:
            shutil.rmtree(clone)


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def drill(names: Sequence[str], faults: Sequence[Fault], clean: int, first: int = 1) -> bool:
    """Print a Markdown table of every fault and clean run; return whether all went as it should.

    Args:
        names: of tasks.
        faults: to plant.
        clean: how many runs without a fault, a task.
        first: the first one's seed; the next has the next.
    """
    print(_line("fault", "task", "result", "named by", "seconds"))
    print(_line(*["---"] * 5), flush=True)
    well = True
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            one = Drill(name, Path(scratch))
            for fault in (fault for fault in faults if fault.of(one.kind)):
                found, said, seconds = one.fault(fault)
                well &= found
                result = "found" if found else "**missed**"
                print(_line(fault.name, name, result, _short(said), f"{seconds:.0f}"), flush=True)
            for seed in range(first, first + clean):
                silent, said, seconds = one.clean(seed)
                well &= silent
                result = "silent" if silent else "**false alarm**"
                what = f"none (training and split seed {seed})"
                print(_line(what, name, result, _short(said), f"{seconds:.0f}"), flush=True)
    return well


def _short(line: str) -> str:
    return line if len(line) <= _SHOWN else line[:_SHOWN].rsplit(" ", 1)[0] + " …"


def _preface(faults: int, clean: int) -> str:
    here = machine(load(ROOT / FILE).runtime)
    versions = ", ".join(
        f"{name} {here[name]}" for name in ("python", "torch", "numpy", "scikit-learn")
    )
    return (
        "# Faults, planted and found\n\n"
        f"`python -m stages.faults drill` at commit {git(ROOT, 'rev-parse', '--short', 'HEAD')}: "
        f"{faults} kinds of fault, planted one at a time in a scratch clone, one run each, with small "
        f"params where these show the fault; then {clean} runs of each task without a fault and with "
        "its own params, only the seeds of the split and of the training changed, where any alarm is a "
        "false one. Seconds are those of the stages that have to run. "
        f"{here['processor']}, {here['cores']} cores, {here['threads']} threads, {versions}.\n"
    )


def _list() -> None:
    rows = kinds(ROOT)
    for fault in FAULTS:
        fit = ", ".join(name for name, kind in rows.items() if fault.of(kind))
        print(f"{fault.name}: {fault.what}\n    named by {fault.by} ({fit})")


def _chosen(name: str, task: str | None) -> tuple[Fault, str]:
    """Return the fault of that name (or any one), and the task: the one given, or the first it fits."""
    rows = kinds(ROOT)
    able = [f for f in FAULTS if name in {f.name, ANY} and (not task or f.of(rows[task]))]
    if not able:
        raise Refusal(f"{name} makes no sense for {task}; `python -m stages.faults list`")
    fault = secrets.choice(able)
    return fault, task or next(row for row, kind in rows.items() if fault.of(kind))


def _plant(name: str, task: str | None, into: Path | None, *, quiet: bool) -> None:
    if into and into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Refusal(
            f"--into: {into} is there already; name a folder that is not, or an empty one"
        )
    fault, task = _chosen(name, task)
    clone = cloned((into or Path(tempfile.mkdtemp(prefix="fault-"))).resolve())
    plant(fault, clone, task)
    if quiet:  # one commit without a past, so that git does not tell where the fault is
        shutil.rmtree(clone / ".git")
        git(clone, "init", "--quiet", "--initial-branch", "main")
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--message", "as it stands", more=_GIT)
    else:
        print(f"{fault.name}: {fault.what}; to be named by {fault.by}; `git diff` shows it")
    if VERIFY in fault.run:
        print(f"cd {clone} && git commit --quiet --all --message better; python -m stages.verify")
    else:
        print(f"cd {clone} && dvc repro --glob '*@{task}'")


def main() -> None:
    """List the faults, plant one, or drill them all."""
    parser = argparse.ArgumentParser(prog="python -m stages.faults", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    known, names = list(kinds(ROOT)), [fault.name for fault in FAULTS]
    commands.add_parser("list", help="what can be planted, and which check has to name it")
    planting = commands.add_parser("plant", help="leave a clone with a fault in it")
    planting.add_argument("name", choices=[*names, ANY])
    planting.add_argument("--task", choices=known, help="default: the first one that it fits")
    planting.add_argument("--quiet", action="store_true", help="do not say what it is, or where")
    planting.add_argument("--into", type=Path, help="the clone's folder (default: a temporary one)")
    drilling = commands.add_parser("drill", help="plant each fault, and see which check names it")
    drilling.add_argument("--task", choices=known, help="one task only")
    drilling.add_argument("--fault", choices=names, help="one fault only")
    drilling.add_argument("--clean", type=int, default=3, help="runs without a fault, a task")
    drilling.add_argument("--seed", type=int, default=1, help="of the first of them")
    given = parser.parse_args()
    with refusing("faults"):
        if given.command == "list":
            _list()
        elif given.command == "plant":
            _plant(given.name, given.task, given.into, quiet=given.quiet)
        else:
            faults = [fault for fault in FAULTS if given.fault in {None, fault.name}]
            print(_preface(len(faults), given.clean))
            tasks = [given.task] if given.task else known
            if not drill(tasks, faults, given.clean, given.seed):
                raise SystemExit(1)


if __name__ == "__main__":
    main()
