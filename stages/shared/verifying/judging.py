"""The verdict on stages that were run again: their outputs held against what is committed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.params import FILE, load
from stages.shared.alarms import UNFIT
from stages.shared.refusal import Refusal
from stages.shared.runtime import machine
from stages.shared.verifying.band import Band
from stages.shared.verifying.locked import Locked
from stages.shared.verifying.recomputed import DAMAGED, ORIGINS, rows
from stages.shared.verifying.scratch import ran
from stages.shared.verifying.verdicts import Finding, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from dvc.stage import Stage

# In a row, a stage of which all that it reads is as committed has nothing to differ by, unless it
# asks a network: that is where another machine rounds otherwise.
_ASKING = {"check", "baseline", "train", "evaluate"}
_METRICS = "metrics.json"
# What hangs on the weights alone, and on no baseline or judge that was fitted anew.
_OF_MODEL = {
    "predictions.csv": r"seed_\d+|confidence|loss",
    "validation_predictions.csv": r"seed_\d+",
    "samples.csv": r"gap|sharpness",
}
_NEAR = 5e-3  # how far such a figure may lie apart (median) that the same weights give elsewhere
_TIES = 0.005  # the share of labels that may differ then: those at whose ties rounding decides


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


def judged(
    found: Locked,
    stages: Sequence[str],
    failed: Mapping[str, str],
    band: Band,
    *,
    same_weights: bool = False,
) -> list[Finding]:
    """Return the verdict on stages that were run again.

    Args:
        found: the clone, with the outputs as they are now.
        stages: those that were to be run, in their order.
        failed: by stage, why it did not run.
        band: how far metrics may lie apart.
        same_weights: whether the stored weights were asked: what they alone give no band excuses, for
            other seeds are in it.
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
            result.append(
                _of_row(found, stage, row, differing, committed, band, same_weights=same_weights)
            )
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


def _of_row(
    found: Locked,
    stage: str,
    row: str,
    differing: Mapping[str, list[str]],
    committed: Committed,
    band: Band,
    *,
    same_weights: bool,
) -> Finding:
    """Return the verdict on a stage of the grid whose outputs have other bytes."""
    name = f"{stage}@{row}"
    why = _inexcusable(found, stage, row, differing, committed, same_weights=same_weights)
    if why:
        return Finding(name, Verdict.OUTSIDE, f"{differing[name][0]}: {why}")
    if stage == "check":
        return _of_checks(found, row, committed)
    data = f"evidence/{row}/data"
    try:
        again = {
            file: found.root / "data" / origin[0] / row / origin[1]
            for file, origin in ORIGINS.items()
            if (found.root / "data" / origin[0] / row / origin[1]).exists()
        }
        metrics = _json(committed.read(f"{data}/{_METRICS}")), _json(again[_METRICS].read_text())
        outside = list(_further(data, again, committed)) if same_weights else []
        outside += [f"{_METRICS}: {said}" for said in band.outside(row, *metrics)]
        other = list(_other_predictions(data, again, committed))
    except (Refusal, *DAMAGED) as error:
        return Finding(name, Verdict.UNCHECKED, f"nothing to compare with: {error}")
    if outside:
        return Finding(name, Verdict.OUTSIDE, f"{data}/{outside[0]}")
    if other:
        return Finding(name, Verdict.BAND, f"{other[0]}; {band.widest(row, *metrics)}")
    return Finding(name, Verdict.SAME, band.widest(row, *metrics))


def _inexcusable(
    found: Locked,
    stage: str,
    row: str,
    differing: Mapping[str, list[str]],
    committed: Committed,
    *,
    same_weights: bool,
) -> str:
    """Return why no other machine's rounding explains that a stage's outputs differ; "" if it may."""
    if stage == "prepare":
        return "run again, it gives other samples"
    if stage not in _ASKING and not any(f"{one}@{row}" in differing for one in _ASKING):
        return "run again on the same inputs, it gives another one"
    if _same_machine(found, row, committed):
        return "made on a machine like this one, on which it comes out otherwise"
    if stage != "train" and not same_weights and _trained_alike(found, row, committed):
        return "training comes out bit for bit here, and this does not"
    return ""


def _same_machine(found: Locked, row: str, committed: Committed) -> bool:
    """Return whether the committed figures claim to come from a machine like this one, on its processor.

    Then nothing may differ, and no band excuses it.
    """
    try:
        there = dict(_json(committed.read(f"evidence/{row}/data/machine.json")))
        here = machine(load(found.root / FILE).runtime)
    except (Refusal, *DAMAGED):
        return False
    return there.get("device") == "cpu" and {**here, "device": ""} == {**there, "device": ""}


def _trained_alike(found: Locked, row: str, committed: Committed) -> bool:
    """Return whether training has given the committed bytes, but for what it says of the machine."""
    name, path = f"train@{row}", found.root / "data" / "train" / row / "machine.json"
    try:
        own, there = path.read_bytes(), committed.read(f"evidence/{row}/data/machine.json")
    except (OSError, Refusal):
        return False
    path.write_text(there, encoding="utf-8")
    other, missing = found.differing(name)
    path.write_bytes(own)
    return not other and not missing


def _further(data: str, again: Mapping[str, Path], committed: Committed) -> Iterator[str]:
    """Say what lies further apart than rounding leads to where the same weights are asked."""
    for file, here, there in _tables(data, again, committed):
        for column in here.columns:
            if not re.fullmatch(_OF_MODEL.get(file, ""), str(column)):
                continue
            if column not in there or len(here) != len(there):
                yield f"{file}: {column} is of other samples"
            elif _whole(here[column]):
                share = float((here[column] != there[column]).mean())
                if share > max(_TIES, 1 / len(here)):
                    yield f"{file}: the same weights give {share:.1%} of {len(here)} another {column}"
            else:
                apart = float((here[column] - there[column]).abs().median())
                if not apart <= _NEAR:
                    yield f"{file}: the same weights give a {column} that lies {apart:.3g} apart (median)"


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
    for file, here, there in _tables(data, again, committed):
        for column in _predicted(here):
            if column not in there or len(here) != len(there):
                yield f"{data}/{file}: {column} is of other samples"
            elif (count := int((here[column] != there[column]).sum())) > 0:
                yield f"{data}/{file}: {column} differs for {count} of {len(here)} samples"


def _tables(
    data: str, again: Mapping[str, Path], committed: Committed
) -> "Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]":
    """Yield each file of predictions, as committed and as it is now."""
    import io

    import pandas as pd

    for file in (
        "predictions.csv",
        "validation_predictions.csv",
        "baseline_predictions.csv",
        "samples.csv",
    ):
        if file in again:
            here = pd.read_csv(io.StringIO(committed.read(f"{data}/{file}")))
            yield file, here, pd.read_csv(again[file])


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

    from dvc.exceptions import DvcException
    from dvc.utils.serialize import parse_yaml

    try:
        if place.endswith(".json"):
            return _json(text)
        return tomllib.loads(text) if place.endswith(".toml") else parse_yaml(text, place)
    except (ValueError, DvcException):
        return text


def _json(text: str) -> Any:
    import json

    return json.loads(text)
