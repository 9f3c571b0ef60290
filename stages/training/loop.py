"""The training loop of every kind.

Each epoch draws its random numbers from seeds named by (seed, purpose, epoch), so the state after an
epoch is all that the next one needs. `fit` saves that state atomically after each epoch; a run that was
killed at any moment resumes from it and ends in the same bytes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stages.core.errors import UserError
from stages.core.progress import progress
from stages.training.checkpoints import restore_state, save_state
from stages.training.weights import trainable_state

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Scores = dict[str, Tensor]
History = list[dict[str, float]]


@dataclass(frozen=True)
class TrainingRun:
    """One training run.

    Attributes:
        model: the network to train.
        optimizer: over the model's parameters.
        learning_rate: step -> learning rate; a function, so that it needs no state.
        batches: epoch -> the epoch's batches; each process iterates over its own share.
        scores: (model, batch) -> "loss", with a gradient, and further scalars to log.
        validate: model -> the same scores on validation data; the lowest loss selects the epoch.
        epochs: how many.
        ema_decay: decay of the exponential moving average of the weights (Polyak and Juditsky, 1992);
            above 0, the averaged weights are validated and kept instead of the model's.
        checkpoint_epochs: epochs whose weights are kept beside those of the selected one.
        chance_loss: the loss of predicting the prior; None where it has no closed form.
        steps: batches an epoch, for the progress that is shown; None where they are not known.
    """

    model: nn.Module
    optimizer: Optimizer
    learning_rate: Callable[[int], float]
    batches: Callable[[int], Iterable[Any]]
    scores: Callable[[nn.Module, Any], Scores]
    validate: Callable[[nn.Module], dict[str, float]]
    epochs: int
    ema_decay: float = 0.0
    checkpoint_epochs: tuple[int, ...] = ()
    chance_loss: float | None = None
    steps: int | None = None


@dataclass
class TrainingState:
    """The state after an epoch; after the last one, the result.

    Attributes:
        weights: of the epoch with the lowest validation loss (the first of equals).
        best_epoch: that epoch, from 0.
        history: a row an epoch.
        step: optimizer steps taken.
        checkpoints: the weights after each of the run's `checkpoint_epochs`.
        ema_weights: the moving average of the weights, where the run keeps one.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    history: History = field(default_factory=list)
    step: int = 0
    checkpoints: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    ema_weights: dict[str, Tensor] = field(default_factory=dict)


def fit(
    run: TrainingRun,
    fabric: "Fabric",
    state_file: Path | None = None,
    on_epoch: Callable[[History], None] = lambda _: None,
    title: str = "training",
) -> TrainingState:
    """Train, and return the weights of the epoch with the lowest validation loss.

    Args:
        run: what to train.
        fabric: the device, precision and processes, launched.
        state_file: where the state is saved after each epoch; if the file exists, the run resumes from
            it. None: no state is saved.
        on_epoch: called with the history, once at the start and after each epoch.
        title: of the progress that is shown.

    Raises:
        UserError: the loss is not finite.
    """
    model, optimizer = fabric.setup(run.model, run.optimizer)
    state = _resume(run, state_file)  # after setup, which moves and converts the parameters
    evaluated = _ema_model(run, state) or run.model
    on_epoch(state.history)
    for epoch in range(len(state.history), run.epochs):
        model.train()
        sums, batches = torch.zeros(0), 0
        names: list[str] = []
        for batch in _with_progress(run, epoch, title, state.step):
            for group in optimizer.param_groups:
                group["lr"] = run.learning_rate(state.step)
            scores = run.scores(model, batch)  # tensors -> layers -> logits -> loss
            optimizer.zero_grad()
            fabric.backward(scores["loss"])  # a gradient for every parameter
            optimizer.step()  # every parameter moves a little against its gradient
            if isinstance(evaluated, AveragedModel):
                evaluated.update_parameters(run.model)
            # Left on the device: a GPU would have to finish the step first.
            values = torch.stack([score.detach().float() for score in scores.values()])
            names = list(scores)
            sums = values if batches == 0 else sums + values
            batches += 1
            state.step += 1
        means = dict(zip(names, _mean_over_processes(fabric, sums / batches), strict=True))
        model.eval()
        with torch.no_grad(), _loaded(run.model, evaluated):
            validation = run.validate(model)
        row = {
            "epoch": float(epoch),
            "learning_rate": run.learning_rate(state.step - 1),
            **{f"train_{name}": value for name, value in means.items()},
            **{f"validation_{name}": value for name, value in validation.items()},
        }
        _require_finite(row)
        _record(run, state, row, evaluated)
        if state_file and fabric.is_global_zero:
            save_state(state_file, run.model, run.optimizer, vars(state))
        on_epoch(state.history)
    return state


def _mean_over_processes(fabric: "Fabric", values: Tensor) -> list[float]:
    reduced = fabric.all_reduce(values, reduce_op="mean")
    assert isinstance(reduced, Tensor)  # noqa: S101 (for the type checker)
    return [float(value) for value in reduced.tolist()]


def _with_progress(run: TrainingRun, epoch: int, title: str, step: int) -> Iterator[Any]:
    """Yield the batches of an epoch; the progress shown is that of the whole run."""
    total = run.steps * run.epochs if run.steps else None
    heading = f"{title}: epoch {epoch + 1} of {run.epochs}"
    return progress(run.batches(epoch), heading, total, step)


def _resume(run: TrainingRun, state_file: Path | None) -> TrainingState:
    if state_file is None or not state_file.exists():
        return TrainingState()
    return TrainingState(**restore_state(state_file, run.model, run.optimizer))


def _record(
    run: TrainingRun, state: TrainingState, row: dict[str, float], evaluated: nn.Module
) -> None:
    """Add an epoch to the state: its row, and its weights if they are to be kept."""
    epoch = len(state.history)
    state.history.append(row)
    losses = [entry["validation_loss"] for entry in state.history]
    if losses[-1] < min(losses[:-1], default=math.inf):
        state.best_epoch = epoch
        state.weights = _copy(evaluated)
    if epoch in run.checkpoint_epochs:
        state.checkpoints[epoch] = _copy(evaluated)
    if evaluated is not run.model:
        state.ema_weights = _copy(evaluated)


def _ema_model(run: TrainingRun, state: TrainingState) -> AveragedModel | None:
    """Return the moving average of the model's weights, continued from `state`; None without one."""
    if not run.ema_decay:
        return None
    averaged = AveragedModel(run.model, multi_avg_fn=get_ema_multi_avg_fn(run.ema_decay))  # type: ignore[no-untyped-call]
    if state.ema_weights:
        averaged.module.load_state_dict(state.ema_weights, strict=False)
        averaged.n_averaged.fill_(state.step)
    return averaged


@contextmanager
def _loaded(model: nn.Module, evaluated: nn.Module) -> Iterator[None]:
    """Load the evaluated weights into `model`, which has been set up for its device and precision."""
    if evaluated is model:
        yield
        return
    trained = _copy(model)
    model.load_state_dict(_copy(evaluated), strict=False)
    yield
    model.load_state_dict(trained, strict=False)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    inner = model.module if isinstance(model, AveragedModel) else model
    return {name: tensor.detach().cpu().clone() for name, tensor in trainable_state(inner).items()}


def _require_finite(row: Mapping[str, float]) -> None:
    for name, value in row.items():
        if not math.isfinite(value):
            raise UserError(
                f"not finite: {name} is {value} at epoch {row['epoch']:.0f}; lower learning_rate "
                f"(it was {row['learning_rate']:g}) first, then look at the inputs' scale"
            )
