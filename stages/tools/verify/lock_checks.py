"""The tier hashes: dvc.lock against dvc.yaml, params and the bytes of the files. For any DVC repository.

No command of the repository is run. dvc.lock is compared entry by entry, so that entries which DVC
ignores are checked as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.tools.stage_inputs import StageInputs
from stages.tools.verify.disagreements import Cause, Disagreement
from stages.tools.verify.line_ends import differs_in_line_ends
from stages.tools.verify.lock import EMPTY_FOLDER, LOCK, LockedRepo, refuse_special_files
from stages.tools.verify.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.stage import Stage

_FILE_HASHES = {"md5", "md5-dos2unix"}  # the latter by releases of DVC before 3


@dataclass(frozen=True)
class Doubt:
    """A file that cannot be compared with its hash in dvc.lock; the reason is in `line`."""

    line: str


@dataclass(frozen=True)
class SameText:
    """A file that matches its hash in dvc.lock but for its line ends."""

    path: str


Result = Disagreement | Doubt | SameText


def check_lock(repo: LockedRepo) -> list[Finding]:
    """Return for each stage what disagrees: files with dvc.lock, dvc.lock with dvc.yaml and params.

    A stage whose entry agrees has the verdict "agrees"; one without an entry is not checked, nor is one
    with a file whose hash covers more than git has.
    """
    makers = {
        repo.relative_path(out): (name, out)
        for name, stage in repo.stages.items()
        for out in stage.outs
        if repo.contains(out)
    }
    inputs = StageInputs(repo.dvc, repo.stages.values())
    findings = []
    for name, stage in repo.stages.items():
        results = list(_compare_stage(repo, stage, makers, inputs))
        disagreements = [item for item in results if isinstance(item, Disagreement)]
        doubts = [item.line for item in results if isinstance(item, Doubt)]
        same_text = [item.path for item in results if isinstance(item, SameText)]
        findings += [Finding.outside(name, item) for item in disagreements]
        if disagreements:
            continue
        if repo.entry(stage) is None:
            reason = f"{LOCK} has no entry of it: it has never been run"
            findings.append(Finding(name, Verdict.UNCHECKED, reason))
        elif doubts:
            findings.append(Finding(name, Verdict.UNCHECKED, "; ".join(doubts)))
        else:
            reason = f"with other line ends: {', '.join(same_text)}" if same_text else ""
            findings.append(Finding(name, Verdict.AGREES, reason))
    return findings


def _compare_stage(
    repo: LockedRepo,
    stage: "Stage",
    makers: "dict[str, tuple[str, Output]]",
    inputs: StageInputs,
) -> Iterator[Result]:
    if not stage.cmd:
        yield from _changed_files(repo, inputs, stage.outs, "has")
        return
    entry = repo.entry(stage)
    if entry is None:
        return
    from dvc.dependency import ParamsDependency

    files = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    if entry:
        if entry.get("cmd") != stage.cmd:
            line = f"command: {LOCK} has run {entry.get('cmd')!r}, dvc.yaml says {stage.cmd!r}"
            yield Disagreement(Cause.LOCK, line, "dvc.yaml")
        for kind, items in (("deps", files), ("outs", stage.outs)):
            for line in _unmatched_paths(kind, entry, items):
                yield Disagreement(Cause.LOCK, line, LOCK)
        yield from _changed_params(stage, entry, inputs)
        for line in _missing_outputs(repo, stage):
            yield Disagreement(Cause.MISSING, line, LOCK)
    yield from _changed_files(repo, inputs, files, "was run with")
    yield from _changed_files(repo, inputs, stage.outs, "has")
    for line in _ignored_files(repo, stage):
        yield Disagreement(Cause.FILE, line, ".dvcignore")
    for line in _foreign_inputs(repo, files, makers):
        yield Disagreement(Cause.INPUT, line, LOCK)


def _unmatched_paths(kind: str, entry: dict[str, Any], items: "Sequence[Output]") -> Iterator[str]:
    """Yield which files are not named by both dvc.lock and dvc.yaml, once each."""
    paths = [item["path"] for item in entry.get(kind) or []]
    locked, declared = set(paths), {item.def_path for item in items}
    for path in sorted(locked ^ declared):
        present, absent = (LOCK, "dvc.yaml") if path in locked else ("dvc.yaml", LOCK)
        yield f"{kind}: {path} is in {present} and not in {absent}"
    for path in sorted(locked):
        if paths.count(path) > 1:
            yield f"{kind}: {path} is in {LOCK} {paths.count(path)} times"


def _missing_outputs(repo: LockedRepo, stage: "Stage") -> Iterator[str]:
    """Yield which outputs that git should have are missing, or have no hash in dvc.lock."""
    for out in stage.outs:
        if out.use_cache or not repo.contains(out):
            continue
        if not out.hash_info:
            yield f"{out.def_path}: {LOCK} has no hash of it"
        elif not out.exists and out.hash_info.value != EMPTY_FOLDER:
            yield f"{repo.relative_path(out)}: {LOCK} has it, but it is not in git, where dvc.yaml keeps it"


def _foreign_inputs(
    repo: LockedRepo, files: "Sequence[Output]", makers: "dict[str, tuple[str, Output]]"
) -> Iterator[str]:
    """Yield which inputs have another hash than the output of the stage that made them."""
    for dep in files:
        maker, out = (
            makers.get(repo.relative_path(dep), ("", None)) if repo.contains(dep) else ("", None)
        )
        if out is None or not dep.hash_info or not out.hash_info:
            continue
        # Hashes of text by older releases of DVC (md5-dos2unix) cannot be compared with newer ones.
        if dep.hash_info.name == out.hash_info.name and dep.hash_info != out.hash_info:
            yield (
                f"{dep.def_path}: {LOCK} says that it was run with {dep.hash_info.value}, and that "
                f"{maker} made {out.hash_info.value}"
            )


def _is_complete(repo: LockedRepo, item: "Output") -> bool:
    """Return whether no output below a folder is missing (because it is in a cache, not in git)."""
    folder = Path(item.fs_path)
    if not folder.is_dir():
        return True
    outs = (Path(out.fs_path) for stage in repo.stages.values() for out in stage.outs)
    return not any(
        path != folder and path.is_relative_to(folder) and not path.exists() for path in outs
    )


def _changed_files(
    repo: LockedRepo, inputs: StageInputs, items: "Sequence[Output]", verb: str
) -> Iterator[Result]:
    for item in items:
        if not repo.contains(item) or not item.hash_info or not item.exists:
            continue
        if not _is_complete(repo, item):
            continue
        path = repo.relative_path(item)
        refuse_special_files(Path(item.fs_path))
        if item.hash_info.name not in _FILE_HASHES:
            line = (
                f"{path}: {LOCK} {verb} {item.hash_info.name}, which DVC does not compute of files"
            )
            yield Disagreement(Cause.LOCK, line, path)
            continue
        actual = inputs.hash(item)
        if actual == item.hash_info:
            yield from _changed_size(repo, item)
            continue
        if differs_in_line_ends(Path(item.fs_path), item.hash_info):
            yield SameText(path)
        elif lost := _lost_files(item):
            yield Doubt(f"{path}: {lost}")
        else:
            cause = Cause.FILE if verb == "has" else Cause.INPUT
            line = (
                f"{path}: {LOCK} {verb} {item.hash_info.name} {item.hash_info.value}, the file in git "
                f"has {actual.value}"
            )
            yield Disagreement(cause, line, path, str(item.hash_info.value), str(actual.value))


def _changed_size(repo: LockedRepo, item: "Output") -> Iterator[Disagreement]:
    """Yield that the size or number of files in dvc.lock is not that of the file or folder."""
    folder, ignore = Path(item.fs_path), repo.dvc.dvcignore
    files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    sizes = [
        path.stat().st_size
        for path in files
        if path.is_file() and not ignore.is_ignored_file(str(path))
    ]
    for name, actual in (("size", sum(sizes)), ("nfiles", len(sizes))):
        locked = getattr(item.meta, name, None)
        if locked is not None and locked != actual:
            path = repo.relative_path(item)
            line = f"{path}: {LOCK} has {name} {locked}, in git it is {actual}"
            yield Disagreement(Cause.LOCK, line, path, str(locked), str(actual))


def _lost_files(item: "Output") -> str:
    """Return in words that a folder had files that git does not have, "" if its number is the same."""
    folder, count = Path(item.fs_path), item.meta.nfiles if item.meta else None
    if not folder.is_dir() or count is None:
        return ""
    present = sum(path.is_file() for path in folder.rglob("*"))
    if present >= count:
        return ""
    return (
        f"its hash is of {count} files, and git has {present}: the others, such as bytecode, are lost, "
        "so the hash cannot be computed"
    )


def _ignored_files(repo: LockedRepo, stage: "Stage") -> Iterator[str]:
    """Yield which files of a stage's outputs in git .dvcignore hides from their hash."""
    ignore = repo.dvc.dvcignore
    for out in stage.outs:
        folder = Path(out.fs_path)
        if out.use_cache or not repo.contains(out) or not folder.is_dir():
            continue
        for path in sorted(folder.rglob("*")):
            if path.is_file() and ignore.is_ignored_file(str(path)):
                name = path.relative_to(repo.root).as_posix()
                yield f"{name}: .dvcignore hides it from the hash of {repo.relative_path(out)}"


