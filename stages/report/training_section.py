"""The section of a classifier's training: loss curves, the selected epoch of each run, diagnostics."""

from typing import TYPE_CHECKING

from stages.evaluation.folds import run_log
from stages.evaluation.metric_names import METRICS
from stages.report import charts, sections
from stages.report.document import Block, Figure, Section, Table
from stages.report.formatting import make_table

if TYPE_CHECKING:
    from stages.report.stage_outputs import ClassificationOutputs


def train_section(outputs: "ClassificationOutputs", *extra: Block) -> Section:
    """Return the loss curves, the selected epoch of each seed, and the diagnostics."""
    blocks = [_loss_figure(outputs), _run_table(outputs), *extra]
    blocks = [*blocks, *sections.diagnostics_blocks(outputs)]
    return Section("train", "Training", blocks, closed=True)


def _loss_figure(outputs: "ClassificationOutputs") -> Figure:
    strongest = outputs.baseline["strongest"]
    baseline_loss = outputs.baseline["validation"][strongest]["log_loss"]
    fold, seed = 0 if "fold" in outputs.log else None, outputs.metrics["primary_seed"]
    last = run_log(outputs.log, fold, seed).iloc[-1]
    name, count = outputs.task.folds()[0].run_name(seed), len(outputs.checkpoints["epoch"])
    start, runs = "The", ""
    if count > 1:
        start = f"{name.capitalize()}: the"
        unit = "seeds" if fold is None else "runs"
        runs = f" for {count} {unit}: {name} is drawn strong, the others faint"
    return Figure(
        "loss.svg",
        charts.loss_curves(outputs.log, name, baseline_loss),
        f"Loss by epoch. {start} training loss ends at {last['train_loss']:.3f}, the "
        f"validation loss at {last['validation_loss']:.3f}; the baseline's validation loss is "
        f"{baseline_loss:.3f}.",
        f"Loss by epoch{runs}. The dashed line is the validation loss of {strongest}. The training loss "
        "includes augmentation and label smoothing where the params set them; the validation loss "
        "includes neither.",
    )


def _run_table(outputs: "ClassificationOutputs") -> Table:
    """Return the selected epoch of each training run; without folds, also its model's test scores."""
    primary, rows = outputs.metrics["primary_seed"], []
    metrics = ["accuracy", *({outputs.gain["metric"]} - {"accuracy"})]
    seeds = outputs.task.params.train.seeds
    for fold in outputs.task.folds():
        for seed in seeds:
            epoch = outputs.checkpoints["epoch"][fold.run_name(seed)]
            log = run_log(outputs.log, fold.fold, seed)
            selected = log[log["epoch"] == epoch].iloc[0]
            is_primary = seed == primary and len(seeds) > 1
            rows.append(
                {
                    "fold": fold.fold,
                    "seed": f"{seed} (primary)" if is_primary else str(seed),
                    "epoch": int(epoch),
                    "train_loss": float(selected["train_loss"]),
                    "validation_loss": float(selected["validation_loss"]),
                    "validation_accuracy": float(selected["validation_accuracy"]),
                    **{key: float(outputs.metrics["seeds"][str(seed)][key]) for key in metrics},
                }
            )
    has_folds = len(outputs.task.folds()) > 1
    columns = {
        **({"fold": "fold"} if has_folds else {}),
        "seed": "seed",
        "epoch": "selected epoch",
        "train_loss": "train loss",
        "validation_loss": "validation loss",
        "validation_accuracy": "validation accuracy",
        **({} if has_folds else {key: f"test {METRICS[key]}" for key in metrics}),
    }
    runs = f" of each {'run' if has_folds else 'seed'}" if len(rows) > 1 else ""
    caption = f"Selected epoch{runs}: {outputs.checkpoints['rule']}. Test data select nothing."
    return make_table(rows, columns, caption)
