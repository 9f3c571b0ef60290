"""DVC experiments as jobs: each runs in a clone, and its commit is fetched from there."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.repositories import git
from stages.report.index_page import PAGE
from stages.tools import experiment_clone
from stages.tools.dvc_experiments import Change, experiment_name, remove_experiment
from stages.tools.jobs.job import Job
from stages.tools.jobs.site import open_site

if TYPE_CHECKING:
    from stages.core.task import Task

_ROOT = Path()
_WRITTEN_BY_EXPERIMENTS = {"dvc.lock", PAGE.as_posix()}  # beside the pack, which shows their log


def submit_experiments(
    experiments: Sequence[Sequence[Change]],
    task: "Task",
    inputs: Sequence[str],
    *,
    on: str,
) -> Iterator[tuple[str, str]]:
    """Run experiments side by side as jobs; yield name and error of each, in their order.

    Args:
        experiments: the changes of each.
        task: to run, up to its pack.
        inputs: files and folders that git does not hold.
        on: where, as `--on` names it.

    Raises:
        UserError: the work tree has changes that no commit has, or a job cannot be run.
    """
    from stages.kinds.params import load_params

    _require_commit(task)
    jobs, by_name = [], {}
    for changes in experiments:
        name = experiment_name(changes)
        words = experiment_clone.command(task.name, changes)
        prepare = partial(experiment_clone.make_ready, task=task, inputs=inputs)
        job = Job(f"{task.name}, {name}", [words], prepare)
        jobs.append(job)
        by_name[job.name] = name
    errors: dict[str, str] = {}
    command = f"experiment {' '.join(by_name)}"
    with open_site(on, command, load_params(), [task]) as site:
        for ended in site.run(jobs):
            if ended.failure:
                raise UserError(f"{ended.name}: {ended.failure}")
            name = by_name[ended.name]
            errors[name] = experiment_clone.read_error(ended.clone)
            if not errors[name]:
                remove_experiment(name)  # it was tried before
                experiment_clone.fetch(ended.clone, name)
    for name in by_name.values():
        yield name, errors[name]


def _require_commit(task: "Task") -> None:
    status = git(_ROOT, "status", "--porcelain", "--untracked-files=no").split("\n")
    paths = {line.split(maxsplit=1)[-1] for line in status if line}
    pack = f"{task.evidence.as_posix()}/"
    changed = sorted(path for path in paths - _WRITTEN_BY_EXPERIMENTS if not path.startswith(pack))
    if changed:
        raise UserError(
            f"--on: jobs run what is committed, and {changed[0]} has changes that are not; commit them, "
            "or run without --on"
        )
