"""The flags of `evidence compare`: columns of tables, params of the tests, outputs."""

import argparse
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier
    from stages.evaluation.prediction_columns import ColumnNames

# Of the tests, where neither a flag nor a pack says otherwise.
DEFAULTS: Mapping[str, Any] = {
    "metric": "accuracy",
    "confidence": 0.95,
    "resamples": 10_000,
    "seed": 0,
    "bins": 10,
    "worthwhile_gain": 0.02,
    "assumed_regressions": 0.02,
    "equivalence_margin": None,
}
_COLUMNS = {
    "id": "names the sample; none: rows in the same order are the same samples",
    "label": "the true class",
    "prediction": "the predicted class",
    "correct": "whether the prediction is right (1 or 0), in the place of label and prediction",
    "group": "of samples that are not independent: patient, writer, document; none: independent",
    "probability": "'p_{}', where {} stands for the class; of two classes also CLASS=COLUMN, or the "
    "column of the predicted class's probability; none",
    "loss": "negative log probability of the true class in nats, in the place of probabilities",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="REV|TABLE",
        help="two tables, one table, two revisions, one, or none (baseline)",
    )
    columns = parser.add_argument_group(
        "columns of tables",
        "Usual headings need no flag. A flag that is given twice names the column of A, then that of B.",
    )
    for name, text in _COLUMNS.items():
        columns.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=text)
    columns.add_argument(
        "--separator",
        choices=("comma", "semicolon", "tab"),
        help="between cells (default: detected)",
    )
    columns.add_argument(
        "--common", action="store_true", help="leave out samples that only one table has"
    )
    tests = parser.add_argument_group("tests (of revisions, the defaults are the task's params)")
    tests.add_argument("--metric", help="accuracy (default), balanced_accuracy or macro_f1")
    tests.add_argument(
        "--confidence",
        type=float,
        metavar="LEVEL",
        help=f"of intervals and test ({DEFAULTS['confidence']})",
    )
    tests.add_argument(
        "--margin",
        type=float,
        dest="equivalence_margin",
        metavar="GAIN",
        help="equivalent: the interval of the gain lies within plus or minus this (0.01: 1 point)",
    )
    tests.add_argument(
        "--worthwhile-gain",
        type=float,
        metavar="GAIN",
        help=f"that the samples should show ({DEFAULTS['worthwhile_gain']})",
    )
    tests.add_argument(
        "--assumed-regressions",
        type=float,
        metavar="SHARE",
        help="of samples that a better B breaks, for the smallest detectable gain "
        f"({DEFAULTS['assumed_regressions']})",
    )
    tests.add_argument(
        "--resamples", type=int, metavar="N", help=f"of the bootstrap ({DEFAULTS['resamples']})"
    )
    tests.add_argument("--seed", type=int, help=f"of the bootstrap ({DEFAULTS['seed']})")
    _add_outputs(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument(
        "--json", metavar="FILE.json", help="write all figures; -: print only these"
    )
    outputs.add_argument("--figure", metavar="FILE.svg", help="draw scores and gains")
    outputs.add_argument(
        "--html",
        metavar="FILE.html",
        help="of two revisions: a page of what changes, with the samples fixed and broken",
    )
    outputs.add_argument(
        "--markdown",
        metavar="FILE.md",
        help="of two revisions: the same in short, for a pull request",
    )


def make_params(arguments: argparse.Namespace, defaults: Mapping[str, Any]) -> "EvaluateClassifier":
    """Return the params of the tests: those of the flags, otherwise the defaults.

    Raises:
        UserError: one is out of range.
    """
    from pydantic import ValidationError

    from stages.core.schema import EvaluateClassifier

    flags = {name: getattr(arguments, name, None) for name in DEFAULTS}
    values = {**DEFAULTS, **defaults, **{k: v for k, v in flags.items() if v is not None}}
    try:
        return EvaluateClassifier(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        allowed = first["msg"].replace("Input should be", "must be")
        raise UserError(f"{_flag(name)}: given {first['input']!r}; {allowed}") from None


def column_names(arguments: argparse.Namespace) -> tuple["ColumnNames", "ColumnNames"]:
    """Return the columns of the tables A and B.

    Raises:
        UserError: a flag is given three times, or contradicts another one.
    """
    from stages.evaluation.prediction_columns import ColumnNames

    flags = {name: getattr(arguments, name) for name in _COLUMNS}
    for name, values in flags.items():
        if len(values) > 2:  # noqa: PLR2004
            raise UserError(
                f"--{name}: given {len(values)} times; one names the column of both tables, two A's and B's"
            )
    for names in (("correct", "label"), ("correct", "prediction"), ("loss", "probability")):
        if all(flags[name] for name in names):
            raise UserError(f"--{names[0]} takes the place of --{names[1]}; give one of them")
    first, second = (
        ColumnNames(**{name: values[index] for name, values in flags.items() if values})
        for index in (0, -1)
    )
    return first, second


def require_no_columns(arguments: argparse.Namespace) -> None:
    """Require that no flag is given that is for tables only.

    Raises:
        UserError: one is.
    """
    _require_none(arguments, (*_COLUMNS, "separator", "common"), "two tables")


def require_no_tests(arguments: argparse.Namespace) -> None:
    """Require that no flag is given that is for tests and their outputs.

    Raises:
        UserError: one is.
    """
    names = ("json", "figure", "html", "markdown", *(name for name in DEFAULTS if name != "bins"))
    _require_none(arguments, names, "two tables or two revisions")


def require_no_pages(arguments: argparse.Namespace) -> None:
    """Require that no output is given that is for revisions only.

    Raises:
        UserError: one is.
    """
    _require_none(arguments, ("html", "markdown"), "two revisions")


def _require_none(arguments: argparse.Namespace, names: Iterable[str], inputs: str) -> None:
    for name in names:
        if getattr(arguments, name) not in (None, False, []):
            raise UserError(f"{_flag(name)} is for {inputs}; give these")


def _flag(name: str) -> str:
    return "--margin" if name == "equivalence_margin" else f"--{name.replace('_', '-')}"
