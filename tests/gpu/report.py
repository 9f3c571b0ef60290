"""The results of each part as JSON, and docs/gpu.md, which is written from them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from support.project import ROOT, run

from stages.core.files import to_json
from stages.core.task import STAGES
from stages.report.formatting import markdown_table, percent, points

RESULTS = ROOT / "tests/gpu/results"
PAGE = ROOT / "docs/gpu.md"
PARTS = ("chains", "resume", "steps", "cifar")
_GOAL = 0.94
_ACCURACIES = (0.5, 0.7, 0.8, 0.85, 0.88, 0.9)
_NETWORKS = ("proposal", "resnet18")

Results = Mapping[str, Any]

_INTRODUCTION = """
`make gpu` runs the tasks on a GPU (CUDA) and writes this page from what happened; figures in full are in
`tests/gpu/results`. CIFAR-10 is a part of its own, for which you fetch the images and airbench:

```
pip download --no-deps --no-binary :all: airbench==0.1.8 && tar xf airbench-0.1.8.tar.gz
export PYTHONPATH=.:tests
python -m gpu project --folder /tmp/cifar --data CIFAR  # CIFAR/train/CLASS/*.jpg, CIFAR/test/CLASS/*.jpg
python -m gpu cifar --folder /tmp/cifar --airbench airbench-0.1.8
python -m gpu page
```"""
_CHAINS = """
Every stage of each task, from nothing, without DVC ({runs}), {cases} chains side by side. Seconds, the mean
of several runs."""
_BYTES = """
Files that two runs on the GPU share, by SHA-256, of all that the stages write:"""
_FIGURES = """
The metrics that `evidence verify` compares, against the committed ones (of a CPU) and their measured
tolerance, which knows no GPU, and no other versions of the libraries."""
_STEPS = """
{steps} steps after a warm-up, one task after the other. *ms* are without the profiler, the rest is counted
with it. *busy*: time in kernels as a share of the step. *waits*: how often Python waits for the GPU."""
_COPIES = """
Images, and the states of MiniLM's frozen layers, lie in the GPU's memory; there batches are taken,
augmented and padded. What is copied in a step was drawn on the CPU, so that each device draws the same:
indices and transformations, of texts the tokens. For generative these are points on its paths; its one wait
is torch's `AveragedModel`, which keeps its counter on the CPU. The GPU is idle for most of a step, which
lasts as long as Python takes to start the kernels: networks this small gain little or nothing from it."""
_CIFAR = """
The images are JPEGs and have lost detail: airbench, which reaches 94.0% on the original pixels (its README,
1,000 runs), reaches {airbench} here. {goal} airbench is {what}
(SHA-256 of its source archive `{sha256}`). All read the
same pixels on the same card, one run at a time, after a warm-up. The project's seconds include validation
after each epoch, airbench's do not."""
_CHOICE = """
**Chosen on validation data** ({validation:,} images; {train:,} to train on; one seed each): the fastest
params that reach what airbench reaches on them when trained on the same images, {target} (n {n},
{seconds:.2f} s)."""
_NAMES = """
*proposal*: what `evidence new` proposes (channels {channels}; batches of {batch_size}). *wide*: twice the
channels. *deep*: wide, with a block more. In batches of 1024, a quarter as many steps do the same work."""
_TEST = """
**On the {test:,} test images**, which chose nothing:"""
_OVER_SECONDS = """
Seconds until an accuracy is first reached on the validation images (airbench: mean of its runs, without its
test-time augmentation):"""


def record(part: str, result: dict[str, Any], folder: Path = RESULTS) -> None:
    """Write the result of a part, with the commit where there is one."""
    if (ROOT / ".git").exists():
        commit = run(ROOT, "git", "rev-parse", "--short", "HEAD").stdout.strip()
        result = {**result, "commit": commit}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.json").write_bytes(to_json(result))


def write_page(folder: Path = RESULTS, page_file: Path = PAGE) -> None:
    """Write the page from the results."""
    page_file.write_text(page(read_results(folder)), encoding="utf-8")


def read_results(folder: Path = RESULTS) -> dict[str, Any]:
    """Return the results by part, of those that were run."""
    files = {part: folder / f"{part}.json" for part in PARTS}
    return {part: json.loads(file.read_text()) for part, file in files.items() if file.exists()}


def page(results: Results) -> str:
    """Return docs/gpu.md."""
    sections = {"chains": _chains, "resume": _resume, "steps": _steps, "cifar": _cifar}
    blocks = ["# On a GPU, measured", _INTRODUCTION.strip()]
    for part, result in results.items():
        blocks += [*sections[part](result), *result.get("remarks", [])]
    if missing := not_run(results):
        blocks += ["## Not run", "\n".join(f"- {line}" for line in missing)]
    blocks += ["## The machine", *_machines(results)]
    return "\n\n".join(blocks) + "\n"


