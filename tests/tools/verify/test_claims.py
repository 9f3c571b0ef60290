"""Claims: what may be written, and what the figures of a result and of its tiers make of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT, commit, run

from stages.core.errors import UserError
from stages.core.repositories import clone_revision
from stages.report.rendering import render_markdown
from stages.tools.verify.code import CodeDifference
from stages.tools.verify.conditions.claim import check_claims, figures, parse_claim
from stages.tools.verify.conditions.condition import Condition, Outcome
from stages.tools.verify.machines import Machines
from stages.tools.verify.report import Report, Tier
from stages.tools.verify.report_views import document, table
from stages.tools.verify.verdicts import Finding, Verdict

DATA = "evidence/image/data"
ACCURACY = 0.967724


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone with the figures of an image classifier, which are written here."""
    folder = tmp_path_factory.mktemp("claims") / "source"
    (folder / DATA).mkdir(parents=True)
    improvement = {"gain": 0.0434, "gain_low": 0.0223, "gain_high": 0.0663, "verdict": "better"}
    current = {
        "accuracy": ACCURACY,
        "accuracy_low": 0.936911,
        "accuracy_high": 0.983749,
        "log_loss": 0.17,
        "rule": {"kept": True, "share": 0.5},
        "huge": 10**400,
        "long": "x" * 10_000,
        "improvement": improvement,
    }
    (folder / DATA / "metrics.json").write_text(json.dumps({"current": current}))
    (folder / DATA / "params.json").write_text(json.dumps({"evaluate": {"confidence": 0.9}}))
    run(folder, "git", "init", "--quiet")
    commit(folder, "figures")
    clone_revision(str(folder), "HEAD", folder.parent / "clone")
    return folder.parent / "clone"


def copy_clone(clone: Path, folder: Path) -> Path:
    """Return a copy of a clone, with git's files beside it."""
    shutil.copytree(f"{clone}.git", folder / "copy.git")
    return shutil.copytree(clone, folder / "copy")


def report_of(*tiers: tuple[str, Verdict], stage: str = "evaluate@image") -> Report:
    """Return a report with one finding in each tier."""
    findings = [Tier(name, 1.0, [Finding(stage, verdict)]) for name, verdict in tiers]
    return Report("somewhere", "0" * 40, "retrain", Machines({}), findings)


def check(text: str, repository: Path, report: Report) -> Condition:
    (condition,) = check_claims([parse_claim(text)], repository, report)
    assert condition.name == f"claim: {text}"
    return condition


METRICS = report_of(("hashes", Verdict.AGREES), ("metrics", Verdict.AGREES))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("image accuracy >= 0.9677", True),
        ("image accuracy >= 0.968", False),
        ("image accuracy > 0.967724", False),
        ("image accuracy >= 0.967724", True),
        ("image accuracy == 0.968", True),
        ("image accuracy == 0.9677", True),
        ("image accuracy == 0.96773", False),
        ("image log_loss < 0.2", True),
        ("image log_loss <= 0.1", False),
        ("image gain >= 0.04", True),
        ("image verdict == better", True),
        ("image verdict == worse", False),
        ("image rule.share == 0.5", True),
    ],
)
def test_a_claim_is_held_against_the_committed_figure(
    repository: Path, text: str, holds: bool
) -> None:
    condition = check(text, repository, METRICS)
    assert condition.outcome == (Outcome.HOLDS if holds else Outcome.FAILS), condition.reason


@pytest.mark.parametrize(
    ("tiers", "outcome", "words"),
    [
        ([("hashes", Verdict.AGREES)], Outcome.COMMITTED, "interval 0.936911 to 0.983749"),
        ([("metrics", Verdict.AGREES)], Outcome.HOLDS, "recomputed from the predictions in git"),
        ([("metrics", Verdict.UNCHECKED)], Outcome.COMMITTED, "0.967724 (90% interval"),
        (
            [("metrics", Verdict.UNCHECKED), ("predictions", Verdict.SAME)],
            Outcome.HOLDS,
            "recomputed from the stored weights",
        ),
        (
            [("metrics", Verdict.AGREES), ("retrain", Verdict.BITWISE)],
            Outcome.HOLDS,
            "recomputed by training again",
        ),
        ([("hashes", Verdict.OUTSIDE)], Outcome.FAILS, "but evaluate@image is outside"),
    ],
)
def test_the_tier_says_from_what_a_figure_was_recomputed(
    repository: Path, tiers: list[tuple[str, Verdict]], outcome: Outcome, words: str
) -> None:
    condition = check("image accuracy >= 0.9", repository, report_of(*tiers))
    assert (condition.outcome, words in condition.reason) == (outcome, True), condition.reason


def test_a_figure_that_comes_out_lower_when_run_again_decides(
    repository: Path, tmp_path: Path
) -> None:
    root = copy_clone(repository, tmp_path)
    rerun = root / "data/evaluate/image/metrics.json"
    rerun.parent.mkdir(parents=True)
    report = report_of(("retrain", Verdict.TOLERANCE))
    rerun.write_text(json.dumps({"current": {"accuracy": 0.951}}))
    condition = check("image accuracy >= 0.96", root, report)
    assert condition.outcome is Outcome.FAILS
    assert condition.reason.endswith("as committed; run again 0.951")
    condition = check("image accuracy >= 0.95", root, report)
    assert condition.outcome is Outcome.HOLDS
    assert condition.reason.endswith("recomputed by training again (0.951)")
    # Files that no tier has compared prove nothing, either way.
    assert check("image accuracy >= 0.96", root, METRICS).outcome is Outcome.HOLDS


