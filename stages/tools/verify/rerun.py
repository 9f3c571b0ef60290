"""The tiers predictions and retrain: stages run again in the clone, with the revision's own code."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from stages.core.errors import UserError
from stages.core.processes import run_command
from stages.core.repositories import ENVIRONMENT, git, git_in_clone
from stages.tools.dvc_errors import dvc_error
from stages.tools.verify.code import delete_bytecode
from stages.tools.verify.dvc_config import split_config
from stages.tools.verify.lock import LockedRepo, OutputComparison
from stages.tools.verify.pipeline import pipeline_stages, requested_tasks, verifiable_tasks
from stages.tools.verify.running import STAGES_GIT, Rerun, Runner
from stages.tools.verify.verdicts import RERUN, STORED_WEIGHTS, Finding, Verdict
from stages.tools.verify.verdicts_of_reruns import RerunComparison

_SOURCE = "verify"  # the name under which a cache on this machine becomes a remote of the clone
_CLONE = "verify-clone"  # the same of the clone's own cache


@dataclass(frozen=True)
class Storage:
    """Where outputs that are not in git may be fetched from.

    Attributes:
        remote: a DVC remote of the repository; "" for the cache, then the repository's default remote.
        cache: the folder of another DVC cache on this machine, or "".
    """

    remote: str = ""
    cache: str = ""


def reset_clone(root: Path) -> None:
    """Restore the files of the commit, without its bytecode and without anything that a stage has left.

    Stages get a git folder of their own, which they may write to.
    """
    git_folder = root.parent / STAGES_GIT
    shutil.rmtree(root)
    shutil.rmtree(git_folder, ignore_errors=True)
    root.mkdir()
    git_in_clone(root, "checkout", "--quiet", "--force", "HEAD", "--", ".")
    delete_bytecode(root)
    with TemporaryDirectory(dir=root.parent) as folder:
        options = ("--quiet", "--shared", "--no-checkout", f"--separate-git-dir={git_folder}")
        git(root.parent, "clone", *options, "--", f"{root}.git", f"{folder}/empty")
    commit = git_in_clone(root, "rev-parse", "HEAD")
    (root / ".git").write_text(f"gitdir: {git_folder}\n", encoding="utf-8")
    git(root, "update-ref", "--no-deref", "HEAD", commit)
    git(root, "read-tree", commit)
    configure_cache(root)


def configure_cache(root: Path, cache: str = "") -> None:
    """Give a clone its own DVC cache, and a configuration that holds nothing but its remotes.

    Args:
        root: the clone.
        cache: the folder of another DVC cache, which becomes a remote; "" for none.
    """
    _keep_remotes(root / ".dvc" / "config")
    folder = root.parent / "cache"
    lines = [
        *("[core]", "    analytics = false", "    check_update = false"),
        *("[cache]", f"    dir = {folder}", "    type = reflink,copy", f"    local = {_CLONE}"),
        *(
            f"['remote \"{_CLONE}\"']",
            f"    url = {folder}",
        ),  # else the repository could name another
    ]
    if cache:
        lines += [f"['remote \"{_SOURCE}\"']", f"    url = {cache}", "    verify = true"]
    local = root / ".dvc" / "config.local"
    local.unlink(missing_ok=True)  # it may be a link
    local.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _keep_remotes(path: Path) -> None:
    """Delete all settings of DVC but the remotes: others name places to write to."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    lines, _ = split_config(text)
    path.unlink(missing_ok=True)
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


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
    """Fetch the outputs of stages by the hashes in dvc.lock; return why some are missing, "" if none is.

    DVC starts in seconds, so it is not asked for what cannot be there.
    """
    if not names:
        return ""  # `dvc pull` without names would fetch everything
    configure_cache(repo.root, storage.cache)
    if storage.remote:
        return _pull(repo, names, "--remote", storage.remote)
    cached = [name for name in names if storage.cache and _is_cached(repo, name, storage.cache)]
    error = _pull(repo, cached, "--remote", _SOURCE) if cached else ""
    uncached = names if error else [name for name in names if name not in cached]
    if not uncached:
        return ""
    if not _has_origin(repo, uncached):
        return error or "not in any accessible cache or remote"
    return _pull(repo, uncached)


def _is_cached(repo: LockedRepo, name: str, cache: str) -> bool:
    """Return whether a DVC cache has the outputs of a stage; of a folder, the list of its files."""
    hashes = [out.hash_info.value or "" for out in repo.stages[name].outs]
    return all(Path(cache, "files", "md5", value[:2], value[2:]).is_file() for value in hashes)


def _has_origin(repo: LockedRepo, names: Sequence[str]) -> bool:
    """Return whether there is a default remote, or a stage has an origin or a remote of its own."""
    from dvc.config import Config, ConfigError

    try:
        if Config(str(repo.root / ".dvc"))["core"].get("remote"):
            return True
    except ConfigError:
        return True  # `dvc pull` says what is wrong
    stages = [repo.stages[name] for name in names]
    return any(stage.is_import or any(out.remote for out in stage.outs) for stage in stages)


