"""What follows from the files in git alone: samples, metrics, tables, plots and pages, computed again.

It is computed by the code that verifies, not by that of the revision; so both have to be the same.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.experiment import LOG
from stages.shared.refusal import Refusal
from stages.shared.task import STAGES
from stages.shared.texts.source import NOT_EMBEDDED
from stages.shared.verifying.band import leaves
from stages.shared.verifying.locked import Locked
from stages.shared.verifying.scratch import side_by_side
from stages.shared.verifying.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    import pandas as pd

    from stages.shared.dataset import Dataset
    from stages.shared.task import Task

CODE = Path(__file__).resolve().parents[3]
# Where each file of evidence/<task>/data comes from: its stage, and its name in that stage's folder.
ORIGINS = {
    "checks.json": ("check", "checks.json"),
    "model_summary.csv": ("check", "shapes.csv"),
    "transformer_flow.csv": ("check", "flow.csv"),
    "baseline.json": ("baseline", "baseline.json"),
    "baseline_log.csv": ("baseline", "log.csv"),
    "training_log.csv": ("train", "log.csv"),
    "chosen_epochs.json": ("train", "chosen.json"),
    "machine.json": ("train", "machine.json"),
    "metrics.json": ("evaluate", "metrics.json"),
    "predictions.csv": ("evaluate", "predictions.csv"),
    "baseline_predictions.csv": ("evaluate", "baseline_predictions.csv"),
    "validation_predictions.csv": ("evaluate", "validation_predictions.csv"),
    "per_class.csv": ("evaluate", "per_class.csv"),
    "confusion_matrix.csv": ("evaluate", "confusion.csv"),
    "slices.csv": ("evaluate", "slices.csv"),
    "error_buckets.csv": ("evaluate", "buckets.csv"),
    "checkpoint_review.csv": ("evaluate", "review.csv"),
    "samples.csv": ("evaluate", "samples.csv"),
    "classes.csv": ("evaluate", "classes.csv"),
    "failure_cases.csv": ("failures", "cases.csv"),
    "prediction_samples.csv": ("failures", "successes.csv"),
    "failure_summary.json": ("failures", "summary.json"),
    "next_step.json": ("failures", "next_step.json"),
    "driving_words.json": ("failures", "words.json"),
}
# What reading tables of another form raises: a column, a key, a file that is not there.
DAMAGED = (OSError, LookupError, ValueError, TypeError, AttributeError)
_ROUNDED = 5e-6  # figures computed from figures of six digits
_PICTURE = re.compile(r'"data:image/[^"]*"')


def rows(found: Locked) -> list[str]:
    """Return the tasks whose rows of the grid are among the stages."""
    names = [name.partition("@")[2] for name in found.stages if name.startswith("pack@")]
    return [one for one in names if all(f"{stage}@{one}" in found.stages for stage in STAGES)]


def asked_rows(found: Locked) -> list[str]:
    """Return those of the rows of which something is to be said of some stage."""
    return [one for one in rows(found) if any(name.endswith(f"@{one}") for name in found.asked)]


def of_grid(found: Locked) -> list[Finding]:
    """Return the stages of the grid that run anything but their own module, in the root."""
    own = {"params", "compare", *(f"{stage}@{row}" for row in rows(found) for stage in STAGES)}
    wrong = {name: _other_command(found, name) for name in found.stages if name in own}
    return [Finding(name, Verdict.OUTSIDE, said) for name, said in wrong.items() if said]


def _other_command(found: Locked, name: str) -> str:
    own, stage = (
        f"python -m stages.{' '.join(name.partition('@')[::2])}".strip(),
        found.stages[name],
    )
    if stage.cmd != own:
        return f"command: dvc.yaml says {stage.cmd!r}, a stage of the grid runs {own!r}"
    if Path(stage.wdir) != found.root:
        return f"wdir: dvc.yaml says {stage.wdir}, a stage of the grid runs in the root"
    return ""


def other_code(found: Locked) -> str:
    """Return the first file of code that differs between the revision and what verifies; "" if none.

    All of the revision's `stages/` counts, and what a Python in its root would import before anything
    else; what lies beside the verifier's own code, a draft of its user's, does not.
    """
    here, there = _code(CODE), _code(found.root)
    return next((path for path in sorted(there) if here.get(path) != there[path]), "")


def _code(root: Path) -> dict[str, bytes]:
    first = [one for kind in ("*.py", "*.pyc", "*.so", "*/__init__.py") for one in root.glob(kind)]
    own = [one for kind in ("*.py", "*.j2") for one in root.glob(f"stages/**/{kind}")]
    files = (one for one in {*first, *own} if not one.relative_to(root).parts[0].startswith("."))
    return {one.relative_to(root).as_posix(): one.read_bytes() for one in files}


def findings(found: Locked) -> list[Finding]:
    """Return for each stage of each row whether what is in git follows from what it is made of.

    `prepare` is run again, with the revision's own code.
    """
    names = [name for name in asked_rows(found) if f"prepare@{name}" in found.stages]
    other = other_code(found)
    if other:
        why = (
            f"{other} of this revision is not the code that verifies; check it out and verify there"
        )
        return [Finding(name, Verdict.UNCHECKED, why) for name in found.stages]
    result = _prepared(found, names)
    with contextlib.chdir(found.root):
        from stages.params import load
        from stages.shared.task import tasks

        known = tasks(load())
        for one in [one for one in result if one.verdict is Verdict.BITWISE]:
            task = known[one.stage.partition("@")[2]]
            result += _held(f"pack@{task.name}", _row(task))
        result += _held("compare", _compared(found, known, names))
    return result


def _held(stage: str, findings: Iterator[Finding]) -> list[Finding]:
    """Return findings as far as they go; what cannot be read as it should be is one more, of `stage`."""
    result = []
    try:
        for one in findings:
            result.append(one)  # noqa: PERF402 (those before an error stay)
    except Refusal as refusal:
        result.append(Finding(stage, Verdict.OUTSIDE, str(refusal)))
    except DAMAGED as error:
        said = f"the files in git are not such as this stage writes ({error!r})"
        result.append(Finding(stage, Verdict.OUTSIDE, said))
    return result


def _prepared(found: Locked, names: Sequence[str]) -> list[Finding]:
    """Return what running `prepare` again gives, row by row; a command of another kind is not run."""
    wrong = {name: _other_command(found, f"prepare@{name}") for name in names}
    honest = [name for name in names if not wrong[name]]
    commands = [(found.root, ("python", "-m", "stages.prepare", name)) for name in honest]
    done = [one for at in range(0, len(commands), 2) for one in side_by_side(commands[at : at + 2])]
    return [
        *(
            Finding(f"prepare@{name}", Verdict.OUTSIDE, said)
            for name, said in wrong.items()
            if said
        ),
        *(_samples_of(found, f"prepare@{n}", one) for n, one in zip(honest, done, strict=True)),
    ]


def _samples_of(found: Locked, stage: str, done: "CompletedProcess[str]") -> Finding:
    if done.returncode:
        told = done.stderr.strip().split("\n")[-1]
        # The embedded data are known by their hash; any other failure may be this machine's.
        verdict = Verdict.OUTSIDE if NOT_EMBEDDED in told else Verdict.UNCHECKED
        return Finding(stage, verdict, f"running it again fails: {told}")
    other, missing = found.differing(stage)
    if other or missing:
        said = f"{(other + missing)[0]}: the raw data in git give other samples than dvc.lock says"
        return Finding(stage, Verdict.OUTSIDE, said)
    return Finding(stage, Verdict.BITWISE)


def _row(task: "Task") -> Iterator[Finding]:
    from stages.shared.dataset import read_dataset
    from stages.shared.files import read_json

    dataset = read_dataset(task.folder("prepare"))
    data = task.evidence / "data"
    wrong = list(_of_samples(task, dataset))
    note = read_json(data / "dataset_note.json")
    if note != dataset.note:
        key = next(k for k in {**note, **dataset.note} if note.get(k) != dataset.note.get(k))
        wrong.append(
            f"{data}/dataset_note.json: {key} is {note.get(key)!r}, the data in git give "
            f"{dataset.note.get(key)!r}"
        )
    yield from _told(f"prepare@{task.name}", wrong, Verdict.BITWISE)
    measure = _measured if (data / "predictions.csv").exists() else _sampled
    yield from _told(f"evaluate@{task.name}", list(measure(task, dataset)), Verdict.AGREES)
    yield from _told(f"pack@{task.name}", list(_pages(task, dataset)), Verdict.AGREES)


def _told(stage: str, wrong: list[str], well: Verdict) -> Iterator[Finding]:
    if not wrong:
        yield Finding(stage, well)
    for said in wrong:
        yield Finding(stage, Verdict.OUTSIDE, said)


def _of_samples(task: "Task", dataset: "Dataset") -> Iterator[str]:
    """Say where groups lie in several splits, or predictions are of other samples than prepared ones."""
    from stages.shared.files import read_csv

    if dataset.note["grouped"]:
        by = dataset.samples.groupby("group", observed=True)["split"].nunique()
        for group in by.index[by > 1][:1]:
            yield f"the group {group!r} lies in several splits: what is tested was seen in training"
    for name, split, columns in (
        ("predictions.csv", "test", ["id", "row", "group", "label"]),
        ("baseline_predictions.csv", "test", ["id", "label"]),
        ("validation_predictions.csv", "validation", ["id", "label"]),
    ):
        path = task.evidence / "data" / name
        if path.exists():
            said = read_csv(path, dtype={"id": str, "group": str})
            if not said[columns].astype(str).equals(dataset.part(split)[columns].astype(str)):
                yield f"{path}: its {', '.join(columns)} are not those of the prepared {split} split"


def _measured(task: "Task", dataset: "Dataset") -> Iterator[str]:
    """Say what differs from what the predictions in git give: metrics, tables, plots."""
    from stages.shared import comparison
    from stages.shared.files import as_csv, read_csv, read_json

    data = task.evidence / "data"
    text = {"id": str, "group": str, "bucket": str}
    answers = comparison.Answers(
        *(
            read_csv(data / f"{name}.csv", dtype=text)
            for name in ("predictions", "baseline_predictions", "validation_predictions")
        )
    )
    fitted, log = read_json(data / "baseline.json"), read_csv(data / "training_log.csv")
    strongest = answers.of_baseline(fitted["strongest"])
    for column, again in (
        ("baseline", strongest.predicted),
        ("baseline_confidence", strongest.confidence),
    ):
        if not (answers.predictions[column].to_numpy() == again).all():
            yield f"{data}/predictions.csv: {column} differs from {data}/baseline_predictions.csv"
    measure = getattr(task.cell("evaluate"), "measured", comparison.measured)
    found = measure(task, dataset, answers, fitted, log)
    yield from differences(data / "metrics.json", read_json(data / "metrics.json"), found.metrics)
    evidence = {ORIGINS[name][1]: name for name in ORIGINS}
    for name, table in found.tables.items():
        path = data / evidence[f"{name}.csv"]
        if path.read_bytes() != as_csv(table):
            yield f"{path}: the predictions in git give another table"
    yield from _plots(task, found.plots, f"the predictions and the log in {data}")
    _keep(task, found.baseline_plots["reliability"])


def _keep(task: "Task", reliability: "pd.DataFrame") -> None:
    from stages.shared.files import write

    write(task.folder("evaluate") / "baseline" / "reliability.csv", reliability)


def _sampled(task: "Task", _: "Dataset") -> Iterator[str]:
    """Say what differs from what the samples' table and the review in git give.

    Distances of features need the samples themselves, which are not in git.
    """
    from stages.shared.files import read_csv, read_json

    data = task.evidence / "data"
    metrics = read_json(data / "metrics.json")
    samples = read_csv(data / "samples.csv", dtype={"id": str})
    review = read_csv(
        data / "checkpoint_review.csv", dtype={"what": str, "reason": str, "note": str}
    )
    again, told = task.cell("evaluate").from_tables(metrics, samples, review, task.params.evaluate)
    yield from differences(data / "metrics.json", metrics, again, reach=_ROUNDED)
    if not told.equals(review):
        yield f"{data}/checkpoint_review.csv: its figures give another status, reason or note"
    steps = review[review["status"] != ""].copy()
    steps["step"] = steps["step"].astype(float).astype(int)
    log = read_csv(data / "training_log.csv")
    own = log[log["seed"] == metrics["headline_seed"]]
    plots = task.cell("evaluate").plotted(own, steps)
    yield from _plots(task, plots, f"the log and the review in {data}")


def _plots(task: "Task", plots: "Mapping[str, pd.DataFrame]", given: str) -> Iterator[str]:
    from stages.shared.files import as_csv

    for name, table in plots.items():
        path = task.plots / f"{name}.csv"
        if path.read_bytes() != as_csv(table):
            yield f"{path}: {given} give another plot"
    for path in sorted(task.plots.iterdir()):
        if path.stem not in plots or path.suffix != ".csv":
            yield f"{path}: the stage evaluate writes no such plot"


def differences(path: Path, committed: Any, again: Any, reach: float = 0.0) -> Iterator[str]:
    """Say which values of a JSON file differ from those computed again, key by key.

    Args:
        path: of the file.
        committed: what it holds.
        again: what was computed again, not rounded yet.
        reach: by which numbers may differ.
    """
    from stages.shared.files import rounded

    before, after = leaves(committed), leaves(rounded(again))
    for key in sorted(before.keys() | after.keys()):
        here, there = before.get(key), after.get(key)
        close = isinstance(here, float) and isinstance(there, float) and abs(here - there) <= reach
        if here != there and not close:
            yield f"{path}: {key} is {here!r}, what lies beside it in git gives {there!r}"


def _pages(task: "Task", dataset: "Dataset") -> Iterator[str]:
    """Say which of the pack's files differ from what its own data give; pictures are left out."""
    import numpy as np

    from stages.shared.files import read_json, write

    data = task.evidence / "data"
    for name, (stage, file) in ORIGINS.items():
        if (data / name).exists():
            write(task.folder(stage) / file, (data / name).read_bytes())
    named = read_json(data / "troubles.json")
    write(task.folder("train") / "troubles.json", [one for one in named if "seed" in one])
    write(task.folder("evaluate") / "alarms.json", [one for one in named if "seed" not in one])
    # Pictures of what is not in git are drawn black, and not compared.
    unseen = getattr(task.cell("pack"), "unseen", None)
    for path, arrays in (unseen(task, dataset) if unseen else {}).items():
        write(path, {name: np.zeros(shape, np.uint8) for name, shape in arrays.items()})
    again = task.cell("pack").pack(task).files()
    names = {
        path.relative_to(task.evidence).as_posix()
        for path in task.evidence.rglob("*")
        if path.is_file() and path.name != LOG
    }
    for name in sorted(names ^ again.keys()):
        yield f"{task.evidence}/{name}: {'no pack has such a file' if name in names else 'is missing'}"
    for name in sorted(names & again.keys()):
        if name.startswith("pictures/"):
            continue
        here, there = (task.evidence / name).read_bytes(), _bytes(again[name])
        if name.endswith(".html"):
            here, there = (_PICTURE.sub('""', one.decode()).encode() for one in (here, there))
        if here != there:
            yield f"{task.evidence}/{name}: {_first(here, there)}"


