"""Params: check params.yaml whole, before anything else is touched.

`python -m stages.params` is the pipeline's first stage, and every other one comes after it: so a
wrong params.yaml stops `dvc repro` before DVC removes a single output. What it writes never
changes, so a change of params re-runs only the stages that use it.
"""

import difflib
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from stages.shared.files import write
from stages.shared.refusal import Refusal, refusing
from stages.shared.schema import Params
from stages.shared.strict_yaml import read_yaml

FILE = Path("params.yaml")
_SHOWN = 120
SOUND = Path("data/params/sound.txt")


def load(path: Path | None = None) -> Params:
    """Return the checked params.

    Raises:
        Refusal: the file is missing, is not YAML, or holds an unknown, missing, mistyped or
            out-of-range key; the line names the file, the key, what was given, what is allowed and,
            for an unknown key, the nearest known one.
    """
    path = path or FILE
    return checked(read_yaml(path), path)


def checked(values: Any, path: Path) -> Params:
    """Return `values`, as read from `path`, as checked params.

    Raises:
        Refusal: as `load`, but for the file itself.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise Refusal(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """Return one line on the first thing that is wrong, and how many more there are."""
    # A misspelt key is both unknown and missing: the unknown one says more.
    first = min(
        error.errors(), key=lambda found: found["type"] not in {"extra_forbidden", "invalid_key"}
    )
    where = ".".join(str(part) for part in first["loc"]) or "the whole file"
    line = f"{where}: {_sentence(first)}"
    more = error.error_count() - 1
    return f"{line} (and {more} more)" if more else line


def _sentence(error: Any) -> str:
    kind: str = error["type"]
    given: object = error["input"]
    if kind == "missing":
        return "this key is missing; add it (params.yaml in git shows its default)"
    if kind == "extra_forbidden":
        known = _keys(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0)
        nearest = f"; the nearest known key is {near[0]!r}" if near else ""
        return f"unknown key{nearest} (known: {', '.join(known)})"
    allowed: str = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if kind in {"model_type", "model_attributes_type"}:
        return "must be a section with keys of its own"
    if not isinstance(given, dict):
        shown = repr(given)
        allowed = f"given {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'}; {allowed}"
    if isinstance(given, str) and re.fullmatch(r"[-+]?[\d.]+e[-+]?\d+", given, re.IGNORECASE):
        allowed += " (YAML reads this as text: write it as 0.001, or 1.0e-3)"
    return allowed


def _keys(loc: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Params
    for part in loc:
        field = model.model_fields[part].annotation
        if not (isinstance(field, type) and issubclass(field, BaseModel)):
            return []
        model = field
    return list(model.model_fields)


def look_at_sources(params: Params) -> None:
    """Look whether each task's raw data are there, without reading them.

    Raises:
        Refusal: a folder or file is missing, is no folder or file, or is empty.
    """
    sentiment = params.sentiment.prepare
    for task, given in (("image", params.image.prepare), ("generative", params.generative.prepare)):
        download = given.source == "torchvision"
        _look(task, given.path, given.source, download=download, folder=True)
    # The workshop draws its images itself.
    _look("sentiment", sentiment.path, sentiment.source, download=False, folder=False)


def _look(task: str, given: str, source: str, *, download: bool, folder: bool) -> None:
    where = f"{FILE}: {task}.prepare.path: given {given!r}"
    kind = "folder" if folder else "file"
    try:
        path = Path(given)
        if download:
            path.mkdir(parents=True, exist_ok=True)
            return
        if not (path.is_dir() if folder else path.is_file()):
            raise Refusal(f"{where}; must be a {kind} that is there (source: {source})")
        if not (any(path.iterdir()) if folder else path.stat().st_size):
            raise Refusal(f"{where}; the {kind} is empty (source: {source})")
    except (OSError, RuntimeError, ValueError) as error:  # no such user, no right, a NUL in it
        raise Refusal(f"{where}; cannot be used ({error})") from None


def main() -> None:
    """Check params.yaml and whether the raw data that it names are there."""
    with refusing("params"):
        look_at_sources(load())
        write(SOUND, "Every key of params.yaml is known, and its value allowed.\n")


if __name__ == "__main__":
    main()
