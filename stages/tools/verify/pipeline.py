"""Which stages of a repository are those of this project's pipeline, and whether it is all there."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.task import STAGES
from stages.tools.verify.disagreements import Cause, Disagreement
from stages.tools.verify.lock import LOCK, LockedRepo
from stages.tools.verify.verdicts import Finding

if TYPE_CHECKING:
    from stages.core.task import Task

SHARED = ("params", "compare")
_PICTURE = re.compile(r"\]\((pictures/[^)\s/]+)\)")  # as a page of Markdown shows it
_FILES_OF_EVIDENCE = {"index.html", "machine.json", "tolerance.json"}
# Every pack has these beside the files of its kind's artifacts.
_PAGES = ("README.md", "index.html", "record.json")


def verifiable_tasks(repo: LockedRepo) -> list[str]:
    """Return the tasks of which every stage is in the pipeline."""
    tasks = [name.partition("@")[2] for name in repo.stages if name.startswith("pack@")]
    return [task for task in tasks if all(f"{stage}@{task}" in repo.stages for stage in STAGES)]


def requested_tasks(repo: LockedRepo) -> list[str]:
    """Return the verifiable tasks that have a requested stage."""
    return [
        task
        for task in verifiable_tasks(repo)
        if any(name.endswith(f"@{task}") for name in repo.requested)
    ]


def pipeline_stages(repo: LockedRepo) -> set[str]:
    """Return the names of this project's stages: those of the verifiable tasks, and the shared ones."""
    tasks = verifiable_tasks(repo)
    shared = {*SHARED} & repo.stages.keys() if tasks else set()
    return shared | {f"{stage}@{task}" for task in tasks for stage in STAGES}


def is_of_this_project(repo: LockedRepo) -> bool:
    """Return whether a repository has stages or evidence packs of this project."""
    commands = (command for stage in repo.stages.values() for command in _commands(stage.cmd))
    has_stages = any(command.startswith("python -m stages.") for command in commands)
    return has_stages or any((repo.root / "evidence").glob("*/record.json"))


def _commands(cmd: Any) -> list[str]:
    return [] if cmd is None else [cmd] if isinstance(cmd, str) else [str(line) for line in cmd]


def check_commands(repo: LockedRepo) -> list[Finding]:
    """Return the stages of this project's pipeline that run anything but their own module, in the root."""
    findings = []
    for name in repo.stages:
        reason = command_disagreement(repo, name) if name in pipeline_stages(repo) else ""
        if reason:
            disagreement = Disagreement(Cause.COMMAND, reason, "dvc.yaml")
            findings.append(Finding.outside(name, disagreement))
    return findings


def command_disagreement(repo: LockedRepo, name: str) -> str:
    """Return what is wrong with the command of a stage of this project's pipeline, "" if nothing."""
    stage = repo.stages[name]
    command = f"python -m stages.{' '.join(name.partition('@')[::2])}".strip()
    if stage.cmd != command:
        return f"command: dvc.yaml says {stage.cmd!r}, this stage of the pipeline runs {command!r}"
    if Path(stage.wdir) != repo.root:
        return f"wdir: dvc.yaml says {stage.wdir}, this stage of the pipeline runs in the root"
    return ""


def check_hash_kinds(repo: LockedRepo) -> list[Finding]:
    """Return which files of this project's pipeline have a hash that is not compared with later ones.

    Releases of DVC before 3 hash text in another way. This project has never used one, and between such
    a hash and a newer one a chain of inputs and outputs would break unseen.
    """
    findings = []
    for name in sorted(pipeline_stages(repo)):
        entry = repo.entry(repo.stages[name]) or {}
        for item in [*(entry.get("deps") or []), *(entry.get("outs") or [])]:
            if "md5" in item and item.get("hash") != "md5":
                line = f"{item['path']}: {LOCK} has its hash of an older release of DVC"
                findings.append(Finding.outside(name, Disagreement(Cause.LOCK, line, LOCK)))
    return findings


def declared_tasks(root: Path) -> list[str]:
    """Return the names under `tasks:` in the params.yaml of a clone.

    Raises:
        UserError: the file is missing or damaged.
    """
    from stages.core.params import read_yaml

    params = read_yaml(root / "params.yaml")
    tasks = params.get("tasks") if isinstance(params, dict) else None
    if not isinstance(tasks, dict) or not tasks:
        raise UserError("params.yaml: it has no section tasks:")
    return [str(name) for name in tasks]


