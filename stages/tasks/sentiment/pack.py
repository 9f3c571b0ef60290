"""The evidence pack of the text classifier: the shared sections, with texts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.shared import sections
from stages.shared.document import Command, Facts, Quote, Quotes, Table, Text
from stages.shared.evidence import Pack, classifier_files, record
from stages.shared.files import as_csv, as_json, read_csv, read_json
from stages.shared.findings import Findings, gather
from stages.shared.texts.packed import Texts
from stages.shared.wording import case_lines, of, p_value, percent, rows_of

if TYPE_CHECKING:
    from stages.shared.task import Task

Words = Mapping[str, list[tuple[str, float]]]
DEMO = "Not the holiday we had hoped for, and still I would book it again."
BESIDE = 2
_SLICES = 40  # rows of the table of slices that the page shows; all are in data/


def _weighed(row: Mapping[str, Any], words: Words) -> list[tuple[str, float]]:
    """Return a text's words with weights as shares of the largest."""
    found = words.get(str(row["id"])) or [(word, 0.0) for word in str(row["text"]).split()]
    largest = max((abs(weight) for _, weight in found), default=0.0) or 1.0
    return [(word, weight / largest) for word, weight in found]


def _right(found: Findings, words: Words) -> Quotes:
    quotes = [
        Quote(
            f"{row['true']} → {row['predicted']}",
            _weighed(row, words),
            [
                f"confidence {percent(row['confidence'])}",
                f"baseline says {row['baseline']}",
                row["id"],
            ],
        )
        for row in rows_of(found.successes)
    ]
    return Quotes(
        f"{len(quotes)} right predictions, evenly from the surest to the least sure. {_MARKS}",
        quotes,
    )


_MARKS = (
    "Green words speak for the predicted class, orange ones against it: by how much its log "
    "probability falls when the word is taken out."
)


def _wrong(found: Findings, words: Words, texts: Texts) -> Quotes:
    """Return the first cases of each bucket, the bucket with the most cases first."""
    params = found.task.params.failures
    order = {name: place for place, name in enumerate(found.cases["bucket"].value_counts().index)}
    shown = found.cases.groupby("bucket", sort=False).head(params.per_bucket)
    shown = shown.sort_values("bucket", key=lambda names: names.map(order), kind="stable")
    quotes = []
    for row in rows_of(shown):
        near = texts.at(int(place) for place in row["neighbour_rows"].split()[:BESIDE])
        classes = row["neighbour_labels"].split(" | ")
        beside = [f"near it ({c}): {t}" for c, t in zip(classes, near, strict=False)]
        title = f"{row['bucket']}: {row['true']} → {row['predicted']} ({row['kind']})"
        lines = [*case_lines(row), *beside, row["id"]]
        quotes.append(Quote(title, _weighed(row, words), lines))
    return Quotes(
        (
            f"{len(quotes)} of {len(found.cases)} failure cases: of each bucket the (at most "
            f"{params.per_bucket}) surest mistakes, the fullest bucket first. {_MARKS}"
        ),
        quotes,
    )


def _slices(found: Findings, table: pd.DataFrame) -> Table:
    rows = [
        {**row, "interval": f"{row['low']:.3f} to {row['high']:.3f}"}
        for row in rows_of(table.head(_SLICES))
    ]
    level = percent(found.task.params.evaluate.confidence, 0)
    columns = {
        "slice": "by",
        "value": "value",
        "count": "count",
        "accuracy": "accuracy",
        "interval": f"{level} interval",
        "baseline_accuracy": "baseline",
    }
    shown = f", the first {_SLICES} of {len(table)}" if len(table) > _SLICES else ""
    return of(rows, columns, f"By slice{shown} (Wilson intervals, none corrected for their number)")


def _consistency(found: Findings) -> Facts:
    rows = []
    for name, said in (("current", "Model"), ("baseline", "Baseline")):
        pairs = found.metrics[name].get("contrast_consistency")
        if pairs:
            rows.append(
                (
                    f"{said}, contrast pairs",
                    (
                        f"{percent(pairs['share'])} of {pairs['groups']} groups of texts that differ in a "
                        f"few words and in their label are right whole ({percent(pairs['low'])} to "
                        f"{percent(pairs['high'])})"
                    ),
                )
            )
    return Facts(rows or [("Contrast pairs", "none among the test texts")])


def _buckets(found: Findings, table: pd.DataFrame) -> Table:
    by = found.task.params.evaluate.bucket_by
    methods = {name: f"{name}: errors" for name in table.columns[2:]}
    return of(
        rows_of(table),
        {"bucket": "bucket", "count": "texts", **methods},
        f"Errors by bucket ({f'the column {by}' if by else 'told by words'}) and method, test texts",
    )


