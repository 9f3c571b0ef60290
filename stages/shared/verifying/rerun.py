"""The dear tiers: stages run again in the clone.

`from_weights` runs everything but training, with the stored weights; `from_nothing` everything, by
`dvc repro --force`. These run the revision's own code.
"""

import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from stages.shared.refusal import Refusal
from stages.shared.verifying.band import Band
from stages.shared.verifying.judging import judged
from stages.shared.verifying.locked import LOCK, Locked
from stages.shared.verifying.recomputed import asked_rows, rows
from stages.shared.verifying.scratch import git, ran
from stages.shared.verifying.verdicts import RERUN, STORED, Finding, Verdict

_THEIRS = "verify"  # the remote that another cache on this machine becomes
_OWN = "verify-own"  # and the clone's own


def emptied(found: Locked) -> None:
    """Take away all that is not in git, and set what is in git back."""
    git(found.root, "clean", "-ffdxq")
    git(found.root, "checkout", "--quiet", "--force", "HEAD", "--", ".")
    settled(found.root)


def settled(root: Path, cache: str = "") -> None:
    """Give a clone a cache of its own.

    Args:
        root: the clone.
        cache: the folder of another DVC cache, which becomes the remote `verify`; "" for none.

    Raises:
        Refusal: this is no DVC repository.
    """
    own = root.parent / "cache"
    lines = [
        *("[cache]", f"    dir = {own}", "    type = reflink,copy", f"    local = {_OWN}"),
        *(f"['remote \"{_OWN}\"']", f"    url = {own}"),  # or the repository could name another's
    ]
    if cache:
        lines += [f"['remote \"{_THEIRS}\"']", f"    url = {cache}", "    verify = true"]
    if not (root / ".dvc").is_dir():
        raise Refusal("no DVC repository: the revision has no folder .dvc")
    (root / ".dvc" / "config.local").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pulled(found: Locked, names: Sequence[str], remote: str, cache: str) -> str:
    """Get stages' outputs by the hashes of the lock; return what DVC says where that fails.

    Args:
        found: the clone.
        names: of the stages.
        remote: the DVC remote to take them from; "" for the cache, then the repository's default one.
        cache: another cache's folder, or "".
    """
    settled(found.root, cache)
    ways = [["--remote", remote]] if remote else [*([["--remote", _THEIRS]] if cache else []), []]
    told = ""
    for way in ways:
        done = ran(found.root, "dvc", "pull", *way, *names)
        if done.returncode == 0:
            return ""
        told = told or _last(done.stderr)
    return told


def cache_of(source: str) -> str:
    """Return the folder of a repository's DVC cache, if it is on this machine and there; else ""."""
    if not Path(source).is_dir():
        return ""
    done = ran(Path(source), "dvc", "cache", "dir")
    folder = Path(source, done.stdout.strip() or ".dvc/cache").resolve()
    return str(folder) if done.returncode == 0 and folder.is_dir() else ""


def sourced(found: Locked, remote: str, cache: str) -> None:
    """Get the data that DVC tracks and no stage makes, as far as they can be had."""
    sources = [name for name, stage in found.stages.items() if not stage.cmd]
    if sources:
        pulled(found, sources, remote, cache)


def from_weights(found: Locked, band: Band, remote: str, cache: str) -> list[Finding]:
    """Run every stage of each row but training, with the weights that dvc.lock names.

    Args:
        found: the clone.
        band: how far metrics may lie apart that hang on what is fitted anew.
        remote: the DVC remote to take weights from; "" for the cache, then the repository's default one.
        cache: another cache's folder, or "".
    """
    emptied(found)
    sourced(found, remote, cache)
    result: list[Finding] = []
    for name in asked_rows(found):
        train = f"train@{name}"
        there = pulled(found, [train], remote, cache)
        other, missing = found.differing(train)
        if other or missing:
            there = there or "they are in no cache or remote"
            if other:
                there = f"{other[0]} that was fetched is not the one of dvc.lock"
            why = f"no weights: {there}"
            result += [
                Finding(n, Verdict.UNCHECKED, why) for n in found.stages if n.endswith(f"@{name}")
            ]
            continue
        result += _row(found, name, band)
    again = [one for one in result if not one.stage.startswith("train@")]
    if "compare" not in found.asked:
        return result
    if asked_rows(found) == rows(found) and all(one.verdict in RERUN for one in again):
        return [*result, *_run(found, ["compare"], band)]
    why = "it merges every row, and not every row was run again"
    return [*result, Finding("compare", Verdict.UNCHECKED, why)]


