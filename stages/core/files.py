"""Reading and writing files: atomically, and with the same bytes for the same content."""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from stages.core.control_characters import CONTROLS, escape_controls
from stages.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Arrays = Mapping[str, np.ndarray]
    Content = str | bytes | pd.DataFrame | Arrays | Mapping[str, Any] | list[Any]

DIGITS = 6
SMALLEST_FIGURE = 10.0**-DIGITS  # smaller values may be written as 0


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` that replaces `path` when the block ends without an error.

    Temporary files of `path` that killed processes have left behind are deleted.

    Raises:
        OSError: of the operating system, with `filename` set. After any error the temporary file is
            deleted and `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _delete_abandoned(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _delete_abandoned(path: Path) -> None:
    prefix = f".{path.name}."
    for file in path.parent.iterdir():
        process = file.name.removeprefix(prefix)
        if process != file.name and process.isdecimal() and not _is_running(int(process)):
            file.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def round_floats(value: Any) -> Any:
    """Return `value` with every float in it rounded to 6 digits after the point.

    Raises:
        UserError: a float is not finite, which JSON cannot represent.
    """
    if isinstance(value, Mapping):
        return {str(key): round_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [round_floats(item) for item in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"a result is {value}; every value must be finite")
        return round(value, DIGITS) + 0.0  # no negative zero
    return value


def to_json(content: Mapping[str, Any] | list[Any]) -> bytes:
    """Return `content` as JSON: keys sorted, floats rounded, a newline at the end."""
    text = json.dumps(round_floats(content), indent=2, sort_keys=True, ensure_ascii=False)
    return (text + "\n").encode("utf-8", "backslashreplace")


# Text that a spreadsheet would run as a formula (numbers excepted), and the same text escaped.
_FORMULA = r"(?![+-]?\d*\.?\d+$)'*[=+\-@\t\r]"
_ESCAPED = r"'(?='*[=+\-@\t\r])"


def to_csv(table: "pd.DataFrame") -> bytes:
    """Return `table` as CSV without its index, floats with 6 digits, lines ending in a newline.

    Text that a spreadsheet would run as a formula is escaped with a leading apostrophe, as
    spreadsheets do; `read_csv` removes it. Control characters, which a terminal would obey, are written
    as escapes and stay so.
    """
    floats = table.select_dtypes("float64")
    table = table.assign(
        **{str(name): column.round(DIGITS) + 0.0 for name, column in floats.items()},
        **{str(name): _escape_text(column) for name, column in _text_columns(table)},
    ).rename(columns=_escape_heading)
    text: str = table.to_csv(index=False, float_format=f"%.{DIGITS}f", lineterminator="\n")
    return text.encode("utf-8", "backslashreplace")


def _text_columns(table: "pd.DataFrame") -> "Iterator[tuple[Any, pd.Series[Any]]]":
    from pandas.api.types import is_string_dtype

    return ((name, table[name]) for name in table.columns if is_string_dtype(table[name]))


def _escape_heading(name: Any) -> Any:
    if isinstance(name, str):
        name = escape_controls(name)
    return f"'{name}" if re.match(_FORMULA, str(name)) else name


def _escape_text(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if column.str.contains(CONTROLS).any():
        column = column.map(escape_controls, na_action="ignore")
    return column.mask(column.str.match(_FORMULA), "'" + column)


def _as_safetensors(arrays: "Arrays") -> bytes:
    import numpy as np
    from safetensors.numpy import save

    return save({name: np.require(array, requirements="C") for name, array in arrays.items()})


_FORMATS: dict[str, Callable[[Any], bytes]] = {
    ".json": to_json,
    ".csv": to_csv,
    ".safetensors": _as_safetensors,
}


def to_bytes(path: Path | str, content: "Content") -> bytes:
    """Return `content` as bytes; what is neither text nor bytes in the format of `path`'s suffix."""
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace")
    if isinstance(content, bytes):
        return content
    return _FORMATS[Path(path).suffix](content)


def write(path: Path, content: "Content") -> None:
    """Write `content` to `path` atomically, in the format of its suffix."""
    data = to_bytes(path, content)
    with atomic_writer(path) as file:
        file.write(data)


def write_all(folder: Path, contents: "Mapping[str, Content]") -> None:
    """Write each of `contents` (name: content) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write(folder / name, content)


def read_json(path: Path) -> Any:
    """Return the content of the JSON file `path`.

    Raises:
        UserError: it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; make it with `dvc repro`") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); make it again with `dvc repro`") from None


def read_csv(path: Path, **options: Any) -> "pd.DataFrame":
    """Return the table in the CSV file `path`; empty cells stay empty text.

    Raises:
        UserError: it is missing or not a table.
    """
    import pandas as pd

    try:
        table: pd.DataFrame = pd.read_csv(path, keep_default_na=False, encoding="utf-8", **options)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; make it with `dvc repro`") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path} is damaged ({error}); make it again with `dvc repro`") from None
    table = table.rename(columns=lambda name: re.sub(f"^{_ESCAPED}", "", name))
    for name, column in _text_columns(table):
        escaped = column.str.match(_ESCAPED)
        if escaped.any():
            table[name] = column.mask(escaped, column.str[1:])
    return table


def read_arrays(path: Path) -> "dict[str, np.ndarray]":
    """Return the named arrays in the safetensors file `path`.

    Raises:
        UserError: it is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; make it with `dvc repro`") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); make it again with `dvc repro`") from None


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file `path` as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
