"""The dear tiers: stages run again in the clone, and their outputs held against what is committed.

`from_weights` runs everything but training, with the stored weights; `from_nothing` everything, by
`dvc repro --force`. These run the revision's own code.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.params import FILE, load
from stages.shared.alarms import UNFIT
from stages.shared.refusal import Refusal
from stages.shared.runtime import machine
from stages.shared.verifying.band import Band
from stages.shared.verifying.locked import LOCK, Locked
from stages.shared.verifying.recomputed import DAMAGED, ORIGINS, asked_rows, rows
from stages.shared.verifying.scratch import git, ran
from stages.shared.verifying.verdicts import RERUN, Finding, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from dvc.stage import Stage

# In a row, a stage of which all that it reads is as committed has nothing to differ by, unless it
# asks a network: that is where another machine rounds otherwise.
_ASKING = {"check", "baseline", "train", "evaluate"}
_METRICS = "metrics.json"
_NEAR = "verify"  # the remote that another cache on this machine becomes


class Committed:
    """A clone's files as they are in git, whatever lies in its folders now."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> str:
        """Return a file's text.

        Raises:
            Refusal: it is not in git.
        """
        done = ran(self.root, "git", "show", f"HEAD:{path}")
        if done.returncode:
            raise Refusal(f"{path} is not in git")
        return done.stdout


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
    lines = ["[cache]", f"    dir = {root.parent / 'cache'}", "    type = reflink,copy"]
    if cache:
        lines += [f"['remote \"{_NEAR}\"']", f"    url = {cache}", "    verify = true"]
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
    ways = [["--remote", remote]] if remote else [*([["--remote", _NEAR]] if cache else []), []]
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


def from_weights(found: Locked, band: Band, remote: str, cache: str) -> list[Finding]:
    """Run every stage of each row but training, with the weights that dvc.lock names.

    Args:
        found: the clone.
        band: how far metrics may lie apart.
        remote: the DVC remote to take weights from; "" for the cache, then the repository's default one.
        cache: another cache's folder, or "".
    """
    result: list[Finding] = []
    for name in asked_rows(found):
        train = f"train@{name}"
        if train not in found.stages:
            continue
        shutil.rmtree(found.root / "data" / "train" / name, ignore_errors=True)
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
    return [*result, Finding(f"train@{name}", Verdict.UNCHECKED, "stored weights were taken")]


def _run(found: Locked, stages: Sequence[str], band: Band) -> list[Finding]:
    failed: dict[str, str] = {}
    for name in stages:
        stage = found.stages[name]
        for out in found.outs(name):
            place = found.root / out
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
        done = ran(Path(stage.wdir), "sh", "-c", str(stage.cmd))
        if done.returncode:
            failed[name] = _last(done.stderr) or f"exit {done.returncode}"
            break
    return judged(found, stages, failed, band)


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
    sources = [name for name, stage in found.stages.items() if not stage.cmd]
    if sources:
        pulled(found, sources, remote, cache)
    # A new lock, so that a stage has an entry there only if it has been run.
    locks = [
        path for path in found.root.rglob(LOCK) if ".dvc" not in path.relative_to(found.root).parts
    ]
    frozen = {name for name, stage in found.stages.items() if stage.cmd and stage.frozen}
    for path in locks:
        if not frozen:
            path.unlink()
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


def _entered(stage: Any) -> bool:
    import yaml

    path = Path(stage.path).parent / LOCK
    held = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return stage.name in ((held or {}).get("stages") or {})


def _last(text: str) -> str:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines
    return errors[-1].removeprefix("ERROR: ") if errors else ""


def judged(
    found: Locked, stages: Sequence[str], failed: Mapping[str, str], band: Band
) -> list[Finding]:
    """Return the verdict on stages that were run again.

    Args:
        found: the clone, with the outputs as they are now.
        stages: those that were to be run, in their order.
        failed: by stage, why it did not run.
        band: how far metrics may lie apart.
    """
    differing: dict[str, list[str]] = {}
    result = []
    for name in stages:
        if name in failed:
            # Neither is a failure of this machine.
            unsound = UNFIT in failed[name] or _checks_fail(found, name)
            verdict = Verdict.OUTSIDE if unsound else Verdict.UNCHECKED
            result.append(Finding(name, verdict, failed[name]))
            continue
        other, missing = found.differing(name)
        if missing:
            result.append(
                Finding(
                    name, Verdict.UNCHECKED, f"{missing[0]} is not there; a stage before it failed"
                )
            )
        elif not other:
            result.append(Finding(name, Verdict.BITWISE))
        else:
            differing[name] = other
    grid = set(rows(found))
    committed = Committed(found.root)
    for name, other in differing.items():
        stage, _, row = name.partition("@")
        if row in grid:
            result.append(_of_row(found, stage, row, differing, committed, band))
        elif name == "compare" and grid:
            result.append(_of_compare(other, differing))
        else:
            again = [
                stage for one, stage in found.stages.items() if one in set(stages) - set(failed)
            ]
            result.append(_of_any(found, name, other, committed, band, again))
    return result


def _checks_fail(found: Locked, name: str) -> bool:
    stage, _, row = name.partition("@")
    path = found.root / "data" / stage / row / "checks.json"
    return (
        stage == "check"
        and path.exists()
        and not all(one["held"] for one in _json(path.read_text()))
    )


