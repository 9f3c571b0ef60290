"""The checks of a rubric: what a commit shows, what it does not, and what is left to a person."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT, commit, run

from stages.core.repositories import clone_revision
from stages.tools.grade.checks import _SHAPE, _dimensions, grade
from stages.tools.grade.rows import Row, State, total
from stages.tools.grade.rubric import Rubric, read_rubric
from stages.tools.grade.submission import Submission
from stages.tools.verify.code import CodeDifference
from stages.tools.verify.disagreements import Cause, Disagreement
from stages.tools.verify.machines import Machines
from stages.tools.verify.report import Report, Tier
from stages.tools.verify.verdicts import Finding, Verdict

PACK = "evidence/toy/data"
CASES = (
    "id,cause,bucket\ntoy-01,luck of the seed,a → b\ntoy-2,between two classes,b → a\n"
    "toy-2b,between two classes,b → a\n"
)
LAYERS = (
    'layer,kind,output_shape,parameters\ninput,,"(32, 1, 16, 16)",0\nlabels,,(32),0\n'
    'conv,Conv2d,"(32, 8, 16, 16)",80\nrelu,ReLU,"(32, 8, 16, 16)",0\nhead,Linear,"(32, 3)",51\n'
)
LOG = "date,change,why,before,after,verdict,kept\n"
IMPROVEMENT = {"verdict": "better", "gain": 0.1}
FILES = {
    f"{PACK}/metrics.json": json.dumps({"current": {"accuracy": 0.9, "improvement": IMPROVEMENT}}),
    f"{PACK}/failure_cases.csv": CASES,
    f"{PACK}/model_summary.csv": LAYERS,
    f"{PACK}/diagnostics.json": '[{"name": "overfitting"}]',
}
Make = Callable[..., Submission]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that commits files of a learner, and returns the submission."""

    def make_submission(files: Mapping[str, str], report: Report | None = None) -> Submission:
        learner = tmp_path / "learner"
        for name, text in {**FILES, **files}.items():
            (learner / name).parent.mkdir(parents=True, exist_ok=True)
            (learner / name).write_text(text)
        run(learner, "git", "init", "--quiet", "--initial-branch", "main")
        commit(learner, "mine")
        clone_revision(str(learner), "HEAD", tmp_path / "clone")
        return Submission(tmp_path / "clone", report, "" if report else "not run")

    return make_submission


def check(folder: Path, submission: Submission, **criterion: Any) -> Row:
    """Return the row of one criterion, read from a rubric as a teacher would write it."""
    content = {"name": "it", "points": 2, **criterion}
    (folder / "rubric.yaml").write_text(
        json.dumps({"title": "t", "task": "toy", "criteria": [content]})
    )
    [row] = grade(read_rubric(folder / "rubric.yaml"), submission)
    return row


def notes(**texts: str) -> dict[str, str]:
    text = "\n".join(f"## {heading}\n{text}\n" for heading, text in texts.items())
    return {"data/review/toy.md": text}


def report_of(tiers: Mapping[str, list[Finding]], requested: str = "metrics") -> Report:
    return Report("r", "c", requested, Machines({}), [Tier(name, 0, tiers[name]) for name in tiers])


AGREES = Finding("evaluate@toy", Verdict.AGREES)
OUTSIDE = Finding.outside("evaluate@toy", Disagreement(Cause.FIGURE, "accuracy is 1, not 0.9"))
OTHER = Finding.outside("evaluate@image", Disagreement(Cause.FIGURE, "of another task"))
UNCHECKED = Finding("evaluate@toy", Verdict.UNCHECKED, "no weights")


@pytest.mark.parametrize(
    ("tiers", "requested", "tier", "state", "words"),
    [
        ({"hashes": [AGREES, OTHER]}, "hashes", "hashes", "shown", "1 stages at hashes: 1 agrees"),
        ({"hashes": [OUTSIDE]}, "hashes", "hashes", "not shown", "hashes, evaluate@toy: accuracy"),
        ({"hashes": [OUTSIDE]}, "hashes", "retrain", "not shown", "accuracy is 1"),
        ({"hashes": [AGREES]}, "hashes", "retrain", "to judge", "--tier retrain runs it"),
        ({"hashes": [AGREES], "metrics": [OUTSIDE]}, "metrics", "hashes", "shown", "at hashes: 1"),
        ({"hashes": [OTHER]}, "hashes", "hashes", "not shown", "no stage of toy"),
        ({"hashes": [UNCHECKED]}, "hashes", "hashes", "to judge", "evaluate@toy: no weights"),
        ({"hashes": [AGREES]}, "retrain", "retrain", "to judge", "Not run: "),
    ],
)
def test_verified_counts_the_tiers_up_to_its_own_and_the_task_alone(
    make: Make,
    tmp_path: Path,
    tiers: dict[str, list[Finding]],
    requested: str,
    tier: str,
    state: str,
    words: str,
) -> None:
    submission = make({}, report_of(tiers, requested))
    row = check(tmp_path, submission, check="verified", tier=tier)
    assert (row.state, row.points) == (state, 2 if state == "shown" else 0)
    assert words in f"{row.evidence} {row.judge}"


