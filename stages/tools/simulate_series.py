"""The tables on series of tries in docs/statistics.md, which `python -m stages.tools.simulate` writes."""

from collections.abc import Iterator, Sequence

from stages.core.schema import EvaluateClassifier
from stages.evaluation.series import required_level
from stages.evaluation.series_simulation import Setting, simulate_series
from stages.evaluation.significance import power_of_mcnemar, smallest_detectable_gain
from stages.report.formatting import markdown_table, percent

SERIES, TRIES, SEED = 1000, 20, 0
PARAMS = EvaluateClassifier(
    confidence=0.95,
    resamples=1000,
    seed=0,
    bins=10,
    worthwhile_gain=0.05,
    assumed_regressions=0.05,
)
ALPHA = 1 - PARAMS.confidence
SETTINGS = (
    Setting("184 texts", 184, 0.85),
    Setting("252 images", 252, 0.95),
    Setting("252 images of 14 writers", 252, 0.95, 14, 1.0),
)
_NUMBERS = (1, 2, 5, 10, 20)  # of the tries in the table of power
_GAINS = (0.05, 0.1)


def false_findings(series: int) -> str:
    """Return the table of series of tries without a true effect that end in a false "better"."""
    rows = []
    for setting in SETTINGS:
        false = simulate_series(setting, series, TRIES, SEED, PARAMS)
        rows.append(
            (setting.name, *map(percent, (false.uncorrected, false.corrected, false.confirmed)))
        )
    header = ("validation data", "each try taken alone", "as a series", "kept with `--keep`")
    return markdown_table(header, rows, [1, 2, 3])


def powers() -> str:
    """Return the table of the power that the correction costs: closed forms for McNemar's test."""
    return markdown_table(
        ("validation data", "true gain", "alone", *(f"try {number}" for number in _NUMBERS)),
        _power_rows(),
        range(1, 3 + len(_NUMBERS)),
    )


def _power_rows() -> Iterator[Sequence[str]]:
    levels = [ALPHA, *(required_level(number, ALPHA) for number in _NUMBERS)]
    regressions = PARAMS.assumed_regressions
    for setting in SETTINGS:
        if setting.groups:
            continue
        for gain in _GAINS:
            powers = (
                power_of_mcnemar(gain, regressions, setting.samples, level) for level in levels
            )
            yield setting.name, f"{100 * gain:.0f} points", *(percent(power, 0) for power in powers)
        gains = (smallest_detectable_gain(regressions, setting.samples, level) for level in levels)
        yield setting.name, "found in 80%", *(f"{100 * gain:.1f} points" for gain in gains)


def series_tables(series: int = SERIES) -> str:
    """Return both tables."""
    return (
        f"With no true effect, the share of {series:,} series of {TRIES} tries that end in at least one "
        f"false *better* (seed {SEED}):\n\n{false_findings(series)}\n\n"
        f"Power for a change that breaks {percent(PARAMS.assumed_regressions, 0)} of the samples, and the "
        f"gain that is found in 80% of cases:\n\n{powers()}"
    )
