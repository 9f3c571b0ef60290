"""The stages of a clone as DVC resolves them, and the hashes of its dvc.lock. For any DVC repository."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.params import check_size
from stages.tools.verify.line_ends import differs_in_line_ends

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

LOCK = "dvc.lock"
_NEW_FORMAT = re.compile(r"^(schema|stages):", re.MULTILINE)
_MAX_NODES = 5_000_000  # of a YAML file; a dvc.lock has some twenty for each file of a stage
_MAX_CAUSES = 4  # of an error, that a message repeats
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
        only: the names of stages and tasks that were asked for; none for all.
        locks: the entries of each dvc.lock that was read, by its path.
    """

    root: Path
    dvc: "Repo"
    stages: "dict[str, Stage]"
    requested: frozenset[str]
    only: tuple[str, ...] = ()
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

        _refuse_old_formats(root)
        _refuse_bombs(root)
        try:
            # Hashes that other processes have recorded are not used: each hash is computed.
            with site_cache(root.parent / "dvc"):
                repo = Repo(str(root))
                _ = repo.state
            graph, nodes = repo.index.graph, repo.index.stages
        except DvcException as error:
            raise UserError(f"DVC cannot read this revision: {_reason(error, root)}") from None
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
        return cls(root, repo, stages, frozenset(requested), tuple(only))

    def is_requested(self, name: str) -> bool:
        """Return whether to report on a stage, which may be one that the repository lacks."""
        names = {name, name.rpartition("@")[2]}
        return name in self.requested or not self.only or bool(names & set(self.only))

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

    def compare_outputs(self, name: str) -> "OutputComparison":
        """Compare the outputs of a stage, as they are now, with their hashes in dvc.lock.

        Raises:
            UserError: an output is no regular file or folder of such files.
        """
        comparison = OutputComparison()
        for path, out in self.outs(name).items():
            refuse_special_files(self.root / path)
            if not out.exists:
                comparison.missing.append(path)
            elif (actual := out.get_hash()) != out.hash_info:
                has_same_text = differs_in_line_ends(self.root / path, out.hash_info)
                (comparison.same_text if has_same_text else comparison.differing).append(path)
                comparison.hashes[path] = str(actual.value)
        return comparison


@dataclass
class OutputComparison:
    """How the outputs of a stage compare with dvc.lock.

    Attributes:
        differing: the paths of those with another hash.
        same_text: the paths of those whose text differs in its line ends only.
        missing: the paths of those that are not there.
        hashes: the hash of each output that has another one.
    """

    differing: list[str] = field(default_factory=list)
    same_text: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)


def refuse_special_files(path: Path) -> None:
    """Check that a path is a file or a folder of files: reading a pipe or a device may never end.

    Raises:
        UserError: it is something else, or holds it.
    """
    for entry in (path, *(path.rglob("*") if path.is_dir() else ())):
        if entry.exists() and not (entry.is_file() or entry.is_dir()):
            raise UserError(f"{entry.name} is a pipe, socket or device; only files can be compared")


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


def _reason(error: Exception, root: Path) -> str:
    """Return an error of DVC with its causes, without the place of the clone."""
    texts = [str(error)]
    while error.__cause__ is not None and len(texts) < _MAX_CAUSES:
        error = error.__cause__  # type: ignore[assignment]
        texts.append(str(error))
    text = ": ".join(dict.fromkeys(text for text in texts if text))
    text = text.partition("To suppress this check")[0]  # a hint for programmers
    return (
        text.replace(f"{root}/", "")
        .replace(f"./{os.path.relpath(root)}/", "")
        .replace(str(root), ".")
    )


def _refuse_bombs(root: Path) -> None:
    """Check that no YAML file that DVC may read stands for more values than fit in memory.

    Raises:
        UserError: one does.
    """
    from ruamel.yaml.error import YAMLError

    for path in sorted(root.rglob("*")):
        is_yaml = path.suffix in {".yaml", ".yml", ".dvc"} or path.name == LOCK
        if not is_yaml or not path.is_file():
            continue
        with suppress(YAMLError):  # which DVC reports, if it reads the file
            try:
                check_size(path.read_text(encoding="utf-8", errors="replace"), _MAX_NODES)
            except ValueError as error:
                raise UserError(f"{path.relative_to(root)}: {error}") from None


def _refuse_old_formats(root: Path) -> None:
    """Check that dvc.lock and dvc.yaml are in a format that today's DVC reads.

    Raises:
        UserError: they are of DVC 0 or 1.
    """
    hint = "run `dvc repro` with a current DVC once, and commit what it writes"
    for path in root.rglob("Dvcfile"):
        raise UserError(f"{path.relative_to(root)} is a stage file of DVC 0; {hint}")
    for path in root.rglob(LOCK):
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if text.strip() not in {"", "{}"} and not _NEW_FORMAT.search(text):
            raise UserError(f"{path.relative_to(root)} has the format of DVC 1; {hint}")


def _read_lock(path: Path) -> dict[str, Any]:
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import load_yaml

    try:  # DVC's YAML is 1.2: 1e-05 is a number, on is a word
        content = load_yaml(path) if path.exists() else {}
        return dict((content or {}).get("stages") or {})
    except (DvcException, AttributeError, TypeError, ValueError):
        raise UserError(f"{path.name} is damaged: DVC did not write it") from None
