"""The tiers predictions and retrain: stages run again in the clone, with the revision's own code."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import EVIDENCE_ERROR_STATUS
from stages.core.processes import git, last_line, run_command
from stages.tools.verify.lock import LockedRepo
from stages.tools.verify.pipeline import pipeline_stages, requested_tasks, verifiable_tasks
from stages.tools.verify.verdicts import RERUN, STORED_WEIGHTS, Finding, Verdict
from stages.tools.verify.verdicts_of_reruns import Failure, RerunComparison

if TYPE_CHECKING:
    from dvc.stage import Stage

_SOURCE = "verify"  # the name under which a cache on this machine becomes a remote of the clone
_CLONE = "verify-clone"  # the same of the clone's own cache
# The options with which DVC starts a shell, so that it reads no configuration.
_SHELL_OPTIONS = {"zsh": ["--no-rcs"], "bash": ["--noprofile", "--norc"]}


@dataclass(frozen=True)
class Storage:
    """Where outputs that are not in git may be fetched from.

    Attributes:
        remote: a DVC remote of the repository; "" for the cache, then the repository's default remote.
        cache: the folder of another DVC cache on this machine, or "".
    """

    remote: str = ""
    cache: str = ""


def reset_clone(repo: LockedRepo) -> None:
    """Delete everything that is not in git, and restore everything that is."""
    git(repo.root, "clean", "-ffdxq")
    git(repo.root, "checkout", "--quiet", "--force", "HEAD", "--", ".")
    configure_cache(repo.root)


def configure_cache(root: Path, cache: str = "") -> None:
    """Give a clone its own DVC cache.

    Args:
        root: the clone.
        cache: the folder of another DVC cache, which becomes a remote; "" for none.
    """
    folder = root.parent / "cache"
    lines = [
        *("[cache]", f"    dir = {folder}", "    type = reflink,copy", f"    local = {_CLONE}"),
        *(
            f"['remote \"{_CLONE}\"']",
            f"    url = {folder}",
        ),  # else the repository could name another
    ]
    if cache:
        lines += [f"['remote \"{_SOURCE}\"']", f"    url = {cache}", "    verify = true"]
    (root / ".dvc" / "config.local").write_text("\n".join(lines) + "\n", encoding="utf-8")


def local_cache(source: str) -> str:
    """Return the folder of a repository's DVC cache if it is on this machine, else ""."""
    from dvc.config import Config
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if not Path(source).is_dir():
        return ""
    try:
        dvc_folder = Repo.find_dvc_dir(source)
        folder = Path(Config(dvc_folder)["cache"].get("dir") or Path(dvc_folder) / "cache")
    except DvcException:
        return ""
    return str(folder.resolve()) if folder.is_dir() else ""


def pull_outputs(repo: LockedRepo, names: Sequence[str], storage: Storage) -> str:
    """Fetch the outputs of stages by the hashes in dvc.lock; return DVC's error, "" if there is none."""
    configure_cache(repo.root, storage.cache)
    if storage.remote:
        attempts = [["--remote", storage.remote]]
    else:
        attempts = [*([["--remote", _SOURCE]] if storage.cache else []), []]
    error = ""
    for options in attempts:
        result = run_command(repo.root, "dvc", "pull", *options, *names)
        if result.returncode == 0:
            return ""
        error = error or last_line(result.stderr).removeprefix("ERROR: ")
    return error


def pull_sources(repo: LockedRepo, storage: Storage) -> None:
    """Fetch the data that DVC tracks and no stage makes, as far as they are available."""
    sources = [name for name, stage in repo.stages.items() if not stage.cmd]
    if sources:
        pull_outputs(repo, sources, storage)


def rerun_from_weights(
    repo: LockedRepo, comparison: RerunComparison, storage: Storage
) -> list[Finding]:
    """Run every stage of the requested tasks but training, with the weights that dvc.lock names."""
    reset_clone(repo)
    pull_sources(repo, storage)
    params = ["params"] if "params" in pipeline_stages(repo) else []
    findings = comparison.verdicts(params, run_stages(repo, params), same_weights=True)
    for task in requested_tasks(repo):
        train = f"train@{task}"
        stages = [name for name in repo.stages if name.endswith(f"@{task}")]
        problem = _fetch_weights(repo, train, storage)
        if problem:
            reason = f"no weights: {problem}"
            findings += [Finding(name, Verdict.UNCHECKED, reason) for name in stages]
            continue
        rerun = [name for name in stages if name != train]
        failures = run_stages(repo, rerun)
        findings += comparison.verdicts(rerun, failures, same_weights=True)
        findings.append(Finding(train, Verdict.UNCHECKED, STORED_WEIGHTS))
    if "compare" not in repo.requested or not requested_tasks(repo):
        return findings
    rerun_findings = [finding for finding in findings if not finding.stage.startswith("train@")]
    complete = requested_tasks(repo) == verifiable_tasks(repo)
    if complete and all(finding.verdict in RERUN for finding in rerun_findings):
        failures = run_stages(repo, ["compare"])
        return [*findings, *comparison.verdicts(["compare"], failures, same_weights=True)]
    reason = "it merges all tasks, and not every task was run again"
    return [*findings, Finding("compare", Verdict.UNCHECKED, reason)]


