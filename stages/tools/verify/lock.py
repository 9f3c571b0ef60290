"""The tier hashes: dvc.lock against dvc.yaml, params and the bytes of the files. For any DVC repository.

No command of the repository is run. DVC resolves the stages (foreach, matrix, wdir, several dvc.yaml
files); dvc.lock is compared entry by entry, so that entries which DVC ignores are checked as well.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.verify.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

LOCK = "dvc.lock"
# DVC's hash of a folder without files, which git cannot hold: the plots that no task has.
EMPTY_FOLDER = f"{hashlib.md5(b'[]', usedforsecurity=False).hexdigest()}.dir"


@dataclass
class LockedRepo:
    """The stages of a clone, with the hashes that its dvc.lock had when it was read.

    Attributes:
        root: the clone.
        dvc: its view by DVC.
        stages: by name (`train@image`, `sub/dvc.yaml:fit`, `data.csv.dvc`), in the order in which they run.
        requested: the names of the stages to report on.
        locks: the entries of each dvc.lock that was read, by its path.
    """

    root: Path
    dvc: "Repo"
    stages: "dict[str, Stage]"
    requested: frozenset[str]
    locks: dict[Path, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path, only: Sequence[str] = ()) -> "LockedRepo":
        """Read a clone.

        Args:
            root: the clone.
            only: names of stages, or of tasks (`image` selects every stage `...@image`).

        Raises:
            UserError: it is no DVC repository, DVC cannot read it, or it has no stage of that name.
        """
        import networkx as nx
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            # Hashes that other processes have recorded are not used: each hash is computed.
            with site_cache(root.parent / "dvc"):
                repo = Repo(str(root))
                _ = repo.state
            graph, nodes = repo.index.graph, repo.index.stages
        except DvcException as error:
            raise UserError(f"DVC cannot read this revision: {error}") from None
        topological = reversed(list(nx.topological_sort(graph)))
        order = {stage: position for position, stage in enumerate(topological)}
        stages = {_stage_name(stage, root): stage for stage in sorted(nodes, key=order.__getitem__)}
        if not any(stage.cmd for stage in stages.values()):
            raise UserError("this revision has no stage with a command: there is nothing to verify")
        aliases = {name: {name, name.rpartition("@")[2]} for name in stages}
        for name in only:
            if not any(name in names for names in aliases.values()):
                raise UserError(f"--only: given {name!r}; must be one of {', '.join(stages)}")
        requested = {name for name, names in aliases.items() if not only or names & set(only)}
        return cls(root, repo, stages, frozenset(requested))

    def entry(self, stage: "Stage") -> dict[str, Any] | None:
        """Return a stage's entry in dvc.lock, None if it has none; of a .dvc file an empty one."""
        name = getattr(stage, "name", "")
        path = Path(stage.path).parent / LOCK
        if not name:
            return {}
        if path not in self.locks:
            self.locks[path] = _read_lock(path)
        return self.locks[path].get(name)

    def relative_path(self, out: "Output") -> str:
        """Return the path of an output, relative to the root."""
        return Path(out.fs_path).relative_to(self.root).as_posix()

    def contains(self, item: "Output") -> bool:
        """Return whether a dependency or output is a file or folder in the clone."""
        return bool(item.protocol == "local" and Path(item.fs_path).is_relative_to(self.root))

    def outs(self, name: str) -> "dict[str, Output]":
        """Return the outputs of a stage that are in the clone, by their path."""
        outs = self.stages[name].outs
        return {self.relative_path(out): out for out in outs if self.contains(out)}

    def outside(self, name: str) -> list[str]:
        """Return the outputs of a stage that are not in the clone, as dvc.yaml names them."""
        return [out.def_path for out in self.stages[name].outs if not self.contains(out)]

    def differing(self, name: str) -> tuple[list[str], list[str]]:
        """Return which outputs of a stage have another hash than in dvc.lock, and which are missing."""
        differing, missing = [], []
        for path, out in self.outs(name).items():
            if not out.exists:
                missing.append(path)
            elif out.get_hash() != out.hash_info:
                differing.append(path)
        return differing, missing


