"""Reading and writing: always whole files, always the same bytes for the same content."""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Arrays = Mapping[str, np.ndarray]
    Content = str | bytes | pd.DataFrame | Arrays | Mapping[str, Any] | list[Any]

DIGITS = 6
SMALLEST = 10.0**-DIGITS  # the smallest figure that is not written as 0


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that takes its name once it is whole.

    Raises:
        OSError: as the system says, with `filename` set; the temporary file is gone then, and what
            lay at `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        scratch.unlink(missing_ok=True)


def rounded(value: Any) -> Any:
    """Return `value` with every float in it rounded to 6 digits after the point.

    Raises:
        Refusal: a float is not finite: JSON has no word for it, and no claim rests on it.
    """
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refusal(f"a result is {value}; every figure must be finite")
        return round(value, DIGITS) + 0.0  # no negative zero
    return value


def as_json(content: Mapping[str, Any] | list[Any]) -> bytes:
    """Return `content` as JSON: keys sorted, floats rounded, a newline at the end."""
    text = json.dumps(rounded(content), indent=2, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode("utf-8", "backslashreplace")


# What a spreadsheet would run as a formula, unless it is a plain number; and what such text becomes.
_FORMULA = r"(?![+-]?\d*\.?\d+$)'*[=+\-@\t\r]"
_GUARDED = r"'(?='*[=+\-@\t\r])"


def as_csv(table: "pd.DataFrame") -> bytes:
    """Return `table` as CSV without its index, floats with 6 digits, lines ending in a newline.

    Text that a spreadsheet would run as a formula gets an apostrophe in front, as spreadsheets
    write it themselves; `read_csv` takes it off again.
    """
    floats = table.select_dtypes("float64")
    table = table.assign(
        **{str(name): column.round(DIGITS) + 0.0 for name, column in floats.items()},
        **{str(name): _guarded(column) for name, column in _texts(table)},
    ).rename(columns=lambda name: f"'{name}" if re.match(_FORMULA, str(name)) else name)
    text: str = table.to_csv(index=False, float_format=f"%.{DIGITS}f", lineterminator="\n")
    return text.encode("utf-8", "backslashreplace")


def _texts(table: "pd.DataFrame") -> "Iterator[tuple[Any, pd.Series[Any]]]":
    from pandas.api.types import is_string_dtype

    return ((name, table[name]) for name in table.columns if is_string_dtype(table[name]))


def _guarded(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.mask(column.str.match(_FORMULA), "'" + column)


def _as_safetensors(arrays: "Arrays") -> bytes:
    import numpy as np
    from safetensors.numpy import save

    return save({name: np.require(array, requirements="C") for name, array in arrays.items()})


_FORMATS: dict[str, Callable[[Any], bytes]] = {
    ".json": as_json,
    ".csv": as_csv,
    ".safetensors": _as_safetensors,
}


def write(path: Path, content: "Content") -> None:
    """Write `content` whole: text and bytes as they are, anything else as `path`'s ending says."""
    if isinstance(content, str):
        data = content.encode("utf-8", "backslashreplace")
    elif isinstance(content, bytes):
        data = content
    else:
        data = _FORMATS[path.suffix](content)
    with writing(path) as file:
        file.write(data)


def write_all(folder: Path, contents: "Mapping[str, Content]") -> None:
    """Write each of `contents` (name: content) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write(folder / name, content)


def read_json(path: Path) -> Any:
    """Return what the JSON file `path` holds.

    Raises:
        Refusal: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"{path} is missing; make it with `dvc repro`") from None
    except ValueError as error:
        raise Refusal(f"{path} is damaged ({error}); make it again with `dvc repro`") from None


def read_csv(path: Path, **options: Any) -> "pd.DataFrame":
    """Return the table in the CSV file `path`; empty cells stay empty text.

    Raises:
        Refusal: it is missing or not a table.
    """
    import pandas as pd

    try:
        table: pd.DataFrame = pd.read_csv(path, keep_default_na=False, encoding="utf-8", **options)
    except FileNotFoundError:
        raise Refusal(f"{path} is missing; make it with `dvc repro`") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise Refusal(f"{path} is damaged ({error}); make it again with `dvc repro`") from None
    table = table.rename(columns=lambda name: re.sub(f"^{_GUARDED}", "", name))
    for name, column in _texts(table):
        guarded = column.str.match(_GUARDED)
        if guarded.any():
            table[name] = column.mask(guarded, column.str[1:])
    return table


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """Return the named arrays in the safetensors file `path`.

    Raises:
        Refusal: it is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise Refusal(f"{path} is missing; make it with `dvc repro`") from None
    except SafetensorError as error:
        raise Refusal(f"{path} is damaged ({error}); make it again with `dvc repro`") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file `path` as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
