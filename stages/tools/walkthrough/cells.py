"""Pages whose Python blocks run: split into cells, executed, and written as Markdown or as a notebook.

A block between "```python" and "```" is a cell of code, as a notebook has them. Cells share one namespace;
what a cell prints, and the value of its last expression, is its output.
"""

import ast
import base64
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

_BLOCK = re.compile(r"^```python\n(.*?)\n```\n", re.MULTILINE | re.DOTALL)
# A notebook's working folder is its own, and the numeric libraries read their settings at import.
_SETUP = """\
import os
import sys
from pathlib import Path

folders = [Path.cwd(), *Path.cwd().parents]
os.chdir(next(folder for folder in folders if (folder / "params.yaml").exists()))
sys.path.insert(0, str(Path.cwd()))

from stages.core.runtime import pin_threads
from stages.kinds.params import load_params

pin_threads(load_params().runtime)"""


@runtime_checkable
class Picture(Protocol):
    """A value that is displayed as a picture."""

    @property
    def name(self) -> str:
        """Return the name of its file, without the suffix."""

    @property
    def text(self) -> str:
        """Return what it shows, for those who do not see it."""

    def _repr_png_(self) -> bytes: ...


@dataclass(frozen=True)
class Cell:
    """A part of a page: Python code, or else Markdown."""

    source: str
    is_code: bool


@dataclass(frozen=True)
class Output:
    """What a cell printed, and the picture that is the value of its last expression."""

    text: str = ""
    picture: Picture | None = None


def split_cells(page: str) -> list[Cell]:
    """Return the cells of a page in order; none is empty."""
    cells, start = [], 0
    for match in _BLOCK.finditer(page):
        cells += [Cell(page[start : match.start()].strip("\n"), is_code=False)]
        cells += [Cell(match[1], is_code=True)]
        start = match.end()
    cells.append(Cell(page[start:].strip("\n"), is_code=False))
    return [cell for cell in cells if cell.source]


def execute(cells: Iterable[Cell], namespace: dict[str, Any]) -> Iterator[Output]:
    """Run the cells of code one after another, and yield the output of each cell.

    Args:
        cells: of a page of the project: its code runs with all rights.
        namespace: in which they run; their names stay in it.
    """
    for number, cell in enumerate(cells, start=1):
        yield _run(cell.source, f"<cell {number}>", namespace) if cell.is_code else Output()


def _run(source: str, name: str, namespace: dict[str, Any]) -> Output:
    tree = ast.parse(source, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(tree, name, "exec"), namespace)  # noqa: S102 (the page is the project's own)
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)  # noqa: S307
        if value is not None and not isinstance(value, Picture):
            print(repr(value))
    return Output(printed.getvalue(), value if isinstance(value, Picture) else None)


def to_markdown(cells: Sequence[Cell], outputs: Sequence[Output], pictures: str) -> str:
    """Return a page with the output below each cell.

    Args:
        cells: of the page.
        outputs: of each cell.
        pictures: the folder of the pictures, as the page links to them.
    """
    parts = []
    for cell, output in zip(cells, outputs, strict=True):
        parts.append(f"```python\n{cell.source}\n```" if cell.is_code else cell.source)
        if output.text:
            parts.append(f"```text\n{output.text.rstrip()}\n```")
        if output.picture:
            parts.append(f"![{output.picture.text}]({pictures}/{output.picture.name}.png)")
    return "\n\n".join(parts) + "\n"


def to_notebook(cells: Sequence[Cell], outputs: Sequence[Output]) -> str:
    """Return a page as a Jupyter notebook (nbformat 4.5), with outputs.

    A first cell changes to the project's folder and pins threads, as `evidence` does before each command.
    """
    every = [
        (cells[0], outputs[0]),
        (Cell(_SETUP, is_code=True), Output()),
        *zip(cells[1:], outputs[1:], strict=True),
    ]
    numbers = iter(range(1, len(every) + 1))
    notebook = {
        "cells": [
            {
                "cell_type": "code" if cell.is_code else "markdown",
                "id": f"cell-{index}",
                "metadata": {},
                "source": cell.source.splitlines(keepends=True),
                **(_code_fields(next(numbers), output) if cell.is_code else {}),
            }
            for index, (cell, output) in enumerate(every, start=1)
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _code_fields(number: int, output: Output) -> dict[str, Any]:
    outputs: list[dict[str, Any]] = []
    if output.text:
        lines = output.text.splitlines(keepends=True)
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines})
    if output.picture:
        png = base64.b64encode(output.picture._repr_png_()).decode()
        outputs.append(
            {
                "output_type": "execute_result",
                "execution_count": number,
                "data": {"image/png": png, "text/plain": [f"<picture: {output.picture.text}>"]},
                "metadata": {},
            }
        )
    return {"execution_count": number, "outputs": outputs}