def _bytes(content: Any) -> bytes:
    return (
        content if isinstance(content, bytes) else str(content).encode("utf-8", "backslashreplace")
    )


def _first(here: bytes, there: bytes) -> str:
    lines = [one.decode(errors="replace").split("\n") for one in (here, there)]
    shown = next(((a, b) for a, b in zip(*lines, strict=False) if a != b), ("its end", "another"))
    at = next((i for i, (a, b) in enumerate(zip(*shown, strict=False)) if a != b), 0)
    said, given = (one[max(0, at - 30) : at + 30] for one in shown)
    return f"says {said!r}, its data give {given!r}"


def _compared(found: Locked, known: "dict[str, Task]", names: list[str]) -> Iterator[Finding]:
    if "compare" not in found.stages:
        return
    from stages.compare import METRICS
    from stages.shared.files import as_json, read_json

    merged = read_json(METRICS)
    again = {
        name: read_json(known[name].evidence / "data" / "metrics.json")["current"] for name in names
    }
    wrong = [
        said for name in names for said in differences(METRICS, merged.get(name, {}), again[name])
    ]
    # Of rows that are not looked at, their names have to do.
    whole = {name: again.get(name, merged.get(name)) for name in known}
    if not wrong and METRICS.read_bytes() != as_json(whole):
        wrong.append(
            f"{METRICS}: holds other than what the stage compare writes of {', '.join(known)}"
        )
    yield from _told("compare", wrong, Verdict.AGREES)
