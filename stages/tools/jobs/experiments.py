"""DVC experiments as jobs: each runs in a clone, and its commit is fetched from there.

`python -m stages.tools.jobs.experiments TASK KEY=VALUE ...` is what such a job runs in its clone.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_json, to_json, write
from stages.core.repositories import git
from stages.report.index_page import PAGE
from stages.tools import scratch
from stages.tools.dvc_experiments import (
    Change,
    experiment_name,
    git_identity,
    references,
    remove_experiment,
    run_in_place,
)
from stages.tools.jobs.job import Job
from stages.tools.jobs.site import open_site

if TYPE_CHECKING:
    from stages.core.task import Task

_ROOT = Path()
_OUTCOME = Path(".dvc/tmp/experiment.json")  # git ignores it
_WRITTEN_BY_EXPERIMENTS = {"dvc.lock", PAGE.as_posix()}  # beside the pack, which shows their log
_IDENTITY = re.compile(r"(.*) <(.*)> \d+ [+-]\d+")


def submit_experiments(
    experiments: Sequence[Sequence[Change]],
    task: "Task",
    inputs: Sequence[str],  # noqa: ARG001 (they are linked into the clone)
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
        words = ("python", "-m", "stages.tools.jobs.experiments", task.name, *map(str, changes))
        job = Job(f"{task.name}, {name}", [words], partial(_configure, task=task))
        jobs.append(job)
        by_name[job.name] = name
    errors: dict[str, str] = {}
    command = f"experiment {' '.join(by_name)}"
    with open_site(on, command, load_params(), [task]) as site:
        for ended in site.run(jobs):
            if ended.failure:
                raise UserError(f"{ended.name}: {ended.failure}")
            name = by_name[ended.name]
            errors[name] = read_json(ended.clone / _OUTCOME)["error"]
            if not errors[name]:
                remove_experiment(name)  # it was tried before
                (reference, *_) = references(name, ended.clone)
                git(
                    _ROOT,
                    "fetch",
                    "--quiet",
                    "--no-tags",
                    str(ended.clone),
                    f"{reference}:{reference}",
                )
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


def _configure(clone: Path, task: "Task") -> None:
    """Give a clone the data, the DVC cache and the committer of the project."""
    from stages.tools.verify.rerun import local_cache

    scratch.link_local_inputs(clone, task)
    cache = local_cache(str(_ROOT.resolve())) or str((_ROOT / ".dvc/cache").resolve())
    settings = f"[cache]\n    dir = {cache}\n"
    (clone / ".dvc/config.local").write_text(settings, encoding="utf-8")
    identity = git(_ROOT, "var", "GIT_COMMITTER_IDENT", extra_environment=git_identity())
    if match := _IDENTITY.fullmatch(identity):
        for key, value in zip(("user.name", "user.email"), match.groups(), strict=True):
            git(clone, "config", key, value)


def main() -> None:
    """Run the experiment that the command line names in the current folder, a clone of its own."""
    task, *texts = sys.argv[1:]
    changes = [Change(*text.split("=", 1)) for text in texts]
    git(
        _ROOT, "checkout", "--quiet", "--force", "HEAD", "--", "."
    )  # a killed run may have set params
    write(_OUTCOME, to_json({"error": run_in_place(changes, task)}))


if __name__ == "__main__":
    main()
