"""Predict the class of new inputs with the model of the primary seed.

In a terminal each input gets a few labelled lines: the three most probable classes, of texts the words that
contributed most, and a warning where the input is unlike the training data, by its distance to the nearest
training sample. In a pipe it gets one line, its columns separated by tabs: the input, the predicted class,
the confidence in it, what else is known, and the warning. A generator has no classes to predict: its
reference classifier predicts, followed by the nearest training image, the distance to it and whether that
is close.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stages.kinds.prediction import Prediction

_CLASSES = 3  # that are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("task", help="a task of params.yaml")
    parser.add_argument("input", nargs="+", help="image files; of a text task: texts, in quotes")
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(arguments: argparse.Namespace) -> None:
    """Print the predictions."""
    from stages.core.files import to_json
    from stages.core.runtime import pin_threads
    from stages.kinds.params import load_params, load_tasks, select_task

    params = load_params()
    pin_threads(params.runtime)
    task = select_task(load_tasks(params), arguments.task)
    predictions: Iterable[Prediction] = task.module("predict").predict(task, arguments.input)
    if arguments.json:
        print(to_json([as_json(prediction) for prediction in predictions]).decode(), end="")
        return
    for prediction in predictions:
        if sys.stdout.isatty():
            print("\n".join(labelled_lines(prediction)))
        else:
            print(tabbed_line(prediction))


def labelled_lines(prediction: "Prediction") -> list[str]:
    """Return a prediction as lines for a reader."""
    from stages.core.errors import printable
    from stages.tools.text_tables import align

    first, *runners_up = (
        f"{name} ({probability:.1%})" for name, probability in prediction.ranked()[:_CLASSES]
    )
    rows = [("class", first)]
    rows += [("then", ", ".join(runners_up))] if runners_up else []
    rows += prediction.details.items()
    rows += [("warning", prediction.warning)] if prediction.warning else []
    return [printable(prediction.input), *(f"  {line}" for line in align(rows, 2))]


def tabbed_line(prediction: "Prediction") -> str:
    """Return a prediction as a line of cells separated by tabs."""
    from stages.core.errors import printable

    name, confidence = prediction.ranked()[0]
    cells = [prediction.input, name, f"{confidence:.3f}", *prediction.details.values()]
    return "\t".join(map(printable, [*cells, prediction.warning]))


def as_json(prediction: "Prediction") -> dict[str, Any]:
    """Return a prediction as JSON."""
    ranked = prediction.ranked()
    return {
        "input": prediction.input,
        "class": ranked[0][0],
        "confidence": ranked[0][1],
        "classes": [
            {"class": name, "probability": probability} for name, probability in ranked[:_CLASSES]
        ],
        "details": dict(prediction.details),
        "warning": prediction.warning,
    }