def test_an_interval_that_reaches_below_the_claim_is_named(repository: Path) -> None:
    near, far = (check(f"image accuracy >= {value}", repository, METRICS) for value in (0.95, 0.9))
    assert "which holds values that do not meet the claim" in near.reason
    assert "do not meet" not in far.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image acuracy >= 0.9", "no metric 'acuracy'; the nearest known one is 'accuracy'"),
        ("imag accuracy >= 0.9", "no evidence of a task 'imag'; the nearest known task is 'image'"),
        ("image verdict == 1", "verdict is 'better', which cannot be compared with 1"),
        ("image accuracy == high", "cannot be compared with 'high'"),
        ("image rule.kept == 1", "no metric 'rule.kept'"),
        ("image huge >= 1", "no metric 'huge'"),
        ("image long == x", "no metric 'long'"),
    ],
)
def test_what_no_figure_answers_is_not_checked(repository: Path, text: str, reason: str) -> None:
    (condition,) = check_claims([parse_claim(text)], repository, METRICS)
    assert condition.outcome is Outcome.UNCHECKED
    assert reason in condition.reason


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"current": 3}', '{"current": {"improvement": 3}}']
)
def test_damaged_metrics_are_not_checked(repository: Path, tmp_path: Path, content: str) -> None:
    source = shutil.copytree(repository.with_name("source"), tmp_path / "source")
    (source / DATA / "metrics.json").write_text(content)
    commit(source, "damaged")
    root = tmp_path / "clone"
    clone_revision(str(source), "HEAD", root)
    condition = check("image accuracy >= 0.9", root, METRICS)
    assert condition.outcome is Outcome.UNCHECKED
    assert "metrics.json" in condition.reason


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("image accuracy", "must be TASK METRIC OPERATOR VALUE"),
        ("accuracy >= 0.9", "must be TASK METRIC OPERATOR VALUE"),
        ("image accuracy => 0.9", "must be TASK METRIC OPERATOR VALUE"),
        ("image accuracy >= ", "must be TASK METRIC OPERATOR VALUE"),
        ("image accuracy >= nan", "the value must be finite"),
        ("image accuracy >= 1e999", "the value must be finite"),
        ("image accuracy >= high", "words can only be compared with =="),
        ("", "must be TASK METRIC OPERATOR VALUE"),
    ],
)
def test_a_claim_of_another_form_is_refused(text: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        parse_claim(text)
    assert line in str(error.value)
    assert str(error.value).startswith(f"--claim: given {text!r}")


@given(
    st.sampled_from([">=", "<=", ">", "<", "=="]),
    st.decimals(-1000, 1000, places=4),
    st.sampled_from([" ", "", "   "]),
)
def test_a_claim_reads_back_from_its_own_words(sign: str, value: Any, blanks: str) -> None:
    claim = parse_claim(f"image accuracy{blanks}{sign}{blanks}{value}")
    assert (claim.task, claim.metric, claim.operator) == ("image", "accuracy", sign)
    assert claim.value == float(value)
    assert parse_claim(str(claim)) == claim
    assert claim.is_met(float(value)) == (sign in {">=", "<=", "=="})


@pytest.mark.parametrize("task", ["image", "sentiment", "generative", "workshop"])
def test_the_figures_of_every_committed_pack_can_be_claimed(task: str) -> None:
    metrics = json.loads((ROOT / f"evidence/{task}/data/metrics.json").read_text())
    known = figures(metrics)
    assert known["gain"] == metrics["current"]["improvement"]["gain"]
    assert known["verdict"] == "better"
    assert all(isinstance(value, int | float | str) for value in known.values())


def with_conditions(status: int, *outcomes: Outcome) -> Report:
    """Return a report that without conditions has this exit status, and conditions with these outcomes."""
    verdict = {0: Verdict.BITWISE, 1: Verdict.OUTSIDE, 2: Verdict.UNCHECKED, 3: Verdict.BITWISE}
    report = report_of(("hashes", Verdict.AGREES), ("retrain", verdict[status]))
    report.code = [CodeDifference("model.py", "added")] if status == 3 else []
    assert report.status() == status
    report.conditions = [Condition("claim: x", outcome, "reason") for outcome in outcomes]
    return report


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_conditions_count_in_the_exit_status(status: int) -> None:
    assert with_conditions(status, Outcome.HOLDS).status() == status
    for outcome in (Outcome.UNCHECKED, Outcome.COMMITTED):
        assert with_conditions(status, Outcome.HOLDS, outcome).status() == (1 if status == 1 else 2)
    assert with_conditions(status, Outcome.UNCHECKED, Outcome.FAILS).status() == 1


def test_conditions_are_told_apart_from_the_reproduction() -> None:
    report = with_conditions(0, Outcome.HOLDS, Outcome.FAILS)
    line = report.line()
    assert line.startswith("reproduced: bit for bit (1 stages")
    assert line.endswith("; conditions: 1 holds, 1 does not hold")
    assert "claim: x: does not hold: reason" in table(report)
    entry = {"condition": "claim: x", "outcome": "does not hold", "reason": "reason"}
    assert entry in report.data()["conditions"]
    text = render_markdown(document(report))
    assert "What was asked for" in text
    assert "conditions" not in with_conditions(0).line()
