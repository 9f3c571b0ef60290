"""How findings are summarised, and which machine counts as alike."""

import json
from pathlib import Path

import pytest
from support.project import ROOT

from stages.core.machine import host_record, results_digest
from stages.tools.verify.machines import Machines, read_machines
from stages.tools.verify.report import Report, Tier
from stages.tools.verify.report_views import table
from stages.tools.verify.verdicts import Finding, Verdict, summarise, worst_verdict

AGREES = Finding("a", Verdict.AGREES)
BITWISE = Finding("a", Verdict.BITWISE)
OUTSIDE = Finding("a", Verdict.OUTSIDE, "says x")
UNCHECKED = Finding("b", Verdict.UNCHECKED, "a reason")


def test_a_disagreement_counts_whatever_later_tiers_find() -> None:
    assert summarise([AGREES, OUTSIDE, BITWISE]) == OUTSIDE
    assert summarise([AGREES, BITWISE]) == BITWISE
    assert summarise([AGREES, UNCHECKED]).reason == "a reason"
    assert worst_verdict([BITWISE, Finding("b", Verdict.TOLERANCE)]) is Verdict.TOLERANCE
    assert worst_verdict([BITWISE, UNCHECKED]) is Verdict.BITWISE
    assert worst_verdict([UNCHECKED]) is Verdict.UNCHECKED
    assert worst_verdict([UNCHECKED, AGREES]) is Verdict.AGREES


def test_the_words_of_the_verdicts() -> None:
    assert [str(verdict) for verdict in Verdict] == [
        "bit for bit",
        "same predictions",
        "within the measured tolerance",
        "agrees",
        "not checked",
        "outside",
    ]


def test_a_report_names_the_other_machine() -> None:
    recorded = {"image": {"processor": "B", "dvc": "3"}, "workshop": {"processor": "A", "dvc": "3"}}
    machines = Machines({"processor": "A", "dvc": "3"}, recorded)
    report = Report("here", "0" * 40, "hashes", machines, [Tier("hashes", 1.0, [AGREES])])
    lines = table(report).split("\n")
    assert "note: computed on another machine (processor B): image" in lines
    assert "note: computed on a machine like this one: workshop" in lines
    assert report.data()["machines"] == recorded


def test_only_the_valid_record_of_an_equal_machine_is_alike(tmp_path: Path) -> None:
    """Any other record, or none, counts as another machine: it can make no verdict milder."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    data = tmp_path / "evidence/image/data"
    data.mkdir(parents=True)
    (data / "metrics.json").write_text("{}")
    (data.parent / "README.md").write_text("pages are no results")
    host = read_machines(tmp_path, ["image"]).host
    digest = results_digest({"data/metrics.json": b"{}"})
    path = tmp_path / "evidence/machine.json"

    def is_alike(record: object) -> bool:
        path.write_text(record if isinstance(record, str) else json.dumps({"image": record}))
        machines = read_machines(tmp_path, ["image"])
        assert machines.recorded or machines.notes
        return machines.is_alike("image")

    assert is_alike({"results_sha256": digest, "machine": host})
    assert not is_alike({"results_sha256": digest, "machine": {**host, "processor": "another"}})
    assert not is_alike({"results_sha256": digest, "machine": {**host, "device": "cuda"}})
    assert not is_alike({"results_sha256": digest, "machine": {}})
    assert not is_alike({"results_sha256": digest, "machine": [1]})
    assert not is_alike({"results_sha256": "0" * 64, "machine": host})
    assert not is_alike([])
    for damaged in ("", "[1]", "null", "[" * 100_000, '{"image": 3}'):
        assert not is_alike(damaged)
    path.unlink()
    assert not read_machines(tmp_path, ["image"]).is_alike("image")


def test_the_host_record_names_this_processor() -> None:
    record = host_record()
    assert record["processor"]
    assert record["cores"] >= 1


@pytest.mark.parametrize("name", ["README.md", "pictures/a.png"])
def test_pages_and_pictures_are_no_results(name: str) -> None:
    files = {"data/metrics.json": b"1", name: b"2"}
    assert results_digest(files) == results_digest({**files, name: b"3"})
    assert results_digest(files) != results_digest({**files, "data/metrics.json": b"3"})