def _machines(results: Results) -> list[str]:
    """Return a line for each machine and commit, with the parts that ran there."""
    parts: dict[str, list[str]] = {}
    for part, result in results.items():
        machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
        parts.setdefault(f"commit {result['commit'][:7]}, {machine}.", []).append(part)
    return [f"{', '.join(names).capitalize()}: {line}" for line, names in parts.items()]


def not_run(results: Results) -> list[str]:
    """Return in words what was not measured."""
    lines = {
        "chains": "The tasks.",
        "resume": "A killed training that is resumed (`python -m gpu resume`).",
        "steps": "Steps of training.",
        "cifar": "CIFAR-10.",
    }
    missing = [line for part, line in lines.items() if part not in results]
    cifar = results.get("cifar", {})
    if cifar:
        networks = [name for name in _NETWORKS if name not in cifar.get("measured", {})]
        missing += [f"{name} on CIFAR-10's test images." for name in networks]
    if cifar and "steps" not in cifar:
        missing.append("Copies in a step of CIFAR-10.")
    return missing


def _chains(result: Results) -> list[str]:
    tasks: dict[str, Any] = result["tasks"]
    rows = [(task, device, row) for task in tasks for device, row in sorted(tasks[task].items())]
    runs = {device: len(row["runs"]) for _, device, row in rows}
    return [
        "## The tasks",
        _CHAINS.strip().format(
            runs=" and ".join(f"{count} on {device}" for device, count in runs.items()),
            cases=result["side_by_side"],
        ),
        markdown_table(
            ("task", "device", "runs", *STAGES, "sum"),
            [
                (task, device, len(row["runs"]), *_seconds(row["runs"]))
                for task, device, row in rows
            ],
            range(2, len(STAGES) + 4),
        ),
        "### Bytes",
        _BYTES.strip(),
        markdown_table(
            ("task", "files", "of these weights", "same in both", "different"),
            [_bytes_row(task, row["bytes"]) for task, _, row in rows if "bytes" in row],
            (1, 2, 3),
        ),
        "### Figures",
        _FIGURES.strip(),
        markdown_table(
            ("task", "device", "metrics", "equal", "outside", "gain", "committed", "verdict"),
            [_figures_row(task, device, row) for task, device, row in rows if "main" in row],
            (2, 3, 4, 5, 6),
        ),
        "Outside the tolerance:",
        markdown_table(
            ("task", "device", "metric", "committed", "here", "tolerance"),
            [
                (
                    task,
                    device,
                    *(entry[key] for key in ("metric", "committed", "here", "tolerance")),
                )
                for task, device, row in rows
                for entry in row.get("distances", {"metrics": []})["metrics"]
                if entry["outside"]
            ],
            (3, 4, 5),
        ),
    ]


def _seconds(runs: Sequence[Results]) -> list[str]:
    stages = [mean(run["seconds"].get(stage, 0) for run in runs) for stage in STAGES]
    return [f"{seconds:.1f}" for seconds in [*stages, sum(stages)]]


def _bytes_row(task: str, shared: Results) -> tuple[object, ...]:
    different = shared["different"]
    weights = [path for path in different if path.endswith(".safetensors")]
    words = f"{', '.join(weights) or 'no weights'}, and {len(different) - len(weights)} others"
    same = shared["all"] - len(different)
    return task, shared["all"], shared["files"]["weights"], same, words if different else "none"


def _figures_row(task: str, device: str, row: Results) -> tuple[object, ...]:
    distances, main = row["distances"], row["main"]
    outside = sum(entry["outside"] for entry in distances["metrics"])
    gains = (f"{main[name]['gain']:.4f}" for name in ("here", "committed"))
    counts = distances["compared"], distances["equal"], outside
    return (task, device, *counts, *gains, main["here"]["verdict"])


def _resume(result: Results) -> list[str]:
    rows = [
        (
            task,
            row["problem"] or f"{len(row['bytes']['different'])} of {row['bytes']['all']} differ",
        )
        for task, row in result["tasks"].items()
    ]
    text = "Training killed after an epoch and run again, against an undisturbed run on the GPU: files."
    return ["## Kills", text, markdown_table(("task", "files"), rows)]


def _steps(result: Results) -> list[str]:
    return [
        "## A step",
        _STEPS.strip().format(steps=result["steps"]),
        _steps_table(result["tasks"]),
        _COPIES.strip(),
    ]


