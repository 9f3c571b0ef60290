"""Pages whose Python blocks run: what is a cell, what it outputs, and the notebook of the same cells."""

import base64
import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.tools.walkthrough.cells import (
    Cell,
    Output,
    execute,
    split_cells,
    to_markdown,
    to_notebook,
)

PAGE = """\
# Title

```python
count = 2
print("two:", count)
```

Text with `code`.

```text
no cell
```

```python
count + 1
```
"""
PNG = b"\x89PNG\r\n\x1a\n-not-really-a-picture"


@dataclass(frozen=True)
class Dot:
    name: str = "dot"
    text: str = "a dot"

    def _repr_png_(self) -> bytes:
        return PNG


def run(*sources: str) -> tuple[list[Output], dict[str, Any]]:
    names: dict[str, Any] = {"Dot": Dot}
    return list(execute([Cell(source, is_code=True) for source in sources], names)), names


def test_only_python_blocks_are_code() -> None:
    cells = split_cells(PAGE)
    assert [cell.is_code for cell in cells] == [False, True, False, True]
    assert cells[1].source == 'count = 2\nprint("two:", count)'
    assert cells[2].source == "Text with `code`.\n\n```text\nno cell\n```"


LINES = st.text(st.characters(categories=("L", "N", "P"), exclude_characters="`"), min_size=1)
CELLS = st.lists(st.builds(Cell, LINES, st.booleans()), min_size=1).filter(
    lambda cells: all(
        a.is_code or b.is_code for a, b in pairwise(cells)
    )  # neighbouring texts are one
)


@settings(max_examples=25, deadline=None)
@given(CELLS)
def test_a_page_without_outputs_has_the_same_cells_again(cells: list[Cell]) -> None:
    page = to_markdown(cells, [Output()] * len(cells), "pictures")
    assert split_cells(page) == cells


def test_a_cell_outputs_what_it_prints_and_the_value_of_its_last_expression() -> None:
    outputs, names = run(
        "x = 3\nprint('x is', x)", "x + 1", "x = 5", "print(x)\nDot()", "Dot().name"
    )
    assert [output.text for output in outputs] == ["x is 3\n", "4\n", "", "5\n", "'dot'\n"]
    pictures: list[object] = [output.picture for output in outputs]
    assert pictures == [None, None, None, Dot(), None]
    assert names["x"] == 5


def test_an_error_names_the_cell() -> None:
    with pytest.raises(ZeroDivisionError) as error:
        run("x = 1", "x / 0")
    assert error.traceback[-1].frame.code.raw.co_filename == "<cell 2>"


def test_outputs_stand_below_their_cell_in_the_page() -> None:
    cells = split_cells("```python\nDot()\n```\n\nEnd.\n")
    page = to_markdown(cells, [Output("said\n", Dot()), Output()], "dots")
    assert page == "```python\nDot()\n```\n\n```text\nsaid\n```\n\n![a dot](dots/dot.png)\n\nEnd.\n"


def test_the_notebook_has_the_fields_of_nbformat_4_5() -> None:
    cells = split_cells(PAGE)
    outputs = [Output(), Output("two: 2\n"), Output(), Output("3\n", Dot())]
    notebook = json.loads(to_notebook(cells, outputs))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    kinds = [cell["cell_type"] for cell in notebook["cells"]]
    assert kinds == ["markdown", "code", "code", "markdown", "code"]  # the second is the setup
    assert len({cell["id"] for cell in notebook["cells"]}) == len(kinds)
    for cell in notebook["cells"]:
        fields = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            fields |= {"execution_count", "outputs"}
        assert set(cell) == fields
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert [*sources[:1], *sources[2:]] == [cell.source for cell in cells]
    stream, result = notebook["cells"][-1]["outputs"]
    assert stream == {"output_type": "stream", "name": "stdout", "text": ["3\n"]}
    assert result["output_type"] == "execute_result"
    assert result["execution_count"] == notebook["cells"][-1]["execution_count"] == 3
    assert base64.b64decode(result["data"]["image/png"]) == PNG