def _of_row(  # noqa: PLR0911 (a return a verdict)
    found: Locked,
    stage: str,
    row: str,
    differing: Mapping[str, list[str]],
    committed: Committed,
    band: Band,
) -> Finding:
    """Return the verdict on a stage of the grid whose outputs have other bytes."""
    name = f"{stage}@{row}"
    place = differing[name][0]
    if stage == "prepare":
        return Finding(name, Verdict.OUTSIDE, f"{place}: run again, it gives other samples")
    before = any(f"{one}@{row}" in differing for one in _ASKING)
    if stage not in _ASKING and not before:
        why = f"{place}: run again on the same inputs, it gives another one"
        return Finding(name, Verdict.OUTSIDE, why)
    data = f"evidence/{row}/data"
    if _same_machine(found, row, committed):
        why = f"{place}: made on a machine like this one, on which it comes out otherwise"
        return Finding(name, Verdict.OUTSIDE, why)
    if stage == "check":
        return _of_checks(found, row, committed)
    try:
        again = {
            file: found.root / "data" / origin[0] / row / origin[1]
            for file, origin in ORIGINS.items()
            if (found.root / "data" / origin[0] / row / origin[1]).exists()
        }
        metrics = _json(committed.read(f"{data}/{_METRICS}")), _json(again[_METRICS].read_text())
        same = list(_other_predictions(data, again, committed))
    except (Refusal, *DAMAGED) as error:
        return Finding(name, Verdict.UNCHECKED, f"nothing to compare with: {error}")
    outside = list(band.outside(row, *metrics))
    if outside:
        return Finding(name, Verdict.OUTSIDE, f"{data}/{_METRICS}: {outside[0]}")
    if same:
        return Finding(name, Verdict.BAND, f"{same[0]}; {band.widest(row, *metrics)}")
    return Finding(name, Verdict.SAME, band.widest(row, *metrics))


def _same_machine(found: Locked, row: str, committed: Committed) -> bool:
    """Return whether the committed figures claim to come from a machine like this one, on its processor.

    Then nothing may differ, and no band excuses it.
    """
    try:
        there = _json(committed.read(f"evidence/{row}/data/machine.json"))
        here = machine(load(found.root / FILE).runtime)
    except Refusal:
        return False
    return there["device"] == "cpu" and {**here, "device": ""} == {**there, "device": ""}


def _of_checks(found: Locked, row: str, committed: Committed) -> Finding:
    name, path = f"check@{row}", f"evidence/{row}/data/checks.json"
    here = _json(committed.read(path))
    there = _json((found.root / "data" / "check" / row / "checks.json").read_text())
    held = [{one["check"]: one["held"] for one in some} for some in (here, there)]
    if held[0] != held[1]:
        return Finding(name, Verdict.OUTSIDE, f"{path}: other checks hold when it is run again")
    return Finding(name, Verdict.SAME, "the same checks hold; figures differ in their last digits")


def _other_predictions(data: str, again: Mapping[str, Path], committed: Committed) -> Iterator[str]:
    """Say which predictions of which model differ."""
    import io

    import pandas as pd

    for file in (
        "predictions.csv",
        "validation_predictions.csv",
        "baseline_predictions.csv",
        "samples.csv",
    ):
        if file not in again:
            continue
        here = pd.read_csv(io.StringIO(committed.read(f"{data}/{file}")))
        there = pd.read_csv(again[file])
        for column in _predicted(here):
            if column not in there or len(here) != len(there):
                yield f"{data}/{file}: {column} is of other samples"
            elif (count := int((here[column] != there[column]).sum())) > 0:
                yield f"{data}/{file}: {column} differs for {count} of {len(here)} samples"


def _predicted(table: "pd.DataFrame") -> list[str]:
    return [
        str(name)
        for name in table
        if _whole(table[name]) and name not in {"id", "row", "neighbour_row", "twin"}
    ]


def _whole(column: "pd.Series[Any]") -> bool:
    from pandas.api.types import is_integer_dtype

    return bool(is_integer_dtype(column))


def _of_compare(other: list[str], differing: Mapping[str, list[str]]) -> Finding:
    rows_differ = [name for name in differing if name.startswith("evaluate@")]
    if rows_differ:
        why = f"it merges what {rows_differ[0]} gives, which differs"
        return Finding("compare", Verdict.BAND, why)
    why = f"{other[0]}: run again on the same inputs, it gives another one"
    return Finding("compare", Verdict.OUTSIDE, why)


def _of_any(
    found: Locked,
    name: str,
    other: list[str],
    committed: Committed,
    band: Band,
    again: "Sequence[Stage]",
) -> Finding:
    """Return the verdict on a stage of any repository: by its metrics, or those made from its outputs.

    Only metrics of stages that were run `again` tell anything.
    """
    import networkx as nx

    graph = found.repo.index.graph
    after = {*nx.ancestors(graph, found.stages[name]), found.stages[name]}
    compared = False
    for stage in (one for one in again if one in after):
        for out in stage.outs:
            if not out.metric:
                continue
            place = found.place(out)
            try:
                here = committed.read(place)
                there = (found.root / place).read_text(encoding="utf-8")
            except (Refusal, OSError):
                continue
            compared = True
            outside = list(band.outside("", _parsed(place, here), _parsed(place, there)))
            if outside:
                return Finding(
                    name, Verdict.OUTSIDE, f"{other[0]}: other bytes; {place}: {outside[0]}"
                )
    if not compared:
        return Finding(
            name, Verdict.OUTSIDE, f"{other[0]}: other bytes, and no metric in git tells how far"
        )
    return Finding(
        name, Verdict.BAND, f"{other[0]}: other bytes; all metrics within the tolerance given"
    )


def _parsed(place: str, text: str) -> Any:
    import tomllib

    import yaml

    try:
        return tomllib.loads(text) if place.endswith(".toml") else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError):
        return text


def _json(text: str) -> Any:
    import json

    return json.loads(text)