def _steps_table(tasks: Mapping[str, Results]) -> str:
    keys = ("step_ms", "kernels", "copies_to_device", "bytes_to_device", "waits")
    return markdown_table(
        ("task", "busy", "ms", "kernels", "copies to the GPU", "bytes of these", "waits"),
        [
            (task, percent(row["busy"]), *(f"{row[key]:,.0f}" for key in keys))
            for task, row in tasks.items()
        ],
        range(1, 7),
    )


def _cifar(result: Results) -> list[str]:
    samples, chosen = result["samples"], result["chosen"]
    airbench, on_validation = result["airbench_test"], result["airbench_validation"]
    proposal = result["proposal"]
    introduction = _CIFAR.strip().format(
        airbench=percent(_mean(airbench, "test")), goal=_goal(result), **result["airbench"]
    )
    choice = _CHOICE.strip().format(
        **samples,
        target=percent(result["target"]),
        n=len(on_validation),
        seconds=_mean(on_validation, "seconds"),
    )
    names = _NAMES.strip().format(
        channels=", ".join(map(str, proposal["channels"])), batch_size=proposal["batch_size"]
    )
    blocks = ["## CIFAR-10", introduction, choice, _candidates_table(result), names]
    all_images = samples["train"] + samples["validation"]
    rows = [
        ("airbench", *_test_row(airbench, airbench, all_images)),
        *(
            (name, *_test_row(rows, airbench, samples["train"]))
            for name, rows in result["measured"].items()
        ),
    ]
    header = ("", "runs", "trained on", "test accuracy", "seconds", "of airbench's seconds")
    blocks += [
        _TEST.strip().format(**samples),
        markdown_table(header, rows, range(1, 6)),
        _OVER_SECONDS.strip(),
        _accuracy_over_seconds(on_validation, result["measured"][chosen]),
    ]
    return [*blocks, _steps_table(result["steps"])] if "steps" in result else blocks


def _candidates_table(result: Results) -> str:
    return markdown_table(
        ("params", "epochs", "precision", "validation accuracy", "seconds"),
        [
            (
                f"**{row['candidate']}**"
                if row["candidate"] == result["chosen"]
                else row["candidate"],
                row["epochs"],
                row["precision"],
                percent(row["validation"]),
                f"{row['seconds']:.1f}",
            )
            for row in result["candidates"]
        ],
        (1, 3, 4),
    )


def _goal(result: Results) -> str:
    runs = [
        *result["airbench_test"],
        *(row for rows in result["measured"].values() for row in rows),
    ]
    reached = any(row["test"] >= _GOAL for row in runs)
    return f"{percent(_GOAL, 0)} is {'reached' if reached else 'out of reach for both'}."


def _mean(rows: Sequence[Results], key: str) -> float:
    return float(mean(row[key] for row in rows))


def _test_row(
    rows: Sequence[Results], airbench: Sequence[Results], trained_on: int
) -> tuple[object, ...]:
    seconds = _mean(rows, "seconds")
    accuracies = sorted(row["test"] for row in rows)
    spread = f" ({percent(accuracies[0])} to {percent(accuracies[-1])})" if len(rows) > 1 else ""
    difference = points(_mean(rows, "test") - _mean(airbench, "test"))
    same = rows is airbench
    return (
        len(rows),
        f"{trained_on:,}",
        f"{percent(_mean(rows, 'test'))}{spread}{'' if same else f', {difference}'}",
        f"{seconds:.2f}",
        f"{seconds / _mean(airbench, 'seconds'):.1f}",
    )


def _accuracy_over_seconds(airbench: Sequence[Results], own: Sequence[Results]) -> str:
    columns = []
    for rows, key in ((airbench, "test_by_epoch"), (own, "validation_by_epoch")):
        by_epoch = [mean(values) for values in zip(*(row[key] for row in rows), strict=True)]
        seconds = [
            mean(values) for values in zip(*(row["seconds_by_epoch"] for row in rows), strict=True)
        ]
        columns.append([first_reached(by_epoch, seconds, accuracy) for accuracy in _ACCURACIES])
    return markdown_table(
        ("accuracy", *(percent(accuracy, 0) for accuracy in _ACCURACIES)),
        [("airbench", *columns[0]), ("chosen", *columns[1])],
        range(1, len(_ACCURACIES) + 1),
    )


def first_reached(accuracies: Sequence[float], seconds: Sequence[float], least: float) -> str:
    """Return the seconds at which an accuracy is first reached, "-" where it never is."""
    for accuracy, second in zip(accuracies, seconds, strict=True):
        if accuracy >= least:
            return f"{second:.1f}"
    return "-"
