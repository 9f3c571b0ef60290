"""Series of tries without a true effect: how many end in a false "better"."""

import numpy as np
import pytest
from scipy.stats import binom
from support.project import ROOT

from stages.evaluation.series import required_level
from stages.evaluation.series_simulation import Draw, Setting, simulate_series
from stages.evaluation.significance import power_of_mcnemar
from stages.tools.simulate import with_tables
from stages.tools.simulate_series import ALPHA, PARAMS, SETTINGS, TRIES, powers, series_tables

PAGE = ROOT / "docs/statistics.md"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_series_without_a_true_effect_rarely_ends_in_better(setting: Setting) -> None:
    series = 60
    false = simulate_series(setting, series, TRIES, 1, PARAMS)
    # With the promised 5%, more endings than these would be seen once in a thousand times.
    assert false.corrected * series <= binom.isf(0.001, series, ALPHA)
    assert false.confirmed <= false.corrected <= false.uncorrected
    assert false.uncorrected > ALPHA  # what the correction is for


def test_the_simulated_models_are_equally_good() -> None:
    draw = Draw(Setting("many", 20_000, 0.85), np.random.default_rng(0), PARAMS)
    first, second = draw.model(), draw.model()
    assert first.mean() == pytest.approx(0.85, abs=0.01)
    assert first.mean() - second.mean() == pytest.approx(0, abs=0.01)
    # Of beta-distributed chances: 2 * accuracy * (1 - accuracy) * c / (1 + c), with c = 0.5.
    assert (first != second).mean() == pytest.approx(2 * 0.85 * 0.15 / 3, abs=0.01)


def test_a_model_that_is_better_is_found() -> None:
    draw = Draw(Setting("texts", 184, 0.85), np.random.default_rng(0), PARAMS)
    before = draw.model()
    assert draw.is_better(before, np.ones_like(before), required_level(TRIES, ALPHA))


def test_the_table_of_power_holds_the_closed_form() -> None:
    power = power_of_mcnemar(0.1, 0.05, 184, required_level(5, ALPHA))
    (row,) = (line for line in powers().split("\n") if "184 texts | 10 points" in line)
    assert row.split(" | ")[5] == f"{power:.0%}"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_docs_state_at_most_the_level(setting: Setting) -> None:
    """Read from the committed table, which the long test computes again."""
    rows = [line for line in PAGE.read_text().split("\n") if line.startswith(f"| {setting.name} |")]
    cells = rows[0].strip("| ").split(" | ")[1:]
    uncorrected, corrected, confirmed = (float(cell.rstrip("%")) / 100 for cell in cells)
    assert confirmed <= corrected <= ALPHA < uncorrected


@pytest.mark.long
def test_the_tables_in_the_docs_are_those_of_this_code() -> None:
    page = PAGE.read_text()
    assert with_tables(page, "series", series_tables()) == page, (
        "run python -m stages.tools.simulate"
    )