@contextmanager
def site_cache(folder: Path) -> Iterator[None]:
    """Let DVC keep its records of files in `folder` instead of this machine's common place."""
    name = "DVC_SITE_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _stage_name(stage: "Stage", root: Path) -> str:
    """Return a stage's name as `dvc repro` takes it in the root: of a .dvc file its path."""
    path, name = Path(stage.path).relative_to(root).as_posix(), getattr(stage, "name", "")
    if not name:
        return path
    return str(name) if path == "dvc.yaml" else f"{path}:{name}"


def _read_lock(path: Path) -> dict[str, Any]:
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import load_yaml

    try:  # DVC's YAML is 1.2: 1e-05 is a number, on is a word
        content = load_yaml(path) if path.exists() else {}
        return dict((content or {}).get("stages") or {})
    except (DvcException, AttributeError, TypeError, ValueError):
        raise UserError(f"{path.name} is damaged: DVC did not write it") from None


def check_lock(repo: LockedRepo) -> list[Finding]:
    """Return for each stage what disagrees: files with dvc.lock, dvc.lock with dvc.yaml and params.

    A stage whose entry agrees has the verdict "agrees"; one without an entry is not checked.
    """
    makers = {
        repo.relative_path(out): (name, out)
        for name, stage in repo.stages.items()
        for out in stage.outs
        if repo.contains(out)
    }
    findings = []
    for name, stage in repo.stages.items():
        reasons = list(_stage_disagreements(repo, stage, makers))
        findings += [Finding(name, Verdict.OUTSIDE, reason) for reason in reasons]
        if not reasons and repo.entry(stage) is None:
            reason = f"{LOCK} has no entry of it: it has never been run"
            findings.append(Finding(name, Verdict.UNCHECKED, reason))
        elif not reasons:
            findings.append(Finding(name, Verdict.AGREES))
    return findings


def _stage_disagreements(
    repo: LockedRepo, stage: "Stage", makers: "dict[str, tuple[str, Output]]"
) -> Iterator[str]:
    if not stage.cmd:
        yield from _changed_files(repo, stage.outs, "has")
        return
    entry = repo.entry(stage)
    if entry is None:
        return
    from dvc.dependency import ParamsDependency

    files = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    if entry:
        if entry.get("cmd") != stage.cmd:
            yield f"command: {LOCK} has run {entry.get('cmd')!r}, dvc.yaml says {stage.cmd!r}"
        yield from _unmatched_paths("deps", entry, files)
        yield from _unmatched_paths("outs", entry, stage.outs)
        yield from _changed_params(stage, entry)
        yield from _missing_outputs(repo, stage)
    yield from _changed_files(repo, files, "was run with")
    yield from _changed_files(repo, stage.outs, "has")
    yield from _foreign_inputs(repo, files, makers)


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


def _changed_files(repo: LockedRepo, items: "Sequence[Output]", verb: str) -> Iterator[str]:
    for item in items:
        if not repo.contains(item) or not item.hash_info or not item.exists:
            continue
        if not _is_complete(repo, item):
            continue
        actual = item.get_hash()
        if actual != item.hash_info:
            yield (
                f"{repo.relative_path(item)}: {LOCK} {verb} {item.hash_info.name} "
                f"{item.hash_info.value}, the file in git has {actual.value}"
            )


def _changed_params(stage: "Stage", entry: dict[str, Any]) -> Iterator[str]:
    from dvc.dependency import ParamsDependency

    declared = {dep.def_path: dep for dep in stage.deps if isinstance(dep, ParamsDependency)}
    locked: dict[str, dict[str, Any]] = entry.get("params") or {}
    for path in sorted(locked.keys() | declared.keys()):
        if path not in declared or path not in locked:
            present, absent = (LOCK, "dvc.yaml") if path in locked else ("dvc.yaml", LOCK)
            yield f"params: {path} is in {present} and not in {absent}"
            continue
        values = _flatten(declared[path].read_params(flatten=True))
        locked_values = _flatten(locked[path])
        for key in sorted(values.keys() | locked_values.keys()):
            if values.get(key) != locked_values.get(key):
                yield (
                    f"{key}: {LOCK} was run with {locked_values.get(key)!r}, {path} says "
                    f"{values.get(key)!r}"
                )


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