def _changed_params(
    stage: "Stage", entry: dict[str, Any], inputs: StageInputs
) -> Iterator[Disagreement]:
    from dvc.dependency import ParamsDependency

    declared = {dep.def_path: dep for dep in stage.deps if isinstance(dep, ParamsDependency)}
    locked: dict[str, dict[str, Any]] = entry.get("params") or {}
    for path in sorted(locked.keys() | declared.keys()):
        if path not in declared or path not in locked:
            present, absent = (LOCK, "dvc.yaml") if path in locked else ("dvc.yaml", LOCK)
            line = f"params: {path} is in {present} and not in {absent}"
            yield Disagreement(Cause.LOCK, line, LOCK)
            continue
        values = _flatten(inputs.params(declared[path]))
        locked_values = _flatten(locked[path])
        for key in sorted(values.keys() | locked_values.keys()):
            if values.get(key) != locked_values.get(key):
                locked_value, value = repr(locked_values.get(key)), repr(values.get(key))
                line = f"{key}: {LOCK} was run with {locked_value}, {path} says {value}"
                yield Disagreement(Cause.PARAMS, line, path, value, locked_value)


def _flatten(value: Any, key: str = "") -> dict[str, Any]:
    """Return nested values by dotted key; a list is one value."""
    if isinstance(value, dict) and value:
        return {
            inner_key: inner
            for name, item in value.items()
            for inner_key, inner in _flatten(item, f"{key}.{name}" if key else str(name)).items()
        }
    return {key: _without_tuples(value)}


def _without_tuples(value: Any) -> Any:
    return [_without_tuples(item) for item in value] if isinstance(value, list | tuple) else value
