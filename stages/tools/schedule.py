"""The network, epochs and seeds that `evidence new` proposes for the time that there is."""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.progress import duration
from stages.core.slots import core_count
from stages.kinds.plans import Budget, Cost, Plan, Schedule, choose_schedule
from stages.kinds.proposal import (
    Ladder,
    Proposal,
    Setting,
    fill_template,
    read_template,
    yaml_list,
)

if TYPE_CHECKING:
    from stages.core.schema import Runtime
    from stages.core.task import Task
    from stages.kinds.kind import Kind


_MOST_THREADS = 8  # of one training run: more gain little


def scheduled(
    kind: "Kind", name: str, proposal: Proposal, budget: Budget, runtime: "Runtime"
) -> Proposal:
    """Return the proposal with the plan, the epochs and the seeds that fit the budget on this machine.

    A proposal without a ladder stays as it is.

    Args:
        kind: of the task.
        name: of the task.
        proposal: of the kind, with the values `name` and `path`.
        budget: the time that there is.
        runtime: of params.yaml: threads and device.
    """
    ladder = proposal.ladder
    if ladder is None:
        return proposal

    def estimate(plan: Plan) -> Cost:
        from stages.kinds.probe import time_training

        print(f"measuring a few steps of {plan.title} ...", file=sys.stderr)
        values = {**proposal.values, **_plan_values(plan, 1, 1, all_threads())}
        task = _task(kind, name, values, runtime)
        timing = time_training(task, ladder.write_samples)
        cost = timing.cost(ladder.sizes, task.params.train.batch_size, ladder.other_seconds)
        return replace(cost, epoch=plan.relative_cost * cost.epoch)

    schedule = choose_schedule(ladder.plans, estimate, budget)
    # Several runs fill the machine side by side, with one thread each.
    is_single = schedule.seeds * ladder.sizes.folds == 1
    threads = all_threads() if is_single else None
    return replace(
        proposal,
        values={
            **proposal.values,
            **_plan_values(schedule.plan, schedule.epochs, schedule.seeds, threads),
        },
        settings=(*proposal.settings, *_settings(schedule, threads)),
        remarks=(
            *proposal.remarks,
            *_busy_remarks(),
            *_time_remarks(schedule, ladder, budget),
        ),
    )


def all_threads() -> int:
    """Return the number of threads of a training run that has the machine for itself."""
    return min(core_count(), _MOST_THREADS)


def _plan_values(plan: Plan, epochs: int, seeds: int, threads: int | None) -> Mapping[str, str]:
    numbers = [str(seed) for seed in range(seeds)]
    return {
        **plan.values,
        "epochs": str(epochs),
        "seeds": yaml_list(numbers, 8),
        "threads": "null" if threads is None else str(threads),
    }


def _task(kind: "Kind", name: str, values: Mapping[str, str], runtime: "Runtime") -> "Task":
    from stages.core.params import parse_yaml, validate
    from stages.core.task import Task
    from stages.kinds.params import FILE

    section = parse_yaml(fill_template(read_template(kind.name, "template.yaml"), values))
    return Task(name, kind.name, validate(kind.schema, section[name], FILE), runtime)


def _settings(schedule: Schedule, threads: int | None) -> tuple[Setting, ...]:
    seed = duration(schedule.cost.seed(schedule.epochs))
    folds = f" in {schedule.cost.folds} folds" if schedule.cost.folds > 1 else ""
    row = duration(schedule.cost.row(schedule.epochs, schedule.seeds))
    return (
        Setting("train.model", schedule.plan.title, "measured on this machine"),
        Setting("train.epochs", str(schedule.epochs), f"about {seed} of training a seed{folds}"),
        Setting("train.seeds", str(schedule.seeds), f"about {row} for all stages"),
        Setting(
            "train.threads",
            "null" if threads is None else str(threads),
            "one for each run, side by side" if threads is None else "the cores of this machine",
        ),
    )


def _busy_remarks() -> list[str]:
    """Say that the machine is busy: the estimates are for an idle one."""
    from stages.kinds.probe import busy_load

    load = busy_load(all_threads())
    if load is None:
        return []
    cores = os.cpu_count()
    return [
        f"other programs keep {load:.1f} of {cores} cores busy; the times are those of an idle machine"
    ]


def _time_remarks(schedule: Schedule, ladder: Ladder, budget: Budget) -> list[str]:
    if schedule.fits and schedule.epochs >= schedule.plan.min_epochs:
        return []
    row = duration(schedule.cost.row(schedule.epochs, schedule.seeds))
    limit = duration(min(budget.seed, budget.row))
    if not schedule.fits:
        return [f"even the smallest plan takes about {row}, more than {limit}"]
    needed = f"{schedule.plan.epochs} epochs that {ladder.sizes.train} training samples need"
    return [
        f"in {limit} the smallest plan has time for {schedule.epochs} of the {needed}; give more --minutes"
    ]


def minutes(text: str) -> float:
    """Return the value of `--minutes`.

    Raises:
        UserError: it is no positive number.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:  # noqa: PLR2004 (two years)
        raise UserError(f"--minutes: given {text!r}; must be a number above 0")
    return value
