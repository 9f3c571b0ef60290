"""Results of another machine: bit for bit where they are, by the measured tolerance where they are not."""

import contextlib
import json
from dataclasses import replace as with_changes
from pathlib import Path

import numpy as np
import pytest
from support.forgery import outside, relock
from support.project import commit, run

from stages import pack
from stages.core import machine
from stages.core.files import read_arrays, write
from stages.core.repositories import clone_revision
from stages.kinds.params import load_params, load_tasks
from stages.tools.tolerance import Tolerance, flatten
from stages.tools.verify import rerun
from stages.tools.verify.lock import LockedRepo
from stages.tools.verify.machines import read_machines
from stages.tools.verify.report import TIERS
from stages.tools.verify.running import Rerun, Runner
from stages.tools.verify.verdicts import Finding, Verdict
from stages.tools.verify.verdicts_of_reruns import RerunComparison
from stages.tools.verify.verification import verify

TASK = "workshop"
DATA = f"evidence/{TASK}/data"


def claim_machine(folder: Path, processor: str) -> None:
    """Write the record of another processor, as if the results had been computed there."""
    records = json.loads((folder / machine.FILE).read_text())
    for record in records.values():
        record["machine"]["processor"] = processor
    (folder / machine.FILE).write_text(json.dumps(records))


@pytest.mark.long
def test_an_honest_result_of_another_processor_is_bit_for_bit(prepared: Path) -> None:
    """The main promise to a reviewer with another machine, through all tiers."""
    claim_machine(prepared, "Another CPU")
    commit(prepared, "computed elsewhere")
    report = verify(str(prepared), "HEAD", only=[TASK])
    assert tuple(tier.name for tier in report.tiers) == TIERS
    verdicts = {finding.stage: str(finding.verdict) for finding in report.stages()}
    stages = ("prepare", "check", "baseline", "train", "evaluate", "failures", "pack")
    assert verdicts == {f"{stage}@{TASK}": "bit for bit" for stage in stages}
    assert report.status() == 0
    assert report.machines.recorded[TASK]["processor"] == "Another CPU"
    assert report.machines.notes == []


def test_the_pack_of_another_processor_is_bit_for_bit(prepared: Path) -> None:
    """The last stages only, run again on the outputs of the others."""
    claim_machine(prepared, "Another CPU")
    commit(prepared, "computed elsewhere")
    repo = LockedRepo.read(prepared, [TASK])
    machines = read_machines(prepared, [TASK])
    assert not machines.is_alike(TASK)
    stages = [f"failures@{TASK}", f"pack@{TASK}"]
    rerun = Runner(repo).run(stages)
    findings = RerunComparison(repo, Tolerance(), machines).verdicts(rerun)
    assert findings == [Finding(stage, Verdict.BITWISE) for stage in stages]
    assert run(prepared, "git", "status", "--porcelain").stdout == ""


def test_a_reproduction_on_another_processor_changes_no_file(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of the machine changes with the results, and no file but the record names it."""
    (tmp_path / "cpuinfo").write_text("model name\t: Another CPU\ncpu family\t: 1\n")
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "cpuinfo")
    with contextlib.chdir(prepared):
        task = load_tasks(load_params())[TASK]
        pack.run(task)
        assert run(prepared, "git", "status", "--porcelain").stdout == ""
        metrics = task.folder("evaluate") / "metrics.json"
        metrics.write_text(metrics.read_text().replace('"power": 0.8', '"power": 0.7'))
        pack.run(task)
    records = json.loads((prepared / machine.FILE).read_text())
    assert records[TASK]["machine"]["processor"] == "Another CPU (cpu family 1)"
    processors = [record["machine"]["processor"] for record in records.values()]
    outputs = ("evidence/*/*", "metrics", "plots", "dvc.lock")
    for processor in processors:
        pattern = ("--fixed-strings", "--quiet", processor)
        run(prepared, "git", "grep", *pattern, "--", *outputs, status=1)  # there is no such text


@pytest.fixture
def rerun_elsewhere(prepared: Path, tmp_path: Path) -> tuple[LockedRepo, RerunComparison]:
    """Return a clone in which a result of other weights has been retrained, and its comparison.

    The committed weights are a little other than those that come out here, as on another machine.
    """
    for path in (prepared / f"data/train/{TASK}").glob("*.safetensors"):
        weights = {name: array * np.float32(1.0002) for name, array in read_arrays(path).items()}
        write(path, weights)
    for stage in ("evaluate", "failures", "pack"):
        run(prepared, "python", "-m", f"stages.{stage}", TASK)
    run(prepared, "python", "-m", "stages.compare")
    relock(prepared)
    claim_machine(prepared, "Another CPU")
    commit(prepared, "computed elsewhere")
    cheap = verify(str(prepared), "HEAD", last="metrics", only=[TASK, "compare"])
    assert outside(cheap, "hashes") == outside(cheap, "metrics") == {}
    root = tmp_path / "clone"
    clone_revision(str(prepared), "HEAD", root)
    rerun.configure_cache(root)
    repo = LockedRepo.read(root, [TASK])
    comparison = RerunComparison(repo, Tolerance(), read_machines(root, [TASK]))
    return repo, comparison


@pytest.mark.long
def test_results_that_another_machine_rounds_differently_go_by_the_tolerance(
    rerun_elsewhere: tuple[LockedRepo, RerunComparison],
) -> None:
    """Run again once, compared with several tolerances and machines."""
    repo, comparison = rerun_elsewhere
    rerun.rerun_everything(repo, comparison, rerun.Storage(), Runner(repo))
    metrics = flatten(json.loads((repo.root / DATA / "metrics.json").read_text()))
    machines = comparison.machines
    names = [name for name in repo.stages if name.endswith(f"@{TASK}")]
    again = Rerun(names, outputs={name: repo.compare_outputs(name) for name in names})

    def verdicts(tolerance: Tolerance, *, alike: bool = False) -> dict[str, Finding]:
        recorded = {TASK: machines.host} if alike else machines.recorded
        other = RerunComparison(repo, tolerance, with_changes(machines, recorded=recorded))
        return {finding.stage: finding for finding in other.verdicts(again)}

    def tolerance_of(size: float) -> Tolerance:
        words = ["better", "not distinguishable", "worse", "underpowered"]
        return Tolerance(
            {
                TASK: {
                    key: {"values": [*words, value]}
                    if isinstance(value, str)
                    else {"tolerance": size}
                    for key, value in metrics.items()
                }
            }
        )

    wide = verdicts(tolerance_of(1e6))
    assert wide[f"evaluate@{TASK}"].verdict in {Verdict.SAME, Verdict.TOLERANCE}
    assert "largest difference: " in wide[f"evaluate@{TASK}"].reason
    assert wide[f"baseline@{TASK}"].verdict is Verdict.BITWISE
    assert Verdict.OUTSIDE not in {finding.verdict for finding in wide.values()}
    narrow = verdicts(tolerance_of(0.0))[f"evaluate@{TASK}"]
    assert narrow.verdict is Verdict.OUTSIDE
    assert "the measured tolerance is 0" in narrow.reason
    assert verdicts(Tolerance())[f"evaluate@{TASK}"].verdict is Verdict.OUTSIDE
    alike = verdicts(tolerance_of(1e6), alike=True)[f"evaluate@{TASK}"]
    assert alike.verdict is Verdict.OUTSIDE
    assert "computed on a machine like this one" in alike.reason
