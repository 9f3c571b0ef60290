"""Series of tries without a true effect: how many end in a false "better"."""

import numpy as np
import pytest
from scipy.stats import binom
from support.project import ROOT

from stages.evaluation.series import required_level
from stages.evaluation.significance import power_of_mcnemar
from stages.tools.series_simulation import (
    ALPHA,
    SETTINGS,
    Setting,
    _Draw,
    page,
    simulate,
    table_of_power,
)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_series_without_a_true_effect_rarely_ends_in_better(setting: Setting) -> None:
    series = 60
    false = simulate(setting, series)
    # With the promised 5%, more than this many endings would be seen once in a thousand times.
    assert false.corrected * series <= binom.isf(0.001, series, ALPHA)
    assert false.kept <= false.corrected <= false.uncorrected
    assert false.uncorrected > 2 * ALPHA  # what the correction is for


def test_the_simulated_models_are_equally_good() -> None:
    random = np.random.default_rng(0)
    setting = Setting("many", 20_000, 0.85)
    draw = _Draw(setting, random)
    first, second = draw.model(), draw.model()
    assert first.mean() == pytest.approx(0.85, abs=0.01)
    assert first.mean() - second.mean() == pytest.approx(0, abs=0.01)
    # Of beta-distributed chances: 2 * accuracy * (1 - accuracy) * c / (1 + c), with c = 0.5.
    assert (first != second).mean() == pytest.approx(2 * 0.85 * 0.15 / 3, abs=0.01)


def test_the_table_of_power_holds_the_closed_form() -> None:
    power = power_of_mcnemar(0.1, 0.05, 184, required_level(5, ALPHA))
    (row,) = (line for line in table_of_power().split("\n") if "184 texts | 10 points" in line)
    assert row.split(" | ")[5] == f"{power:.0%}"


@pytest.mark.long
def test_the_page_holds_what_the_simulation_finds() -> None:
    text = (ROOT / "docs/series.md").read_text(encoding="utf-8")
    assert text == page()
    shares = [
        [float(cell.rstrip("%")) for cell in line.strip("| ").split(" | ")[1:]]
        for line in text.split("\n")
        if any(
            line.startswith(f"| {setting.name} |") and "points" not in line for setting in SETTINGS
        )
    ]
    assert len(shares) == len(SETTINGS)
    assert all(corrected <= 5 < uncorrected for uncorrected, corrected, _ in shares)
