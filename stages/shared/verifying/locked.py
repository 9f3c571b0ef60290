"""The cheapest tier: dvc.lock against dvc.yaml, params and the bytes that are there. Any DVC repository.

Nothing of the repository is run. DVC resolves the stages (foreach, matrix, wdir, several dvc.yaml
files); what is compared is what `dvc.lock` says, entry by entry, so that an entry which DVC itself
would not look at is seen as well.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.shared.refusal import Refusal
from stages.shared.verifying.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

LOCK = "dvc.lock"


@dataclass
class Locked:
    """A clone's stages, with the hashes that its dvc.lock gave them when this was read.

    Attributes:
        root: the clone.
        repo: DVC's view of it.
        stages: by name (`train@image`, `sub/dvc.yaml:fit`, `data.csv.dvc`), in the order in which they run.
        asked: the names of those of which something is to be said.
        locks: by path, the stages in each dvc.lock, as they stand there.
    """

    root: Path
    repo: "Repo"
    stages: "dict[str, Stage]"
    asked: frozenset[str]
    locks: dict[Path, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path, only: Sequence[str] = ()) -> "Locked":
        """Read a clone.

        Args:
            root: the clone.
            only: names of stages, or of rows (`image` stands for every stage `...@image`).

        Raises:
            Refusal: it is no DVC repository, DVC cannot read it, or it has no stage of that name.
        """
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            # What other processes note of a file's hash is not believed here: each hash is computed.
            with own_site(root.parent / "dvc"):
                repo = Repo(str(root))
                _ = repo.state
            graph, found = repo.index.graph, repo.index.stages
        except DvcException as error:
            raise Refusal(f"DVC cannot read this revision: {error}") from None
        import networkx as nx

        order = {stage: at for at, stage in enumerate(reversed(list(nx.topological_sort(graph))))}
        stages = {_name(stage, root): stage for stage in sorted(found, key=order.__getitem__)}
        if not any(stage.cmd for stage in stages.values()):
            raise Refusal(
                "this revision has no stage that runs anything: there is nothing to verify"
            )
        names = {name: {name, name.rpartition("@")[2]} for name in stages}
        for one in only:
            if not any(one in both for both in names.values()):
                raise Refusal(f"--only: given {one!r}; must be one of {', '.join(stages)}")
        asked = {name for name, both in names.items() if not only or both & set(only)}
        return cls(root, repo, stages, frozenset(asked))

    def entry(self, stage: "Stage") -> dict[str, Any] | None:
        """Return what the lock says of a stage, as it stands there; of a .dvc file nothing."""
        name = getattr(stage, "name", "")
        path = Path(stage.path).parent / LOCK
        if not name:
            return {}
        if path not in self.locks:
            self.locks[path] = _locked(path)
        return self.locks[path].get(name)

    def place(self, out: "Output") -> str:
        """Return where an output lies, as seen from the repository's root."""
        return Path(out.fs_path).relative_to(self.root).as_posix()

    def outs(self, name: str) -> "dict[str, Output]":
        """Return a stage's outputs by their place."""
        return {self.place(out): out for out in self.stages[name].outs if _inside(out, self.root)}

    def outside(self, name: str) -> list[str]:
        """Return those of a stage's outputs that do not lie in the clone, as dvc.yaml names them."""
        return [out.def_path for out in self.stages[name].outs if not _inside(out, self.root)]

    def differing(self, name: str) -> tuple[list[str], list[str]]:
        """Return which outputs of a stage have other bytes than the lock says, and which are missing."""
        other, missing = [], []
        for place, out in self.outs(name).items():
            if not out.exists:
                missing.append(place)
            elif out.get_hash() != out.hash_info:
                other.append(place)
        return other, missing


@contextmanager
def own_site(folder: Path) -> Iterator[None]:
    """Let DVC keep what it notes of files in `folder`, and not where this machine's others do."""
    name = "DVC_SITE_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _name(stage: "Stage", root: Path) -> str:
    """Return a stage's name as `dvc repro` takes it in the root: a .dvc file's is its path."""
    path, name = Path(stage.path).relative_to(root).as_posix(), getattr(stage, "name", "")
    if not name:
        return path
    return str(name) if path == "dvc.yaml" else f"{path}:{name}"


def _locked(path: Path) -> dict[str, Any]:
    from dvc.exceptions import DvcException
    from dvc.utils.serialize import load_yaml  # DVC's YAML is 1.2: 1e-05 is a number, on is a word

    try:
        held = load_yaml(path) if path.exists() else {}
        return dict((held or {}).get("stages") or {})
    except (DvcException, AttributeError, TypeError, ValueError):
        raise Refusal(f"{path.name} is damaged: not such as DVC writes") from None


def _inside(item: "Output", root: Path) -> bool:
    return bool(item.protocol == "local" and Path(item.fs_path).is_relative_to(root))


