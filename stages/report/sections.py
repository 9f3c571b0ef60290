"""The sections that the evidence pack of every kind has."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stages.core.machine import FILE as MACHINE_FILE
from stages.core.task import run_name
from stages.evaluation.experiment_log import LOG, read_log
from stages.report.classes import split_table
from stages.report.document import Block, Command, Facts, Link, Section, Table, Text
from stages.report.formatting import make_table, table_rows
from stages.report.review import FOLDER, read_review

if TYPE_CHECKING:
    import pandas as pd

    from stages.core.task import Task
    from stages.report.stage_outputs import StageOutputs

_EXPERIMENTS = 5  # that a page lists
REPRODUCTIONS = "../reproductions/README.md"  # seen from a pack
QUESTIONS = {
    "baseline": "What simple method did this beat?",
    "metric": "What number proves it?",
    "sample_success": "Which predictions look right?",
    "sample_failure": "Which still fail?",
    "debug_next": "What would you change first, and why?",
}


def first_facts(outputs: "StageOutputs", worst: str) -> list[Block]:
    """Return where the result is worse, and the next step with its command."""
    return [
        Facts([("Where it is worse", worst), ("Next step", outputs.next_step["summary"])]),
        Command(f"evidence experiment {outputs.task.name} --next"),
    ]


def overview_section(outputs: "StageOutputs", answers: Mapping[str, str]) -> Section:
    """Return the answers to `QUESTIONS`, by the same keys, and the command that reproduces the result."""
    return Section(
        "answers",
        "The five questions, and how to reproduce",
        [
            Facts([(QUESTIONS[key], answer) for key, answer in answers.items()]),
            Command(outputs.run_command),
            Link("Who has reproduced results of this repository", REPRODUCTIONS),
        ],
        closed=True,
    )


def prepare_section(outputs: "StageOutputs") -> Section:
    """Return the dataset note."""
    note = outputs.dataset.note
    unit = note.get("sample_unit", "file")
    blocks: list[Block] = [Facts(_dataset_facts(note, unit))]
    if note["unreadable_files"]:
        blocks.append(
            make_table(
                note["unreadable_files"],
                {"id": unit, "label": "class", "problem": "problem"},
                f"Unreadable {unit}s (the first {len(note['unreadable_files'])} of {note['unreadable']})",
            )
        )
    blocks.append(split_table(note["class_counts"], note["counts"], note.get("folds", 1)))
    return Section("prepare", "Data", blocks, closed=True)


def _dataset_facts(note: Mapping[str, Any], unit: str) -> list[tuple[str, str]]:
    near = note["near_duplicates"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in note.get("unreadable_kinds", {}).items())
    facts = [
        ("Origin", note["origin"]),
        ("Licence", note["licence"]),
        ("Label rules", note["label_rules"]),
        ("Split rule", note["split_rule"]),
        ("Size", note["size_rule"]),
        ("SHA-256", f"{note['raw_sha256']} ({note['raw_sha256_of']})"),
        (
            f"Unreadable {unit}s",
            f"{note['unreadable']} left out{f' ({kinds})' if kinds else ''}",
        ),
        (
            "Exact duplicates",
            (
                f"{note['exact_duplicates']} left out, "
                f"{note['exact_duplicates_with_another_label']} of them with a different label"
            ),
        ),
        (
            "Near duplicates",
            (
                f"{near['pairs']} found ({near['rule']}); {near['cross_split_excluded']} training "
                "samples left out because they nearly repeat a validation or test sample"
            ),
        ),
    ]
    groups = [f"{split}: {', '.join(names)}" for split, names in note["groups"].items() if names]
    facts += [("Groups", "; ".join(groups))] if groups else []
    return facts + [("Remark", remark) for remark in note["remarks"]]


def check_section(outputs: "StageOutputs", *extra: Block) -> Section:
    """Return the checks before training and the output shape of every layer."""
    columns = {"check": "check", "passed": "passed", "observed": "observed"}
    checks = make_table(outputs.checks, columns, "Checks before training")
    shapes = layer_table(outputs.shapes, "Output shapes of the layers")
    return Section("check", "Checks and layers", [checks, shapes, *extra], closed=True)


def layer_table(shapes: "pd.DataFrame", caption: str) -> Table:
    """Return the output shape and parameter count of every layer; the caption adds their total."""
    columns = {
        "layer": "layer",
        "kind": "kind",
        "output_shape": "output shape",
        "parameters": "parameters",
    }
    total = int(shapes["parameters"].sum())
    return make_table(table_rows(shapes), columns, f"{caption}; {total:,} parameters in all")


def diagnostics_blocks(outputs: "StageOutputs") -> list[Block]:
    """Return the diagnostics of training, the warnings about the data, and where the machine is named."""
    machine = Text(
        f"The machine that computed these results is recorded in {MACHINE_FILE}, and on no page: the same "
        "results from another machine leave every page as it is."
    )
    facts = [
        (
            f"{row['name']}, {run_name(row['seed'], row.get('fold'))}",
            f"{row['observed']}; try first: {row['remedy']}",
        )
        for row in outputs.diagnostics
    ]
    facts += [
        (row["name"], f"{row['observed']}; try first: {row['remedy']}")
        for row in outputs.data_warnings
    ]
    if facts:
        return [Facts(facts), machine]
    return [
        Text(
            "No problem diagnosed. The training log of every seed was checked for a loss that does not "
            "decrease, for too short training, underfitting, a plateau and overfitting, and the model's "
            "results for label noise, copying, and classes that it never recognises. A loss that is not "
            "finite would have stopped training."
        ),
        machine,
    ]


def review_section(outputs: "StageOutputs", drafts: Mapping[str, str]) -> Section:
    """Return the reviewer's notes, each after the draft that was computed from the figures.

    Args:
        outputs: of the task whose notes are read.
        drafts: by the heading of a note.
    """
    path = FOLDER / f"{outputs.task.name}.md"
    notes = {**dict.fromkeys(drafts, ""), **read_review(outputs.task.name)}
    rows = []
    for heading, note in notes.items():
        if heading in drafts:
            rows.append((f"{heading}, drafted from the figures", drafts[heading]))
        rows.append(
            (f"{heading}, by a reviewer", note or f"missing; write it in {path.as_posix()}")
        )
    return Section("review", "Review notes", [Facts(rows)])


def next_step_section(outputs: "StageOutputs") -> Section:
    """Return the change to try next, the commands that try it, and the experiments so far."""
    name = outputs.task.name
    log = read_log(outputs.task.evidence / LOG)
    return Section(
        "next",
        "Next step",
        [
            Text(outputs.next_step["why"]),
            Command(outputs.next_step["command"]),
            Text(
                f"evidence experiment {name} --next makes the same change and tests on validation data "
                f"whether it is an improvement. It adds a row to {LOG}, also where the change failed"
                f"{': there is none yet.' if log.empty else '.'}"
            ),
            *_experiment_blocks(log, outputs.task),
        ],
    )


def _experiment_blocks(log: "pd.DataFrame", task: "Task") -> list[Block]:
    """Return the latest experiments, the last one first, and where all of them are."""
    if log.empty:
        return []
    latest = log[::-1][:_EXPERIMENTS]
    text = f"Experiments on validation data: {len(log)}"
    if len(latest) < len(log):
        text += f"; the latest {len(latest)}"
    rows = [
        (change.removeprefix(task.key("")).removeprefix(f"{task.name}."), outcome)
        for change, outcome in zip(
            latest["change"], map(_outcome, latest.to_dict("records")), strict=True
        )
    ]
    return [Text(f"{text}:"), Facts(rows), Link(f"All experiments: {LOG}", LOG)]


def _outcome(row: Mapping[Any, str]) -> str:
    """Return how an experiment ended, in a sentence or two."""
    results = f"{row['before']} → {row['after']}: " if row["after"] else ""
    ending = ", kept" if row["kept"] == "yes" else ""
    return f"{results}{row['verdict']}{ending} ({row['date']}). Expected: {row['why']}"