def _row(found: Locked, name: str, band: Band) -> list[Finding]:
    stages = [one for one in found.stages if one.endswith(f"@{name}") and one != f"train@{name}"]
    result = _run(found, stages, band)
    return [*result, Finding(f"train@{name}", Verdict.UNCHECKED, STORED)]


def _run(found: Locked, stages: Sequence[str], band: Band) -> list[Finding]:
    failed: dict[str, str] = {}
    for name in stages:
        if failed:
            failed[name] = f"{next(iter(failed))}, which comes before it, fails"
            continue
        stage = found.stages[name]
        _without(found, name)
        done = ran(Path(stage.wdir), "sh", "-c", str(stage.cmd))
        if done.returncode:
            failed[name] = _last(done.stderr) or f"exit {done.returncode}"
    return judged(found, stages, failed, band, same_weights=True)


def _without(found: Locked, name: str) -> None:
    """Take a stage's outputs away: what it leaves then, it has made."""
    for out in found.outs(name):
        place = found.root / out
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


def from_nothing(found: Locked, band: Band, remote: str, cache: str) -> list[Finding]:
    """Run everything that is asked for and what it needs, forced, in the emptied clone.

    Args:
        found: the clone.
        band: how far metrics may lie apart.
        remote: the DVC remote to take data from that no stage makes; "" for the cache, then the
            repository's default one.
        cache: another cache's folder, or "".
    """
    emptied(found)
    outside = [
        f"{name} writes {place}, outside the repository: nothing is run"
        for name, stage in found.stages.items()
        for place in found.outside(name)
        if stage.cmd
    ]
    if outside:
        return [Finding(name, Verdict.UNCHECKED, outside[0]) for name in found.stages]
    sourced(found, remote, cache)
    frozen = {name for name, stage in found.stages.items() if stage.cmd and stage.frozen}
    _forget_runs(found, frozen)
    asked = [name for name in found.stages if name in found.asked]
    what = ["--all-pipelines"] if len(asked) == len(found.stages) else asked
    done = ran(found.root, "dvc", "repro", "--force", "--keep-going", *what)
    told = dict(re.findall(r"failed to reproduce '([^']+)'(.*)", done.stderr))
    lines = [line for line in done.stderr.split("\n") if line.strip()]
    failed: dict[str, str] = {}
    for name, stage in found.stages.items():
        if name in frozen:
            failed[name] = "frozen: DVC does not run it again"
        elif not stage.cmd:
            _, missing = found.differing(name)
            if missing:
                failed[name] = f"{missing[0]} is neither in git nor in a remote that can be reached"
        elif name in told:
            own = [line for line in lines if line.startswith(f"{name}: ")]
            failed[name] = f"it fails: {(own or [told[name].strip(': ') or 'see dvc repro'])[-1]}"
        elif not _entered(stage):
            failed[name] = f"it was not run: {lines[-1] if lines else 'DVC gives no reason'}"
    return judged(found, list(found.stages), failed, band)


def _forget_runs(found: Locked, frozen: Collection[str]) -> None:
    """Take away what tells of earlier runs, so that a stage has an entry only if it has been run again.

    What stages left goes too, also what DVC would let them find again (`persist`).
    """
    from dvc.utils.serialize import dump_yaml, load_yaml

    kept = {found.stages[name].name for name in frozen}
    for path in found.root.rglob(LOCK):
        if ".dvc" in path.relative_to(found.root).parts:
            continue
        held = load_yaml(path)
        entries = {name: one for name, one in (held.get("stages") or {}).items() if name in kept}
        dump_yaml(path, {**held, "stages": entries})
    for name, stage in found.stages.items():
        if stage.cmd and name not in frozen:
            _without(found, name)


def _entered(stage: Any) -> bool:
    from dvc.utils.serialize import load_yaml

    path = Path(stage.path).parent / LOCK
    held = load_yaml(path) if path.exists() else None
    return stage.name in ((held or {}).get("stages") or {})


def _last(text: str) -> str:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return errors[-1].removeprefix("ERROR: ") if errors else ""