def findings(found: Locked) -> list[Finding]:
    """Return for each stage what disagrees: files with the lock, the lock with dvc.yaml and params.

    A stage whose entries all agree has the verdict "agrees"; one that the lock does not hold cannot
    be checked.
    """
    made = {
        found.place(out): (name, out)
        for name, stage in found.stages.items()
        for out in stage.outs
        if _inside(out, found.root)
    }
    result = []
    for name, stage in found.stages.items():
        wrong = (
            list(_of_stage(found, stage, made))
            if stage.cmd
            else list(_files(found, stage.outs, "has"))
        )
        result += [Finding(name, Verdict.OUTSIDE, said) for said in wrong]
        if not wrong:
            entry = found.entry(stage) if stage.cmd else {}
            reason = (
                "" if entry is not None else f"{LOCK} has no entry of it: it has never been run"
            )
            verdict = Verdict.AGREES if entry is not None else Verdict.UNCHECKED
            result.append(Finding(name, verdict, reason))
    return result


def _of_stage(
    found: Locked, stage: "Stage", made: "dict[str, tuple[str, Output]]"
) -> Iterator[str]:
    entry = found.entry(stage)
    if entry is None:
        return
    from dvc.dependency import ParamsDependency

    files = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
    if entry:
        if entry.get("cmd") != stage.cmd:
            yield f"command: {LOCK} has run {entry.get('cmd')!r}, dvc.yaml says {stage.cmd!r}"
        yield from _names("deps", entry, files)
        yield from _names("outs", entry, stage.outs)
        yield from _params(stage, entry)
        yield from _kept(found, stage)
    yield from _files(found, files, "was run with")
    yield from _files(found, stage.outs, "has")
    yield from _made_before(found, files, made)


def _names(kind: str, entry: dict[str, Any], items: "Sequence[Output]") -> Iterator[str]:
    """Say which files the lock and dvc.yaml do not both name, each once."""
    held = [item["path"] for item in entry.get(kind) or []]
    locked, named = set(held), {item.def_path for item in items}
    for path in sorted(locked ^ named):
        where, other = (LOCK, "dvc.yaml") if path in locked else ("dvc.yaml", LOCK)
        yield f"{kind}: {path} is in {where} and not in {other}"
    for path in sorted(locked):
        if held.count(path) > 1:
            yield f"{kind}: {path} is in {LOCK} {held.count(path)} times"


def _kept(found: Locked, stage: "Stage") -> Iterator[str]:
    """Say which outputs that are to be in git are not there, or without a hash."""
    for out in stage.outs:
        if out.use_cache or not _inside(out, found.root):
            continue
        if not out.hash_info:
            yield f"{out.def_path}: {LOCK} has no hash of it"
        elif not out.exists:
            yield f"{found.place(out)}: {LOCK} has it, and git, where dvc.yaml keeps it, has not"


def _made_before(
    found: Locked, files: "Sequence[Output]", made: "dict[str, tuple[str, Output]]"
) -> Iterator[str]:
    """Say which inputs are said to be other than what the stage before made."""
    for dep in files:
        maker = made.get(found.place(dep)) if _inside(dep, found.root) else None
        here, there = dep.hash_info, maker[1].hash_info if maker else None
        # DVC's older hashes of text (md5-dos2unix) say nothing of its newer ones.
        if maker and here and there and here.name == there.name and here != there:
            yield (
                f"{dep.def_path}: {LOCK} says that it was run with {here.value}, and that "
                f"{maker[0]} made {there.value}"
            )


def _whole(found: Locked, item: "Output") -> bool:
    """Return whether nothing that DVC keeps elsewhere is missing below a folder."""
    folder = Path(item.fs_path)
    kept = (Path(out.fs_path) for stage in found.stages.values() for out in stage.outs)
    return not any(
        path != folder and path.is_relative_to(folder) and not path.exists() for path in kept
    )


def _files(found: Locked, items: "Sequence[Output]", what: str) -> Iterator[str]:
    for item in items:
        if not _inside(item, found.root) or not item.hash_info or not item.exists:
            continue
        if not _whole(found, item):
            continue
        here = item.get_hash()
        if here != item.hash_info:
            yield (
                f"{found.place(item)}: {LOCK} {what} {item.hash_info.name} {item.hash_info.value}, the "
                f"file in git has {here.value}"
            )


def _params(stage: "Stage", entry: dict[str, Any]) -> Iterator[str]:
    from dvc.dependency import ParamsDependency

    named = {dep.def_path: dep for dep in stage.deps if isinstance(dep, ParamsDependency)}
    locked: dict[str, dict[str, Any]] = entry.get("params") or {}
    for path in sorted(locked.keys() | named.keys()):
        if path not in named or path not in locked:
            where, other = (LOCK, "dvc.yaml") if path in locked else ("dvc.yaml", LOCK)
            yield f"params: {path} is in {where} and not in {other}"
            continue
        here, there = named[path].read_params(flatten=True), _flat(locked[path])
        actual = _flat(here)
        for key in sorted(actual.keys() | there.keys()):
            if actual.get(key) != there.get(key):
                yield (
                    f"{key}: {LOCK} was run with {there.get(key)!r}, {path} says {actual.get(key)!r}"
                )


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Return nested values by dotted key; a list is one value."""
    if isinstance(value, dict) and value:
        return {
            inner: held
            for name, item in value.items()
            for inner, held in _flat(item, f"{key}.{name}" if key else str(name)).items()
        }
    return {key: _listed(value)}


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value