def _known(found: Findings) -> Facts:
    known, fix = found.summary["known_failure"], found.summary["fix_attempt"]
    rows = [
        (
            "Known failure",
            (
                f"{known['bucket']}: the model is wrong on {known['errors']} of {known['count']} texts, "
                f"the baseline on {known['baseline_errors']}"
            ),
        )
    ]
    if "in_bucket" in fix:
        inside, outside = fix["in_bucket"], fix["elsewhere"]
        rows.append(
            (
                "Fix attempt",
                (
                    f"{fix['change']} instead of {fix['instead_of']}, on the {inside['count']} texts of "
                    f"its bucket ({fix['bucket']}): {inside['errors_before']} errors before, "
                    f"{inside['errors_after']} after ({inside['fixed']} fixed, {inside['broken']} broken, "
                    f"exact McNemar p {p_value(inside['mcnemar_p'])}); on the other {outside['count']}: "
                    f"{outside['errors_before']} before, {outside['errors_after']} after"
                ),
            )
        )
    else:
        rows.append(("Fix attempt", fix["change"]))
    return Facts(rows)


def _risks(found: Findings) -> Facts:
    note = found.dataset.note
    counts = [row["train"] for row in note["class_counts"]]
    near = note["near_duplicates"]
    return Facts(
        [
            ("Who wrote the texts", note["origin"]),
            (
                "Class imbalance",
                f"the largest class has {max(counts)} training texts, the smallest {min(counts)}",
            ),
            (
                "Label noise",
                (
                    f"{found.summary['suspect_labels']} suspect labels among the failure cases, "
                    f"{note['exact_duplicates_with_another_label']} exact duplicates with another label"
                ),
            ),
            (
                "Similar texts across splits",
                (
                    f"{near['pairs']} near-duplicate pairs, {near['straddling_left_out']} texts left out "
                    "so that none straddles two splits"
                ),
            ),
            (
                "Words are not reasons",
                (
                    "a marked word is one whose absence changes the answer; the model need not have "
                    "understood it"
                ),
            ),
        ]
    )


def pack(task: "Task") -> Pack:
    """Return the evidence pack."""
    found = gather(task)
    texts = Texts(task.folder("prepare") / "texts.bin")
    evaluated = task.folder("evaluate")
    words: Words = read_json(task.folder("failures") / "words.json")
    slices = read_csv(evaluated / "slices.csv", dtype={"slice": str, "value": str})
    buckets = read_csv(evaluated / "buckets.csv", dtype={"bucket": str})
    flow = read_csv(task.folder("check") / "flow.csv")
    curves = {
        "model": read_csv(task.plots / "reliability.csv"),
        found.metrics["strongest_baseline"]: read_csv(evaluated / "baseline" / "reliability.csv"),
    }
    demo = f"python -m stages.predict {task.name} '{DEMO}'"
    document = sections.document(
        found,
        f"Evidence: {task.name} analysis",
        curves,
        {"right": _right(found, words), "wrong": _wrong(found, words, texts)},
        {
            "check": [
                Text(
                    "The same flow in a small Transformer from scratch (train.model: scratch): tokens "
                    "become vectors; in every layer each token makes a query, a key and a value; "
                    "queries times keys are scores between all pairs of tokens, which a softmax turns "
                    "into weights; the weighted values are what a token takes in; a feed-forward part "
                    "follows; at the end the mean over the tokens is judged."
                ),
                sections.layers(flow, "Shapes through the small Transformer"),
            ],
            "train": [Text(_training(found))],
            "evaluate": [_consistency(found), _slices(found, slices)],
            "failures": [_known(found), _buckets(found, buckets)],
            "limits": [_risks(found)],
        },
        [Text("Ask the model about a text of your own:"), Command(demo)],
    )
    return Pack(
        document,
        record(found, _named(found)),
        {
            **classifier_files(found),
            "slices.csv": as_csv(slices),
            "error_buckets.csv": as_csv(buckets),
            "driving_words.json": as_json(words),
            "transformer_flow.csv": as_csv(flow),
        },
        task.params.pack.page_limit_mb,
    )


def _training(found: Findings) -> str:
    trained = found.task.params.train
    model = (
        f"MiniLM (6 layers; the upper {trained.train_layers} learn, what lies below is frozen and "
        "computed once)"
        if trained.model == "minilm"
        else f"a Transformer from scratch, {trained.scratch.layers} layers of width "
        f"{trained.scratch.width}"
    )
    return (
        f"Model: {model}; {trained.epochs} epochs of batches of {trained.batch_size} texts of like "
        f"length, AdamW, peak learning rate {trained.learning_rate:g}, weight decay "
        f"{trained.weight_decay:g}, dropout {trained.dropout:g}, label smoothing "
        f"{trained.label_smoothing:g}."
    )


def _named(found: Findings) -> dict[str, Any]:
    return {
        "label_rules": found.dataset.note["label_rules"],
        "known_failure": found.summary["known_failure"],
        "fix_attempt": found.summary["fix_attempt"],
        "error_buckets": "data/error_buckets.csv",
        "next_action": found.next_step["command"],
    }
