"""The evidence pack of a text classifier: the shared sections, with texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.datasets.texts.packed import PackedTexts
from stages.kinds.text_classification.artifacts import artifacts
from stages.kinds.text_classification.schema import MINILM_LAYERS
from stages.report.cases import (
    CASES_FILE,
    cases_extent,
    classification_case,
    failures_caption,
    spread,
    weak,
)
from stages.report.classes import MOST_ROWS
from stages.report.classifier_sections import SampleBlocks, classification_document
from stages.report.document import Block, Cases, Command, Facts, Quote, Quotes, Table, Text
from stages.report.formatting import make_table, p_value, percent, table_rows
from stages.report.pack import EvidencePack, classification_files, classification_record
from stages.report.sections import layer_table
from stages.report.stage_outputs import ClassificationOutputs, load_outputs

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.text_classification.schema import TrainTexts

DEMO = "Not the holiday we had hoped for, and still I would book it again."
_MAX_NEIGHBOURS = 2  # nearest training texts that the page shows with a case
_MAX_WORDS = 200  # of a text that the page shows
_MAX_NEIGHBOUR = 600  # characters of a nearest training text that the page shows
_FIRST_FAILURES, _FIRST_SUCCESSES, _FIRST_WORDS = 3, 3, 40  # on the first screen
_MOST_CASES = 500  # failure cases that the page shows; the file has all
_HIGHLIGHTS = (
    "Green words speak for the predicted class, orange ones against it; the weight of a word is the "
    "fall in the log probability of that class when the word is removed."
)
_DATA_FLOW = (
    "Data flow: the tokens of a text become vectors, by token and by position. In every layer, each "
    "token has a query, a key and a value. The products of queries and keys score all pairs of tokens, "
    "a softmax turns the scores into weights, and each token receives the weighted mean of the values; "
    "a feed-forward part follows. The head classifies the mean over the tokens."
)


@dataclass(frozen=True)
class TextOutputs(ClassificationOutputs):
    """What the stages wrote for a text classifier."""

    flow: pd.DataFrame
    buckets: pd.DataFrame
    word_weights: dict[str, list[tuple[str, float]]]


def pack(task: "Task") -> EvidencePack:
    """Return the evidence pack."""
    files = artifacts(task)
    outputs = load_outputs(task, TextOutputs, files)
    texts = PackedTexts(task.folder("prepare") / "texts.bin")
    demo = DEMO if task.params.prepare.source == "reviews" else "a text of your own"
    document = classification_document(
        outputs,
        f"Evidence: {task.name}, text classification",
        SampleBlocks(_failure_quotes(outputs), _success_quotes(outputs), _cases(outputs, texts)),
        {
            "fails": [_known_failure(outputs)],
            "why": _contrast_pairs(outputs),
            "classes": [_bucket_table(outputs)],
            "check": _data_flow(outputs),
            "train": [Text(describe_training(task.params.train)), _cut_off(outputs)],
            "limits": [_limits(outputs)],
        },
        [Command(f"evidence predict {task.name} '{demo}'")],
    )
    record = {
        "known_failure": outputs.summary["known_failure"],
        "fix_attempt": outputs.summary["fix_attempt"],
        "error_buckets": "data/error_buckets.csv",
    }
    return EvidencePack(
        document,
        classification_record(outputs, record),
        classification_files(outputs, files),
        task.params.pack.page_limit_mb,
    )


# Quotes


def _success_quotes(outputs: TextOutputs) -> Quotes:
    rows = spread(table_rows(outputs.successes), _FIRST_SUCCESSES)
    return Quotes(
        "It is right, from the most to the least confident:",
        [
            Quote(
                f"{row['true']}, {percent(row['confidence'], 0)} sure",
                _weighted_words(row, outputs, _FIRST_WORDS),
                [],
            )
            for row in rows
        ],
    )


def _failure_quotes(outputs: TextOutputs) -> Quotes:
    """Return the most confident mistake of each of the buckets with the most cases."""
    cases = outputs.cases
    first = cases.groupby("bucket", sort=False).head(1)
    ranks = {bucket: place for place, bucket in enumerate(cases["bucket"].value_counts().index)}
    first = first.sort_values("bucket", key=lambda names: names.map(ranks), kind="stable")
    return Quotes(
        failures_caption(outputs),
        [
            Quote(
                f"{row['true']} taken for {row['predicted']}"
                if row["kind"] == "wrong"
                else weak(row),
                _weighted_words(row, outputs, _FIRST_WORDS),
                [] if row["bucket"] in outputs.dataset.classes else [row["bucket"]],
                row["id"],
            )
            for row in table_rows(first.head(_FIRST_FAILURES))
        ],
    )


def _cases(outputs: TextOutputs, texts: PackedTexts) -> Cases:
    """Return the failure cases, each with its nearest training texts."""
    rows = table_rows(outputs.cases.head(_MOST_CASES))
    cases = [
        classification_case(
            row,
            outputs,
            ("nearest training texts", _neighbour_lines(row, texts)),
            words=_weighted_words(row, outputs, _MAX_WORDS),
        )
        for row in rows
    ]
    extent = cases_extent(len(cases), len(outputs.cases))
    caption = f"{extent}, the most confident mistake first. {_HIGHLIGHTS}"
    return Cases(caption, cases, len(outputs.cases), CASES_FILE)


def _weighted_words(
    row: Mapping[str, Any], outputs: TextOutputs, limit: int
) -> list[tuple[str, float]]:
    """Return a text's first words, with their weights as shares of the largest; 0 where none is known."""
    words = outputs.word_weights.get(row["id"]) or [(word, 0.0) for word in row["text"].split()]
    largest = max((abs(weight) for _, weight in words), default=0.0) or 1.0
    scaled = [(word, weight / largest) for word, weight in words[:limit]]
    if len(words) > limit:
        scaled.append((f"[{len(words) - limit:,} more words]", 0.0))
    return scaled