def _fetch_weights(repo: LockedRepo, train: str, storage: Storage) -> str:
    """Fetch the outputs of a training stage; return why that is not possible, "" if it is."""
    error = pull_outputs(repo, [train], storage)
    differing, missing = repo.differing(train)
    if differing:
        return f"{differing[0]} that was fetched is not the one of dvc.lock"
    return (error or "they are in no cache or remote") if missing else ""


def rerun_everything(
    repo: LockedRepo, comparison: RerunComparison, storage: Storage
) -> list[Finding]:
    """Run the requested stages and all that they need, in the emptied clone."""
    reset_clone(repo)
    outside = [
        f"{name} writes {path}, outside the repository: nothing is run"
        for name, stage in repo.stages.items()
        for path in repo.outside(name)
        if stage.cmd
    ]
    if outside:
        return [Finding(name, Verdict.UNCHECKED, outside[0]) for name in repo.stages]
    pull_sources(repo, storage)
    names = _with_ancestors(repo)
    for name in names:
        if repo.stages[name].cmd and not repo.stages[name].frozen:
            _delete_outputs(repo, name)
    return comparison.verdicts(names, run_stages(repo, names))


def _with_ancestors(repo: LockedRepo) -> list[str]:
    """Return the requested stages and all that they depend on, in the order in which they run."""
    import networkx as nx

    graph = repo.dvc.index.graph  # its edges lead from a stage to what it depends on
    requested = {repo.stages[name] for name in repo.requested}
    needed = requested.union(*(nx.descendants(graph, stage) for stage in requested))
    return [name for name, stage in repo.stages.items() if stage in needed]


def run_stages(repo: LockedRepo, names: Sequence[str]) -> dict[str, Failure]:
    """Run stages in their order, each after deleting its outputs; return by name why some did not run.

    A stage that depends on one that failed is not run.
    """
    import networkx as nx

    failures: dict[str, Failure] = {}
    for name in names:
        stage = repo.stages[name]
        before = nx.descendants(repo.dvc.index.graph, stage)
        failed = [failure for failure in failures if repo.stages[failure] in before]
        unavailable = _unavailable(repo, name)
        if unavailable:
            failures[name] = Failure(unavailable)
        elif failed:
            failures[name] = Failure(f"{failed[0]}, on which it depends, was not run")
        elif stage.cmd and (failure := _run_stage(repo, name)):
            failures[name] = failure
    return failures


def _unavailable(repo: LockedRepo, name: str) -> str:
    """Return why a stage cannot be run again, "" if nothing is known to prevent it."""
    stage = repo.stages[name]
    if not stage.cmd:
        _, missing = repo.differing(name)
        return f"{missing[0]} is neither in git nor in an accessible remote" if missing else ""
    if stage.frozen:
        return "frozen: DVC does not run it again"
    return ""


def _run_stage(repo: LockedRepo, name: str) -> Failure | None:
    stage = repo.stages[name]
    missing = [dep.def_path for dep in stage.deps if dep.protocol == "local" and not dep.exists]
    if missing:
        return Failure(f"{missing[0]}, which it reads, is missing")
    _delete_outputs(repo, name)
    for command in _shell_commands(stage):
        environment = {"DVC_ROOT": str(repo.root), "DVC_STAGE": stage.addressing}
        result = run_command(Path(stage.wdir), *command, extra_environment=environment)
        if result.returncode:
            reason = last_line(result.stderr) or f"exit status {result.returncode}"
            contradicts = (
                name in pipeline_stages(repo) and result.returncode == EVIDENCE_ERROR_STATUS
            )
            return Failure(f"it fails: {reason}", contradicts)
    return None


def _shell_commands(stage: "Stage") -> Iterator[list[str]]:
    """Yield the commands of a stage, each as DVC would start it."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    lines = stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines()
    for line in lines:
        yield [shell, *_SHELL_OPTIONS.get(Path(shell).name, []), "-c", line]


def _delete_outputs(repo: LockedRepo, name: str) -> None:
    for relative_path in repo.outs(name):
        path = repo.root / relative_path
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