def check_completeness(repo: LockedRepo, tasks: "Mapping[str, Task] | None") -> list[Finding]:
    """Return what a revision of this project lacks: stages, entries in dvc.lock, files of packs.

    A task that has never been run, without an entry and without a pack, lacks nothing yet.

    Args:
        repo: a clone.
        tasks: those of its params; None if these do not fit the schema of this project.
    """
    try:
        names = list(tasks) if tasks is not None else declared_tasks(repo.root)
    except UserError as error:
        disagreement = Disagreement(Cause.MISSING, str(error), "params.yaml")
        return [Finding.outside("params", disagreement)]
    lines: list[tuple[str, Disagreement]] = []
    packs = {path.parent.name for path in (repo.root / "evidence").glob("*/record.json")}
    for task in names:
        stages = [f"{stage}@{task}" for stage in STAGES]
        lines += _missing_stages(repo, stages, f"params.yaml has the task {task}")
        has_run = task in packs or any(_has_entry(repo, stage) for stage in stages)
        if has_run:
            lines += _missing_entries(repo, stages, f"evidence/{task} is in git")
            lines += [(f"pack@{task}", item) for item in _missing_files(repo.root, task, tasks)]
    shared = [name for name in SHARED if name == "params" or packs]
    lines += _missing_stages(repo, shared, "the pipeline has tasks")
    if packs:
        lines += _missing_entries(repo, shared, "evidence is in git")
    lines += [
        ("compare", Disagreement(Cause.SURPLUS, f"{path}: no task of params.yaml writes it", path))
        for path in _surplus(repo.root, names)
    ]
    return [Finding.outside(stage, disagreement) for stage, disagreement in lines]


def _has_entry(repo: LockedRepo, name: str) -> bool:
    return name in repo.stages and repo.entry(repo.stages[name]) is not None


def _missing_stages(
    repo: LockedRepo, names: list[str], reason: str
) -> Iterator[tuple[str, Disagreement]]:
    for name in names:
        if name not in repo.stages:
            line = f"{reason}, but dvc.yaml has no stage {name}"
            yield name, Disagreement(Cause.MISSING, line, "dvc.yaml")


def _missing_entries(
    repo: LockedRepo, names: list[str], reason: str
) -> Iterator[tuple[str, Disagreement]]:
    for name in names:
        if name in repo.stages and not _has_entry(repo, name):
            line = f"{reason}, but {LOCK} has no entry of {name}"
            yield name, Disagreement(Cause.MISSING, line, LOCK)


def _missing_files(
    root: Path, name: str, tasks: "Mapping[str, Task] | None"
) -> Iterator[Disagreement]:
    """Yield the files that a pack must have and has not: pages, artifacts of its kind, plots, pictures."""
    from stages.kinds.registry import KINDS

    paths = [Path("evidence", name, page) for page in _PAGES]
    if tasks is not None:
        task = tasks[name]
        artifacts = task.module("artifacts").artifacts(task)
        paths += [artifact.pack_path(task) for artifact in artifacts]
        paths += [Path("plots", plot, f"{name}.csv") for plot in KINDS[task.kind].plots]
    if (root / paths[0]).is_file():
        text = (root / paths[0]).read_text(encoding="utf-8", errors="replace")
        paths += [paths[0].parent / picture for picture in sorted(set(_PICTURE.findall(text)))]
    for path in paths:
        if not (root / path).is_file():
            yield Disagreement(Cause.MISSING, f"{path}: is missing", path.as_posix())


def tasks_of(root: Path) -> "dict[str, Task]":
    """Return the tasks of a clone.

    Raises:
        UserError: its params.yaml does not fit the schema of this project.
    """
    from stages.kinds.params import FILE, load_params, load_tasks

    return load_tasks(load_params(root / FILE))


def _surplus(root: Path, tasks: Collection[str]) -> Iterator[str]:
    """Yield what is beside the packs and the metrics, where a reader takes it for one of them."""
    from stages.kinds.params import RESERVED_NAMES

    evidence = {*tasks, *RESERVED_NAMES, *_FILES_OF_EVIDENCE}
    for name, expected in (("evidence", evidence), ("metrics", {"metrics.json"})):
        folder = root / name
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in expected and not path.name.startswith("."):
                yield f"{name}/{path.name}"


def check_reproductions(repo: LockedRepo) -> list[Finding]:
    """Return what in evidence/reproductions does not follow from the statements there."""
    from stages.tools.verify.attestation.reproductions import FOLDER, PAGE, table

    folder = repo.root / FOLDER
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir())
    paths = [FOLDER / name for name in names if name != PAGE and ".json" not in name]
    lines = [(Cause.SURPLUS, f"{path}: it is no statement", path.as_posix()) for path in paths]
    page = FOLDER / PAGE
    text = (repo.root / page).read_text(errors="replace") if PAGE in names else ""
    if text != table(folder):
        line = f"{page}: it does not say what the statements beside it say"
        lines.append((Cause.PAGE, line, page.as_posix()))
    return [Finding.outside("compare", Disagreement(*line)) for line in lines]


def foreign_stages(repo: LockedRepo) -> list[str]:
    """Return in words the stages with a command that are not of this project's pipeline."""
    pipeline = pipeline_stages(repo)
    return [
        f"{name} is no stage of this pipeline: it runs {stage.cmd!r}"
        for name, stage in repo.stages.items()
        if stage.cmd and name not in pipeline
    ]
