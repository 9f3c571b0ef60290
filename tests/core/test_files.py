"""Files are written atomically, in the same bytes; missing and damaged files are named."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import ROOT

from stages.core.control_characters import CONTROLS, escape_controls
from stages.core.errors import USER_ERROR_STATUS, UserError
from stages.core.files import (
    atomic_writer,
    read_arrays,
    read_csv,
    read_json,
    round_floats,
    sha256,
    to_csv,
    to_json,
    write,
    write_all,
)

OLD = b"the earlier content\n"
READERS: dict[str, Callable[[Path], Any]] = {
    ".json": read_json,
    ".csv": read_csv,
    ".safetensors": read_arrays,
}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e9, 1e9)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def make_old(folder: Path, name: str = "result.json") -> Path:
    path = folder / name
    path.write_bytes(OLD)
    return path


def fail_half_way(path: Path, error: type[BaseException]) -> None:
    with atomic_writer(path) as file:
        file.write(b"half of" * 100_000)
        raise error("half way")


def assert_unchanged(path: Path) -> None:
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError, OSError])
def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = make_old(tmp_path)
    with pytest.raises(error):
        fail_half_way(path, error)
    assert_unchanged(path)


def test_a_failed_write_makes_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half"):
        fail_half_way(tmp_path / "new.json", ValueError)
    assert list(tmp_path.iterdir()) == []


def test_the_old_content_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = make_old(tmp_path)
    with atomic_writer(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == OLD
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_open_reader_keeps_the_old_content(tmp_path: Path) -> None:
    path = make_old(tmp_path)
    with path.open("rb") as reader:
        write(path, "new")
        assert reader.read() == OLD
    assert path.read_bytes() == b"new"


def test_a_writer_may_seek(tmp_path: Path) -> None:
    with atomic_writer(tmp_path / "array.npy") as file:
        file.write(b"....content")
        file.seek(0)
        file.write(b"head")
    assert (tmp_path / "array.npy").read_bytes() == b"headcontent"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write(tmp_path / "a" / "deep" / "folder.txt", "text\n")
    write_all(tmp_path / "second", {"a.json": [1], "b.txt": "é\n"})
    assert (tmp_path / "a" / "deep" / "folder.txt").read_bytes() == b"text\n"
    assert (tmp_path / "second" / "a.json").read_bytes() == b"[\n  1\n]\n"
    assert (tmp_path / "second" / "b.txt").read_bytes() == "é\n".encode()


def test_an_error_of_the_operating_system_names_the_target(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    (path / "a folder at its path").mkdir(parents=True)
    with pytest.raises(OSError, match=r"result\.json") as raised:
        write(path, [1])
    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", "[0] * 100_000"),
        ("model.safetensors", "{'a': __import__('numpy').zeros(100_000)}"),
    ],
)
def test_on_a_full_disk_a_command_prints_one_line_and_the_old_file_stays(
    tmp_path: Path, name: str, content: str
) -> None:
    path = make_old(tmp_path, name)
    # The operating system stops the write: no file of this process may exceed 10 kB.
    command = f"""
import resource, sys
from pathlib import Path
from stages.core.files import write
from stages.core.errors import exit_on_user_error
content = {content}
__import__("safetensors.numpy")
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
with exit_on_user_error("train@image"):
    write(Path(sys.argv[1]), content)
