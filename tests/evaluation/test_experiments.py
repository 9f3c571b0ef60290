"""Comparing two runs of a classifier on validation data."""

from pathlib import Path

import pandas as pd
import pytest
from support.project import default_task

from stages.core.errors import UserError
from stages.evaluation.experiments import compare_classifiers, compare_runs

WRONG, RIGHT = [0] * 100, [1] * 100  # predicted labels; every true label is 1


def predictions(*seeds: list[int]) -> pd.DataFrame:
    count = len(seeds[0])
    table = pd.DataFrame({"id": [f"sample-{row}" for row in range(count)], "label": 1})
    return table.assign(**{f"seed_{seed}": labels for seed, labels in enumerate(seeds)})


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([WRONG, WRONG], [RIGHT, RIGHT], "better"),
        ([RIGHT], [WRONG], "worse"),
        # A seed that does not gain revokes the verdict, also where the primary seed was unlucky before.
        ([WRONG, WRONG], [RIGHT, WRONG], "not distinguishable"),
        ([WRONG, RIGHT], [RIGHT, RIGHT], "not distinguishable"),
    ],
)
def test_the_verdict_is_paired_and_every_seed_confirms_it(
    before: list[list[int]], after: list[list[int]], verdict: str
) -> None:
    params = default_task("workshop").params.evaluate
    result = compare_runs(predictions(*before), predictions(*after), params)
    assert result.verdict == verdict
    assert result.before == f"accuracy {before[0][0]:.4f} (n 100)"
    assert result.after == f"accuracy {after[0][0]:.4f} (n 100)"


@pytest.mark.parametrize(
    ("groups", "verdict", "p"), [(4, "too few groups", 2**-3), (10, "better", 2**-9)]
)
def test_groups_of_validation_samples_count(groups: int, verdict: str, p: float) -> None:
    """All groups gain: of the 2^groups exchanges, two are as extreme."""
    params = default_task("workshop").params.evaluate
    names = [f"writer-{row % groups}" for row in range(100)]
    before, after = (predictions(labels).assign(group=names) for labels in (WRONG, RIGHT))
    result = compare_runs(before, after, params)
    assert result.verdict == verdict
    assert result.p == pytest.approx(p)


def test_equal_predictions_are_not_better() -> None:
    params = default_task("workshop").params.evaluate
    same = predictions(RIGHT)
    assert compare_runs(same, same, params).verdict not in {"better", "worse"}


def test_other_samples_are_refused(tmp_path: Path) -> None:
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"
    predictions(WRONG).to_csv(before, index=False)
    predictions(RIGHT).assign(label=0).to_csv(after, index=False)
    with pytest.raises(UserError, match="validation samples of before and after differ"):
        compare_classifiers(before, after, default_task("image"))