def _neighbour_lines(row: Mapping[str, Any], texts: PackedTexts) -> list[str]:
    rows = row["neighbour_rows"].split()[:_MAX_NEIGHBOURS]
    labels = row["neighbour_labels"].split(" | ")
    neighbours = zip(labels, texts.at(map(int, rows)), strict=False)
    return [
        f"{label}: {text if len(text) <= _MAX_NEIGHBOUR else text[:_MAX_NEIGHBOUR] + ' [...]'}"
        for label, text in neighbours
    ]


# Sections


def _data_flow(outputs: TextOutputs) -> list[Block]:
    """Return the description of the flow; beside MiniLM also its shapes in the small Transformer."""
    if outputs.task.params.train.model == "scratch":
        return [Text(_DATA_FLOW)]
    caption = "The same data flow in the small Transformer (train.model: scratch)"
    return [Text(_DATA_FLOW), layer_table(outputs.flow, caption)]


def describe_training(params: "TrainTexts") -> str:
    """Return the network and its training in words."""
    return (
        f"Model: {_network(params)}; input: at most {params.max_tokens} tokens of each text. Training: "
        f"{params.epochs} epochs of batches of {params.batch_size} texts of similar length, AdamW, peak "
        f"learning rate {params.learning_rate:g}, weight decay {params.weight_decay:g}, dropout "
        f"{params.dropout:g}, label smoothing {params.label_smoothing:g}."
    )


def _network(params: "TrainTexts") -> str:
    if params.model == "scratch":
        size = params.scratch
        return (
            f"a Transformer trained from scratch (layers: {size.layers}, width: {size.width}, attention "
            f"heads: {size.heads})"
        )
    top, bottom = params.train_layers, MINILM_LAYERS - params.train_layers
    trained, frozen = ["the head"], ["the embeddings"]
    if top:
        trained.append(f"the top {top} of {MINILM_LAYERS} layers")
    if bottom:
        frozen.append(f"the bottom {bottom} layers" if top else f"all {bottom} layers")
    return f"MiniLM (trained: {' and '.join(trained)}; frozen: {' and '.join(frozen)})"


