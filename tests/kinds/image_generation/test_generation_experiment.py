"""Comparing two generators by their distances over sampling seeds."""

import json
from pathlib import Path

import pytest
from scipy.stats import ttest_ind
from support.project import default_task

from stages.kinds.image_generation.experiment import compare, compare_distances


def distances(mean: float, *differences: float) -> dict[str, float]:
    return {str(seed): mean + difference for seed, difference in enumerate(differences)}


@pytest.mark.parametrize(
    ("after", "verdict"), [(0.5, "better"), (0.95, "not distinguishable"), (1.5, "worse")]
)
def test_distances_are_compared_by_their_spread(after: float, verdict: str) -> None:
    before = distances(1.0, -0.1, 0.0, 0.1)
    result = compare_distances(before, distances(after, 0.1, -0.1, 0.0), 0.95)
    assert result.verdict == verdict
    assert result.before == "Fréchet distance 1.000 (0.900 to 1.100 over 3 seeds)"
    expected = ttest_ind(list(before.values()), [after + 0.1, after - 0.1, after], equal_var=False)
    assert result.p == pytest.approx(expected.pvalue)
    single = compare_distances(before, distances(after, 0.0), 0.95)
    assert (single.verdict, single.p) == ("not distinguishable", None)


def test_equal_distances_are_no_evidence() -> None:
    same = distances(1.0, 0.0, 0.0)
    result = compare_distances(same, same, 0.95)
    assert (result.verdict, result.p) == ("not distinguishable", 1.0)


def test_the_distances_of_the_selected_checkpoint_count(tmp_path: Path) -> None:
    paths = tmp_path / "before.json", tmp_path / "after.json"
    for path, mean in zip(paths, (1.0, 0.5), strict=True):
        values = distances(mean, -0.01, 0.0, 0.01)
        path.write_text(json.dumps({"selection": {"frechet_validation": values}}))
    result = compare(*paths, default_task("generative"))
    assert result.verdict == "better"
    assert result.after == "Fréchet distance 0.500 (0.490 to 0.510 over 3 seeds)"
