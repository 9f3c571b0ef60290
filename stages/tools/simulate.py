"""Write the tables of simulations into docs/statistics.md: `python -m stages.tools.simulate`.

It takes a few minutes. A test marked `long` compares what is committed with what this computes.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from stages.core.errors import UserError, exit_on_user_error
from stages.core.files import write
from stages.core.schema import EvaluateClassifier
from stages.evaluation.simulation import SIZES, Scenario, simulate
from stages.report.formatting import markdown_table, percent
from stages.tools.simulate_series import series_tables

PAGE = Path("docs/statistics.md")
COUNT = 1000  # test sets of each row
SEED = 0
GROUPS = (4, 8, 14, 50)
# The gains of groups about the mean.
SPREADS: dict[str, tuple[float, ...]] = {
    "independent": (0.0,),
    "correlated": tuple(step / 100 for step in range(-20, 21)),
    "skewed": (-0.05, -0.05, -0.05, 0.15),
}
PARAMS = EvaluateClassifier(
    confidence=0.95,
    resamples=1000,
    seed=0,
    bins=10,
    worthwhile_gain=0.05,
    assumed_regressions=0.1,
)


def false_positives(count: int, sizes: Sequence[int] = GROUPS) -> str:
    """Return the table of test sets without a true gain."""
    rows = []
    for name, effects in SPREADS.items():
        for groups in sizes:
            scenario = Scenario(groups, effects)
            rates = simulate(scenario, count, SEED, PARAMS)
            rows.append(
                [
                    name,
                    groups,
                    f"{scenario.design_effect:.1f}",
                    percent(rates.rejected),
                    percent(rates.better + rates.worse),
                    percent(rates.rejected_ungrouped),
                    percent(rates.covered),
                    percent(rates.covered_by_t),
                    percent(rates.covered_ungrouped),
                    percent(rates.score_covered),
                ]
            )
    return markdown_table(
        [
            "groups differ",
            "groups",
            "design effect",
            "test rejects",
            "better or worse",
            "McNemar rejects",
            "interval holds 0",
            "t interval",
            "ungrouped interval",
            "interval of accuracy",
        ],
        rows,
        range(1, 10),
    )


def powers(count: int, sizes: Sequence[int] = (6, *GROUPS[1:])) -> str:
    """Return the table of test sets whose true gain is the one that they promise to detect."""
    alpha, rows = 1 - PARAMS.confidence, []
    for name in ("independent", "correlated"):
        for groups in sizes:
            scenario = Scenario(groups, SPREADS[name]).at_detectable_gain(alpha)
            rates = simulate(scenario, count, SEED, PARAMS)
            rows.append(
                [
                    name,
                    groups,
                    f"{scenario.design_effect:.1f}",
                    percent(scenario.gain),
                    percent(rates.better),
                    percent(rates.covered),
                    percent(rates.score_covered),
                ]
            )
    return markdown_table(
        [
            "groups differ",
            "groups",
            "design effect",
            "true gain",
            "better",
            "interval holds the gain",
            "interval of accuracy",
        ],
        rows,
        range(1, 7),
    )


def tables(count: int = COUNT) -> str:
    """Return both tables, with the number of simulations, samples and seeds."""
    error = (0.05 * 0.95 / count) ** 0.5
    return (
        f"{count:,} test sets a row (seed {SEED}), groups of {SIZES[0]} to {SIZES[1]} samples, "
        f"{percent(PARAMS.confidence, 0)} confidence, {PARAMS.resamples:,} resamples.\n"
        f"The standard error of a share of 5% is {percent(error)}.\n\n"
        f"No true gain:\n\n{false_positives(count)}\n\n"
        f"The true gain is the smallest detectable one:\n\n{powers(count)}"
    )


def with_tables(page: str, name: str, text: str, module: str = "simulate") -> str:
    """Return the page with other tables between the two comments of this name.

    Raises:
        UserError: the page lacks one of them.
    """
    start, end = f"<!-- {name}: python -m stages.tools.{module} -->", f"<!-- end of {name} -->"
    pattern = rf"(?<={re.escape(start)}\n).*?(?={re.escape(end)})"
    if not re.search(pattern, page, re.DOTALL):
        raise UserError(f"{PAGE} must have the lines {start} and {end}")
    return re.sub(pattern, lambda _: f"\n{text}\n\n", page, flags=re.DOTALL)


def main() -> None:
    """Write the tables."""
    with exit_on_user_error("simulate"):
        page = PAGE.read_text(encoding="utf-8")
        for name, text in (("simulations", tables()), ("series", series_tables())):
            page = with_tables(page, name, text)
        write(PAGE, page)


if __name__ == "__main__":
    main()
