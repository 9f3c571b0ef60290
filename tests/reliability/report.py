"""The results of each part, a run for each seed, as JSON; docs/reliability.md is written from them."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support.project import ROOT, run

from reliability.trials import Trial
from stages.core.files import to_json
from stages.core.machine import host_record

RESULTS = ROOT / "tests/reliability/results.json"
PAGE = ROOT / "docs/reliability.md"
TITLES = {
    "kills": "Kills of the pipeline",
    "lock": "Kills while dvc.lock is written",
    "tools": "Kills of verify and of experiments",
    "honest": "Honest results of another processor",
    "params": "Mutated params",
    "data": "Mutated data",
    "circumstances": "Circumstances",
}
MEANINGS = {
    "kills": """
SIGKILL at a random moment of `evidence repro` with two jobs, as `make repro` runs it, and of `dvc repro`,
over all tasks with tiny params: of the command alone, of a process below it, or of the whole group. Then
the run is finished by the same command, after what `make repro` does to a damaged dvc.lock. All is well
where dvc.lock, metrics, plots, evidence and all data have the bytes of an undisturbed run, no process is
left 20 seconds after the command's end, and no temporary file after the next run.""",
    "lock": """
The same in a small project, in the instants in which DVC writes dvc.lock.""",
    "tools": """
The same with `evidence verify` (tiers metrics and predictions) and `evidence experiment`, in a small
project: the same command, run again, must say the same, with no process or temporary file left, and the
project as it was.""",
    "honest": """
The workshop computed as on a processor that lacks instructions of this one: NumPy and the C library are
kept from using them, and the record names another processor. The result is committed, and `evidence
verify` runs every tier here. All is well where it raises no alarm (exit status 0).""",
    "params": """
params.yaml with lines, values, keys and bytes changed, deleted, doubled or swapped, in other encodings,
with tags, aliases and bombs. All is well where the stage params accepts it, or rejects it in one
printable line with exit status 2, and no other file has changed. One in 25 is given to a process of its
own as well, and one in 25 to `dvc repro`.""",
    "data": """
Images and tables with bytes, cells, names and types of files changed, through the checks of params and
the stage prepare. All is well where what cannot be used is listed, or rejected in one line, nothing is
half-written, and the data stay as they are.""",
    "circumstances": """
`dvc repro` of the workshop from nothing. All is well where it ends in the same bytes, or says in one
line what is wrong, and ends in the same bytes once that is mended.""",
}
INTRODUCTION = """
`make reliability` kills the pipeline, feeds it damaged files, runs it on unfriendly machines, and
writes this page from what happened. `make test-all` runs a few cases of each part."""


def summarise(trials: Iterable[Trial], seed: int | None) -> dict[str, Any]:
    """Return counts by row and outcome, every problem, and on which machine the trials ran."""
    start = time.monotonic()
    commit = run(ROOT, "git", "rev-parse", "--short", "HEAD").stdout.strip()
    done = list(trials)
    counts = Counter((trial.row, trial.outcome) for trial in done if not trial.problem)
    failures = Counter(trial.row for trial in done if trial.problem)
    rows = [
        {
            "row": row,
            "count": sum(trial.row == row for trial in done),
            "outcomes": {
                outcome: count for (name, outcome), count in counts.items() if name == row
            },
            "problems": failures[row],
        }
        for row in dict.fromkeys(trial.row for trial in done)
    ]
    return {
        "count": len(done),
        "seed": seed,
        "seconds": round(time.monotonic() - start),
        "commit": commit,
        "machine": host_record(),
        "rows": sorted(rows, key=lambda row: str(row["row"])),
        "problems": [
            f"{trial.row}: {trial.case}: {trial.problem}" for trial in done if trial.problem
        ],
    }


def page(results: dict[str, Any]) -> str:
    """Return docs/reliability.md."""
    blocks = ["# Reliability, measured", INTRODUCTION.strip()]
    for part, title in TITLES.items():
        if part in results:
            blocks += [f"## {title}", MEANINGS[part].strip(), *_part(results[part])]
    return "\n\n".join(blocks) + "\n"


def _part(runs: list[dict[str, Any]]) -> list[str]:
    cases, problems = Counter[str](), Counter[str]()
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in [row for result in runs for row in result["rows"]]:
        cases[row["row"]] += row["count"]
        problems[row["row"]] += row["problems"]
        outcomes[row["row"]].update(row["outcomes"])
    lines = ["| what | cases | problems | how they ended |", "| --- | --- | --- | --- |"]
    for name in sorted(cases):
        ends = "; ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes[name].items()))
        lines.append(f"| {name} | {cases[name]} | {problems[name]} | {ends} |")
    wrong = [f"- {problem}" for result in runs for problem in result["problems"]]
    total = f"{_counted(cases.total(), 'case')}, {_counted(len(wrong), 'problem')}."
    return [
        "\n".join(lines),
        *(["Problems:", "\n".join(wrong)] if wrong else []),
        *([total] if len(runs) > 1 else []),
        *map(_run, runs),
    ]


def _run(result: dict[str, Any]) -> str:
    """Return the line of one run: its cases, and where it ran."""
    seed = "" if result["seed"] is None else f" Seed {result['seed']}."
    machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    return (
        f"{_counted(result['count'], 'case')} in {result['seconds']} s, "
        f"{_counted(len(result['problems']), 'problem')}.{seed} Commit {result['commit']}, {machine}."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def record(
    part: str, result: dict[str, Any], results_file: Path = RESULTS, page_file: Path = PAGE
) -> None:
    """Add a run of a part to its earlier ones, in place of one with the same seed; write the page anew."""
    results = json.loads(results_file.read_text()) if results_file.exists() else {}
    others = [other for other in results.get(part, []) if other["seed"] != result["seed"]]
    results[part] = sorted([*others, result], key=lambda recorded: recorded["seed"] or 0)
    results_file.write_bytes(to_json(results))
    write_page(results_file, page_file)


def write_page(results_file: Path = RESULTS, page_file: Path = PAGE) -> None:
    """Write the page from the results."""
    page_file.write_text(page(json.loads(results_file.read_text())), encoding="utf-8")