def test_code_of_the_learner_that_ran_has_to_be_read_before_points_count(
    make: Make, tmp_path: Path
) -> None:
    rerun = report_of({"retrain": [Finding("evaluate@toy", Verdict.BITWISE)]}, "retrain")
    rerun.code = [CodeDifference("stages/train.py", "differs")]
    row = check(tmp_path, make({}, rerun), check="verified", tier="retrain")
    assert row.state == "to judge"
    assert "stages/train.py" in row.judge


def test_what_was_not_verified_is_not_shown(make: Make, tmp_path: Path) -> None:
    submission = make({})
    row = check(tmp_path, submission, check="verified")
    assert (row.state, row.evidence) == ("not shown", "not verified: not run")
    claim = check(tmp_path, submission, check="claim", claim="verdict == better")
    assert (claim.state, claim.points) == ("to judge", 0)
    assert "not recomputed: not run" in claim.judge


@pytest.mark.parametrize(
    ("claim", "finding", "state"),
    [
        ("verdict == better", AGREES, "shown"),
        ("accuracy >= 0.9", AGREES, "shown"),
        ("accuracy > 0.9", AGREES, "not shown"),
        ("verdict == better", OUTSIDE, "not shown"),
        ("f1 > 0", AGREES, "not shown"),
    ],
)
def test_a_figure_counts_once_it_was_recomputed(
    make: Make, tmp_path: Path, claim: str, finding: Finding, state: str
) -> None:
    submission = make({}, report_of({"hashes": [AGREES], "metrics": [finding]}))
    row = check(tmp_path, submission, check="claim", claim=claim)
    assert (row.state, row.points) == (state, 2 if state == "shown" else 0)


WORDS = " ".join(["word"] * 20)


@pytest.mark.parametrize(
    ("text", "options", "state", "words"),
    [
        (WORDS, {}, "shown", "20 words"),
        (f"<!-- {WORDS} -->", {}, "not shown", "nothing of the learner's stands below"),
        ("too short", {}, "not shown", "at least 20 words"),
        (f"toy-01, toy-2. {WORDS}", {"min_cases": 2}, "shown", "names 2 of 3 failure cases"),
        # An id within a longer one is another one.
        (f"toy-2b toy-011 {WORDS}", {"min_cases": 2}, "not shown", "names 1 of 3 failure cases"),
        (
            WORDS,
            {"heading": "Shapes"},
            "not shown",
            "has no heading '## Shapes' (it has: Failures)",
        ),
        (WORDS, {"file": "{task}.md"}, "not shown", "toy.md is not in git"),
        (WORDS, {"file": "{x}"}, "not shown", "{x} is not in git"),
    ],
)
def test_a_note_needs_words_and_names_cases_by_id(
    make: Make, tmp_path: Path, text: str, options: dict[str, Any], state: str, words: str
) -> None:
    row = check(
        tmp_path, make(notes(Failures=text)), **{"check": "note", "heading": "failures", **options}
    )
    assert row.state == state
    assert words in row.evidence


def test_a_question_leaves_what_is_shown_to_a_person_and_nothing_else(
    make: Make, tmp_path: Path
) -> None:
    submission = make(notes(Failures=WORDS))
    asking = {"check": "note", "heading": "Failures", "judge": "Is it so?"}
    row = check(tmp_path, submission, **asking)
    assert (row.state, row.judge, total([row])) == ("to judge", "Is it so?", (0, 2, 2))
    row = check(tmp_path, submission, **asking, min_words=21)
    assert (row.state, row.judge, total([row])) == ("not shown", "", (0, 0, 2))
    row = check(tmp_path, submission, check="person", judge="How was the talk?")
    assert (row.state, row.judge, row.open_points) == ("to judge", "How was the talk?", 2)


def test_what_came_with_the_project_is_not_the_learners(make: Make, tmp_path: Path) -> None:
    review = (ROOT / "data/review/workshop.md").read_text()
    log = (ROOT / "evidence/workshop/experiments.csv").read_text()
    metrics = (ROOT / "evidence/workshop/data/metrics.json").read_text()
    submission = make(
        {
            "data/review/workshop.md": review,
            "evidence/workshop/experiments.csv": log,
            "evidence/workshop/data/metrics.json": metrics,
        }
    )
    assert submission.tasks() == ["toy", "workshop"]
    assert set(submission.notes("data/review/workshop.md").values()) == {""}
    assert submission.experiments("workshop") == []
    row = check(tmp_path, submission, check="experiment", task="workshop")
    assert "0 of the learner's own" in row.evidence
    row = check(tmp_path, submission, check="claim", claim="accuracy > 0", task="workshop")
    assert "the metrics are those that came with the project" in row.evidence