print("went on")
"""
    done = subprocess.run(
        [
            sys.executable,
            "-B",
            "-c",
            command,
            path,
        ],  # -B: bytecode would be cut off at the limit too
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == USER_ERROR_STATUS == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"train@image: no space to write {path} (")
    assert_unchanged(path)


def test_the_next_write_deletes_what_a_killed_process_left(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", "pass"])
    killed.wait()
    running = tmp_path / f".table.csv.{os.getppid()}"
    for file in (tmp_path / f".table.csv.{killed.pid}", running, tmp_path / ".table.csv.9x"):
        file.touch()
    other = tmp_path / f".other.csv.{killed.pid}"
    other.touch()
    write(tmp_path / "table.csv", "a\n")
    expected = {"table.csv", running.name, ".table.csv.9x", other.name}
    assert {file.name for file in tmp_path.iterdir()} == expected


def test_json_is_sorted_rounded_and_ends_in_a_newline() -> None:
    content = {"z": 1, "a": {"c": 0.12345678, "b": [1 / 3, 2.0]}, "é": None, "m": True}
    assert to_json(content).decode() == (
        '{\n  "a": {\n    "b": [\n      0.333333,\n      2.0\n    ],\n    "c": 0.123457\n  },\n'
        '  "m": true,\n  "z": 1,\n  "é": null\n}\n'
    )


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    content = [np.float32(0.1), np.float64(0.1), np.int64(3), np.bool_(True), (1, 2)]
    assert json.loads(to_json(content)) == [0.1, 0.1, 3, True, [1, 2]]


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_json_is_deterministic_and_can_be_read_back(
    content: dict[str, Any],
) -> None:
    written = to_json(content)
    assert to_json(dict(reversed(content.items()))) == written
    read = json.loads(written)
    assert read == round_floats(content)
    assert to_json(read) == written
    assert written.endswith(b"\n")


@settings(max_examples=40, deadline=None)
@given(st.floats(-1e6, 1e6))
def test_rounding_changes_a_value_by_half_a_millionth_at_most(value: float) -> None:
    rounded = round_floats({"a": [value]})["a"][0]
    assert abs(rounded - value) <= 0.5e-6 + 1e-9
    assert round_floats(rounded) == rounded


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), np.float32("nan"), np.float64("inf")]
)
def test_a_value_that_is_not_finite_is_rejected_and_nothing_is_written(
    tmp_path: Path, value: float
) -> None:
    path = make_old(tmp_path)
    with pytest.raises(UserError, match="finite"):
        write(path, {"metrics": [{"accuracy": value}]})
    assert_unchanged(path)


def test_csv_has_six_digits_and_lines_that_end_in_a_newline() -> None:
    table = pd.DataFrame({"id": ["a", "é,b"], "share": [1 / 3, 2.0], "count": [1, 2]})
    assert to_csv(table).decode() == 'id,share,count\na,0.333333,1\n"é,b",2.000000,2\n'


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))))
def test_text_survives_csv(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "table.csv"
    write(path, pd.DataFrame({"number": range(len(texts)), "text": texts}))
    shown = [escape_controls(text) for text in texts]
    assert read_csv(path, dtype={"text": str})["text"].tolist() == shown


def test_control_characters_are_written_as_escapes(tmp_path: Path) -> None:
    texts = ["\x1b]0;title\a", "\x9b31m", "a\u202eb", "two\nlines\tkept", "caf\u00e9"]
    write(tmp_path / "table.csv", pd.DataFrame({"text": texts, "\x1b[2J": 1}))
    content = (tmp_path / "table.csv").read_text(encoding="utf-8")
    assert not CONTROLS.search(content)
    table = read_csv(tmp_path / "table.csv")
    assert list(table.columns) == ["text", r"\x1b[2J"]
    assert table["text"].tolist() == [
        r"\x1b]0;title\x07",
        r"\x9b31m",
        r"a\u202eb",
        "two\nlines\tkept",
        "caf\u00e9",
    ]
    before = content.encode()
    write(tmp_path / "table.csv", table)
    assert (tmp_path / "table.csv").read_bytes() == before


def test_cells_that_look_like_missing_values_stay_text(tmp_path: Path) -> None:
    texts = ["NA", "nan", "null", "None", "", "N/A"]
    write(tmp_path / "table.csv", pd.DataFrame({"n": range(6), "class": texts}))
    assert read_csv(tmp_path / "table.csv")["class"].tolist() == texts


def test_arrays_survive_safetensors(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "transposed": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "strided": np.arange(10)[::2],
        "empty": np.empty((0, 3), dtype=np.float64),
    }
    write(tmp_path / "a.safetensors", arrays)
    restored = read_arrays(tmp_path / "a.safetensors")
    assert set(restored) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(restored[name], array)
        assert restored[name].dtype == array.dtype


def test_arrays_give_the_same_bytes_whatever_their_layout(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    write(tmp_path / "a.safetensors", {"x": array})
    write(tmp_path / "b.safetensors", {"x": np.asfortranarray(array)})
    assert sha256(tmp_path / "a.safetensors") == sha256(tmp_path / "b.safetensors")


@pytest.mark.parametrize("suffix", READERS)
def test_a_missing_file_is_named(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UserError, match=rf"gone\{suffix} is missing.*dvc repro"):
        READERS[suffix](tmp_path / f"gone{suffix}")


def damaged_files() -> list[tuple[str, bytes]]:
    half: bytes = to_json({"a": [1, 2, 3]})[:-4]
    return [
        ("empty.json", b""),
        ("half.json", half),
        ("binary.json", b"\xff\xfe\x00\x01"),
        ("empty.csv", b""),
        ("binary.csv", b"id,label\n\xff\xfe,1\n"),
        ("ragged.csv", b"id,label\na,1\nb,1,2,3\n"),
        ("unclosed.csv", b'id,label\n"a,1\nb,2\n'),
        ("empty.safetensors", b""),
        ("text.safetensors", b"no tensors at all, just text"),
        ("zeros.safetensors", bytes(64)),
    ]


@pytest.mark.parametrize(("name", "data"), damaged_files())
def test_a_damaged_file_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=rf"(?s){name} is damaged .*dvc repro"):
        READERS[Path(name).suffix](tmp_path / name)


@pytest.mark.parametrize("length", [4, 30, -1])
def test_truncated_arrays_are_named(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.safetensors"
    write(path, {"weight": np.ones((4, 4), dtype=np.float32)})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        read_arrays(path)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    assert sha256(make_old(tmp_path)) == hashlib.sha256(OLD).hexdigest()


def test_a_file_name_that_is_not_text_can_be_written() -> None:
    assert json.loads(to_json({"id": "bad-\udcff.png"})) == {"id": "bad-\udcff.png"}


def test_rounding_noise_leaves_no_negative_zero() -> None:
    assert b"-0.0" not in to_json([-1e-9])
    assert b"-0.0" not in to_csv(pd.DataFrame({"x": [-1e-9]}))


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "-1+cmd|' /C calc'!A0", "\tx", "+", "'=x"])
def test_text_that_a_spreadsheet_would_run_is_escaped(text: str) -> None:
    cell = to_csv(pd.DataFrame({"text": [text]})).decode().split("\n", 1)[1].strip('"\n')
    assert cell.startswith("'")


@pytest.mark.parametrize("text", ["-3", "+4.5", "it's", "plain", "-.5"])
def test_numbers_and_plain_text_are_written_as_they_are(text: str) -> None:
    assert to_csv(pd.DataFrame({"text": [text]})).decode() == f"text\n{text}\n"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text("'=+-@\tab1. \n,\""), min_size=1))
def test_escaped_text_survives_csv(tmp_path_factory: Any, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    write(path, pd.DataFrame({"text": texts, "more": "x"}))
    assert read_csv(path, dtype=str)["text"].tolist() == texts