def _contrast_pairs(outputs: TextOutputs) -> list[Block]:
    rows = []
    for key, name in (("current", "Model"), ("baseline", "Baseline")):
        consistency = outputs.metrics[key].get("contrast_consistency")
        if consistency:
            low, high = percent(consistency["low"]), percent(consistency["high"])
            description = (
                f"every text correct in {percent(consistency['share'])} ({low} to {high}) of "
                f"{consistency['groups']} groups whose texts differ in a few words and in the label"
            )
            rows.append((f"{name}, contrast pairs", description))
    return [Facts(rows)] if rows else []


def _known_failure(outputs: TextOutputs) -> Facts:
    failure, attempt = outputs.summary["known_failure"], outputs.summary["fix_attempt"]
    description = (
        f"{failure['bucket']}: the model is wrong on {failure['errors']} of {failure['count']} texts, "
        f"the baseline on {failure['baseline_errors']}"
    )
    facts = [("Known failure", description)]
    if "in_bucket" in attempt:
        facts.append(("Fix attempt", _fix_attempt(attempt)))
    return Facts(facts)


def _fix_attempt(attempt: Mapping[str, Any]) -> str:
    inside, outside = attempt["in_bucket"], attempt["elsewhere"]
    return (
        f"{attempt['change']} instead of {attempt['instead_of']}. On the {inside['count']} texts of the "
        f"bucket {attempt['bucket']}: {inside['errors_before']} errors before, {inside['errors_after']} "
        f"after ({inside['fixed']} fixed, {inside['broken']} broken; exact McNemar p "
        f"{p_value(inside['mcnemar_p'])}). On the other {outside['count']} texts: "
        f"{outside['errors_before']} before, {outside['errors_after']} after"
    )


def _buckets_of(outputs: TextOutputs) -> str | None:
    """Return by what the buckets are told; None where they are the classes."""
    column = outputs.task.params.evaluate.bucket_by
    if column:
        return f"the column {column}"
    return None if len(outputs.dataset.classes) > 2 else "cue words"  # noqa: PLR2004


def _bucket_table(outputs: TextOutputs) -> Table:
    table = outputs.buckets
    extent = ""
    if len(table) > MOST_ROWS:
        share = (table["model"] / table["count"]).sort_values(ascending=False, kind="stable")
        table = table.loc[share.index[:MOST_ROWS]]
        extent = f"; the {MOST_ROWS} of {len(share)} with the highest share of the model's errors"
    methods = {name: f"{name}: errors" for name in table.columns.drop(["bucket", "count"])}
    by = _buckets_of(outputs) or "the true class"
    caption = f"Test errors of each method by bucket (buckets by {by}{extent})"
    return make_table(table_rows(table), {"bucket": "bucket", "count": "texts", **methods}, caption)


def _cut_off(outputs: TextOutputs) -> Text:
    """Return how much of the texts the model does not read."""
    max_tokens, rows = outputs.task.params.train.max_tokens, []
    for split, cut in outputs.metrics["cut_off"].items():
        if cut["texts"]:
            rows.append(
                f"{cut['texts']:,} {split} texts ({percent(cut['share_of_texts'])}), with "
                f"{percent(cut['share_of_tokens'])} of the tokens of all {split} texts"
            )
    return Text(f"Cut off after {max_tokens} tokens: {'; '.join(rows) or 'no text'}.")


def _limits(outputs: TextOutputs) -> Facts:
    note = outputs.dataset.note
    counts = [row["train"] for row in note["class_counts"]]
    near = note["near_duplicates"]
    facts = {
        **note["limits"],
        "Who wrote the texts": note["origin"],
        "Class imbalance": f"the largest class has {max(counts)} training texts, the smallest "
        f"{min(counts)}",
        "Label noise": f"{outputs.summary['confidently_wrong']} cases are confidently wrong in every run, "
        f"{note['exact_duplicates_with_another_label']} exact duplicates with a different label",
        "Similar texts across splits": f"{near['pairs']} near-duplicate pairs; "
        f"{near['cross_split_excluded']} texts left out so that no pair is in two splits",
        "Words are not reasons": "removing a highlighted word changes the prediction; that does not show "
        "that the model understands the word",
    }
    return Facts(list(facts.items()))