ROW = '2026-11-25,toy.train.epochs=9,"more, of it",0.9,0.8,worse,no\n'


@pytest.mark.parametrize(
    ("rows", "count", "state"),
    [
        (ROW, 1, "shown"),
        (ROW, 2, "not shown"),
        (ROW * 2, 2, "shown"),
        ("", 1, "not shown"),
        (ROW.replace("worse", "failed: out of memory"), 1, "not shown"),
        (ROW.replace('"more, of it"', ""), 1, "not shown"),
        ("a\n\0,,,", 1, "not shown"),
    ],
)
def test_an_experiment_counts_with_a_reason_and_a_verdict(
    make: Make, tmp_path: Path, rows: str, count: int, state: str
) -> None:
    submission = make({"evidence/toy/experiments.csv": LOG + rows})
    row = check(tmp_path, submission, check="experiment", count=count)
    assert row.state == state
    if state == "shown":
        assert "toy.train.epochs=9: worse (0.9 to 0.8)" in row.evidence
        assert '"more, of it"' in row.evidence


@pytest.mark.parametrize(
    ("text", "options", "state", "words"),
    [
        ("(32, 1, 16, 16) [N, 8, 16, 16] batch x 3", {}, "shown", "3 of 3 shapes"),
        ("torch.Size([32, 1, 16, 16]), 32x8x16x16, (B, 3)", {}, "shown", "3 of 3 shapes"),
        ("(32, 1, 16, 16) and (32, 3)", {}, "not shown", "missing: (32, 8, 16, 16)"),
        ("(32, 1, 16, 16) and (32, 3)", {"share": 0.6}, "shown", "2 of 3"),
        # A batch of another size is another tensor; the order of dimensions counts.
        ("(32, 16, 16, 1), (64, 8, 16, 16), (32, 3)", {}, "not shown", "1 of 3 shapes"),
    ],
)
def test_shapes_are_those_of_the_network(
    make: Make, tmp_path: Path, text: str, options: dict[str, Any], state: str, words: str
) -> None:
    row = check(tmp_path, make(notes(Shapes=text)), check="shapes", **options)
    assert row.state == state
    assert words in row.evidence


@given(
    st.lists(st.integers(0, 5000), min_size=2, max_size=6),
    st.sampled_from(["({})", "[{}]", "{}", "is {}."]),
    st.sampled_from([", ", ",", " x ", "x", " \u00d7 "]),
)
def test_any_shape_is_read_back(numbers: list[int], form: str, separator: str) -> None:
    dimensions = [str(number) for number in numbers]
    text = f"the layer {form.format(separator.join(dimensions))} "
    assert tuple(dimensions) in {_dimensions(match[0]) for match in _SHAPE.finditer(text)}


@pytest.mark.parametrize(
    ("text", "state", "words"),
    [
        ("It is Between two  classes, mostly", "shown", "names between two classes"),
        ("confused: a -> b", "shown", "names a → b"),
        ("clearly overfitting here", "shown", "names overfitting"),
        ("It underfits", "to judge", "names none of those"),
        ("", "not shown", "has no notes of its own"),
    ],
)
def test_a_failure_mode_is_one_that_the_analysis_lists(
    make: Make, tmp_path: Path, text: str, state: str, words: str
) -> None:
    row = check(tmp_path, make(notes(Anything=text)), check="failure_mode")
    assert row.state == state
    assert words in row.evidence


def test_damaged_or_endless_files_are_not_shown_and_stop_nothing(
    make: Make, tmp_path: Path
) -> None:
    submission = make(
        {
            f"{PACK}/metrics.json": "[" * 100_000,
            f"{PACK}/failure_cases.csv": "\0\n",
            f"{PACK}/diagnostics.json": "nan",
            f"{PACK}/model_summary.csv": "x" * (2**23 + 1),
            "data/review/toy.md": "## Failures\n" + "word " * 2**14,
        },
        report_of({"hashes": [AGREES]}),
    )
    kinds: list[dict[str, Any]] = [
        {"check": "claim", "claim": "verdict == better"},
        {"check": "note", "heading": "Failures"},
        {"check": "experiment"},
        {"check": "shapes"},
        {"check": "failure_mode"},
    ]
    for criterion in kinds:
        row = check(tmp_path, submission, **criterion)
        assert row.state == State.NOT_MET, criterion
    assert "no more than 65,536 are read" in check(tmp_path, submission, **kinds[1]).evidence


def test_the_rubric_of_the_project_grades_the_tasks_of_the_project(make: Make) -> None:
    from stages.tools.grade.rubric import DEFAULT

    rubric: Rubric = read_rubric(DEFAULT)
    tasks = {path.name for path in (ROOT / "evidence").iterdir() if (path / "data").is_dir()}
    assert set(rubric.tasks()) <= tasks
    rows = grade(rubric, make({}))
    assert [row.criterion for row in rows] == [item.name for item in rubric.criteria]
    assert total(rows)[0] == 0