def _pull(repo: LockedRepo, names: Sequence[str], *options: str) -> str:
    """Return DVC's error, "" if it has fetched the outputs of all stages."""
    temporary = (
        repo.root.parent / "tmp"
    )  # DVC leaves clones there of repositories that it imports from
    temporary.mkdir(exist_ok=True)
    environment = {**ENVIRONMENT, "TMPDIR": str(temporary)}
    command = ("dvc", "pull", *options, *names)
    result = run_command(repo.root, *command, extra_environment=environment)
    if result.returncode == 0:
        return ""
    if len(names) == 1:
        return dvc_error(result.stderr)
    # Where an object is missing, DVC checks out nothing, of the other stages neither.
    errors = [_pull(repo, [name], *options) for name in names]
    return next(filter(None, errors), "")


def pull_sources(repo: LockedRepo, storage: Storage) -> str:
    """Fetch the data that DVC tracks and no stage makes, as far as they are available.

    Returns:
        Why some are missing, "" if none is.
    """
    sources = [name for name, stage in repo.stages.items() if not stage.cmd]
    return pull_outputs(repo, sources, storage)


def rerun_from_weights(
    repo: LockedRepo, comparison: RerunComparison, storage: Storage, runner: Runner
) -> list[Finding]:
    """Run every stage of the requested tasks but training, with the weights that dvc.lock names."""
    reset_clone(repo.root)
    runner = replace(runner, fetch_error=pull_sources(repo, storage))
    # All of them before the revision's code runs, which could change what DVC reads afterwards.
    tasks = requested_tasks(repo)
    problems = dict(zip(tasks, _fetch_weights(repo, tasks, storage), strict=True))
    left_out = {f"train@{task}" for task in tasks} | {
        name for name in repo.stages if problems.get(name.partition("@")[2])
    }
    shared = {"params"} & pipeline_stages(repo)
    names = [
        name
        for name in repo.stages
        if (name in shared or name.partition("@")[2] in tasks) and name not in left_out
    ]
    findings = _verdicts(comparison, runner, runner.run(names), same_weights=True)
    for name in repo.stages:
        problem = problems.get(name.partition("@")[2], "")
        if name in left_out:
            reason = f"no weights: {problem}" if problem else STORED_WEIGHTS
            findings.append(Finding(name, Verdict.UNCHECKED, reason))
    if "compare" not in repo.requested or not requested_tasks(repo):
        return findings
    rerun_findings = [finding for finding in findings if not finding.stage.startswith("train@")]
    complete = requested_tasks(repo) == verifiable_tasks(repo)
    if complete and all(finding.verdict in RERUN for finding in rerun_findings):
        merged = runner.run(["compare"])
        return [*findings, *_verdicts(comparison, runner, merged, same_weights=True)]
    reason = "it merges all tasks, and not every task was run again"
    return [*findings, Finding("compare", Verdict.UNCHECKED, reason)]


def _verdicts(
    comparison: RerunComparison, runner: Runner, rerun: Rerun, *, same_weights: bool
) -> list[Finding]:
    """Return the verdicts on a rerun; of what disagrees, whether it comes out the same every time."""
    findings = comparison.verdicts(rerun, same_weights=same_weights)
    return runner.excuse_random_stages(findings, rerun)


def _fetch_weights(repo: LockedRepo, tasks: Sequence[str], storage: Storage) -> list[str]:
    """Fetch the outputs of training stages; return for each task why that is not possible, "" if it is."""
    names = [f"train@{task}" for task in tasks]
    error = pull_outputs(repo, names, storage)
    return [_weights_problem(repo.compare_outputs(name), error) for name in names]


def _weights_problem(outputs: OutputComparison, error: str) -> str:
    changed = outputs.differing + outputs.same_text
    if changed:
        return f"{changed[0]} that was fetched is not the one of dvc.lock"
    return error if outputs.missing else ""


def fetch_weights(root: Path, task: str, storage: Storage) -> None:
    """Fetch the weights of a task into a clone, in which nothing of the revision has run.

    Raises:
        UserError: there is no such task, or its weights are nowhere.
    """
    repo = LockedRepo.read(root)
    name = f"train@{task}"
    if name not in repo.stages:
        raise UserError(f"no weights: there is no stage {name}")
    (problem,) = _fetch_weights(repo, [task], storage)
    if problem:
        raise UserError(f"no weights: {problem}")


def rerun_everything(
    repo: LockedRepo, comparison: RerunComparison, storage: Storage, runner: Runner
) -> list[Finding]:
    """Run the requested stages and all that they need, in the emptied clone."""
    reset_clone(repo.root)
    outside = [
        f"{name} writes {path}, outside the repository: nothing is run"
        for name, stage in repo.stages.items()
        for path in repo.outside(name)
        if stage.cmd
    ]
    if outside:
        return [Finding(name, Verdict.UNCHECKED, outside[0]) for name in repo.stages]
    runner = replace(runner, fetch_error=pull_sources(repo, storage))
    names = _with_ancestors(repo)
    for name in names:
        if repo.stages[name].cmd and not repo.stages[name].frozen:
            runner.delete_outputs(name)
    return _verdicts(comparison, runner, runner.run(names), same_weights=False)


def _with_ancestors(repo: LockedRepo) -> list[str]:
    """Return the requested stages and all that they depend on, in the order in which they run."""
    import networkx as nx

    graph = repo.dvc.index.graph  # its edges lead from a stage to what it depends on
    requested = {repo.stages[name] for name in repo.requested}
    needed = requested.union(*(nx.descendants(graph, stage) for stage in requested))
    return [name for name, stage in repo.stages.items() if stage in needed]
