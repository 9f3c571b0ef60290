"""Files are written whole or not at all, in the same bytes; what cannot be used is refused."""

import errno
import hashlib
import json
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

from stages.shared.files import (
    as_csv,
    as_json,
    read_arrays,
    read_csv,
    read_json,
    rounded,
    sha256,
    write,
    write_all,
    writing,
)
from stages.shared.refusal import INTERRUPTED, REFUSED, Refusal, refusing

ROOT = Path(__file__).parent.parent
OLD = b"what lay there before\n"
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


def old(folder: Path, name: str = "result.json") -> Path:
    path = folder / name
    path.write_bytes(OLD)
    return path


def fail_half_way(path: Path, error: type[BaseException]) -> None:
    with writing(path) as file:
        file.write(b"half of" * 100_000)
        raise error("half way")


def assert_untouched(path: Path) -> None:
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError, OSError])
def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = old(tmp_path)
    with pytest.raises(error):
        fail_half_way(path, error)
    assert_untouched(path)


def test_a_write_that_fails_half_way_makes_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half"):
        fail_half_way(tmp_path / "new.json", ValueError)
    assert list(tmp_path.iterdir()) == []


def test_the_old_content_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = old(tmp_path)
    with writing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == OLD
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_the_old_file_meanwhile_reads_it_to_its_end(tmp_path: Path) -> None:
    path = old(tmp_path)
    with path.open("rb") as reader:
        write(path, "new")
        assert reader.read() == OLD
    assert path.read_bytes() == b"new"


def test_a_written_file_may_be_gone_back_in(tmp_path: Path) -> None:
    with writing(tmp_path / "array.npy") as file:
        file.write(b"....content")
        file.seek(0)
        file.write(b"head")
    assert (tmp_path / "array.npy").read_bytes() == b"headcontent"


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    write(tmp_path / "some" / "deep" / "place.txt", "text\n")
    write_all(tmp_path / "other", {"a.json": [1], "b.txt": "é\n"})
    assert (tmp_path / "some" / "deep" / "place.txt").read_bytes() == b"text\n"
    assert (tmp_path / "other" / "a.json").read_bytes() == b"[\n  1\n]\n"
    assert (tmp_path / "other" / "b.txt").read_bytes() == "é\n".encode()


def test_an_error_of_the_system_names_the_file_that_was_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    (path / "a folder in its way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"result\.json") as raised:
        write(path, [1])
    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", "[0] * 100_000"),
        ("table.csv", "__import__('pandas').DataFrame({'a': range(100_000)})"),
        ("model.safetensors", "{'a': __import__('numpy').zeros(100_000)}"),
        ("page.html", "'x' * 100_000"),
    ],
)
def test_on_a_full_disk_a_command_refuses_in_one_line_and_the_old_file_stays(
    tmp_path: Path, name: str, content: str
) -> None:
    path = old(tmp_path, name)
    # The system itself stops the write: no file of this process may grow beyond 10 kB.
    command = f"""
import resource, sys
from pathlib import Path
from stages.shared.files import write
from stages.shared.refusal import refusing
content = {content}
__import__("safetensors.numpy")
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
with refusing("train@image"):
    write(Path(sys.argv[1]), content)
print("went on")
"""
    done = subprocess.run(
        [sys.executable, "-c", command, path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == REFUSED == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"train@image: no room to write {path} (")
    assert_untouched(path)


def test_a_refusal_is_one_line_and_exit_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, refusing("check@image"):
        raise Refusal("two\n  lines\tand more")
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.err == "check@image: two lines and more\n"
    assert captured.out == ""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_each_kind_of_full_disk_is_refused(capsys: pytest.CaptureFixture[str], number: int) -> None:
    with pytest.raises(SystemExit) as stopped, refusing("pack@image"):
        raise OSError(number, "full", "data/x.csv")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("pack@image: no room to write data/x.csv (full)")


def test_ctrl_c_is_one_line_and_exit_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, refusing("train@image"):
        raise KeyboardInterrupt
    assert stopped.value.code == INTERRUPTED == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_right_that_is_lacking_is_one_line_that_names_the_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped, refusing("train@image"):
        raise PermissionError(errno.EACCES, "Permission denied", "data/x")
    assert stopped.value.code == REFUSED
    assert capsys.readouterr().err.startswith("train@image: data/x: Permission denied; give")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "a bad disk"), ValueError("a bug")])
def test_any_other_error_is_not_hidden(
    capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    with pytest.raises(type(error)) as raised, refusing("train@image"):
        raise error
    assert raised.value is error
    assert capsys.readouterr().err == ""


def test_a_command_that_is_done_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with refusing("train@image"):
        pass
    assert capsys.readouterr() == ("", "")


def test_json_is_sorted_rounded_and_ends_in_a_newline() -> None:
    content = {"z": 1, "a": {"c": 0.12345678, "b": [1 / 3, 2.0]}, "é": None, "m": True}
    assert as_json(content).decode() == (
        '{\n  "a": {\n    "b": [\n      0.333333,\n      2.0\n    ],\n    "c": 0.123457\n  },\n'
        '  "m": true,\n  "z": 1,\n  "é": null\n}\n'
    )


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    content = [np.float32(0.1), np.float64(0.1), np.int64(3), np.bool_(True), (1, 2)]
    assert json.loads(as_json(content)) == [0.1, 0.1, 3, True, [1, 2]]


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_the_same_content_gives_the_same_bytes_and_reads_as_what_it_was(
    content: dict[str, Any],
) -> None:
    written = as_json(content)
    assert as_json(dict(reversed(content.items()))) == written
    read = json.loads(written)
    assert read == rounded(content)
    assert as_json(read) == written
    assert written.endswith(b"\n")


@settings(max_examples=40, deadline=None)
@given(st.floats(-1e6, 1e6))
def test_rounding_moves_a_figure_by_half_a_millionth_at_most(value: float) -> None:
    found = rounded({"a": [value]})["a"][0]
    assert abs(found - value) <= 0.5e-6 + 1e-9
    assert rounded(found) == found


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), np.float32("nan"), np.float64("inf")]
)
def test_a_figure_that_is_not_finite_is_refused_and_nothing_is_written(
    tmp_path: Path, value: float
) -> None:
    path = old(tmp_path)
    with pytest.raises(Refusal, match="finite"):
        write(path, {"metrics": [{"accuracy": value}]})
    assert_untouched(path)


def test_csv_has_six_digits_and_lines_that_end_in_a_newline() -> None:
    table = pd.DataFrame({"id": ["a", "é,b"], "share": [1 / 3, 2.0], "count": [1, 2]})
    assert as_csv(table).decode() == 'id,share,count\na,0.333333,1\n"é,b",2.000000,2\n'


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))))
def test_text_comes_back_from_csv_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "table.csv"
    write(path, pd.DataFrame({"number": range(len(texts)), "text": texts}))
    assert read_csv(path, dtype={"text": str})["text"].tolist() == texts


def test_cells_that_look_like_missing_values_stay_text(tmp_path: Path) -> None:
    texts = ["NA", "nan", "null", "None", "", "N/A"]
    write(tmp_path / "table.csv", pd.DataFrame({"n": range(6), "class": texts}))
    assert read_csv(tmp_path / "table.csv")["class"].tolist() == texts


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "turned": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "every other": np.arange(10)[::2],
        "none": np.empty((0, 3), dtype=np.float64),
    }
    write(tmp_path / "a.safetensors", arrays)
    found = read_arrays(tmp_path / "a.safetensors")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_arrays_give_the_same_bytes_whatever_their_layout(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    write(tmp_path / "a.safetensors", {"x": array})
    write(tmp_path / "b.safetensors", {"x": np.asfortranarray(array)})
    assert sha256(tmp_path / "a.safetensors") == sha256(tmp_path / "b.safetensors")


@pytest.mark.parametrize("suffix", READERS)
def test_a_missing_file_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(Refusal, match=rf"gone\{suffix} is missing.*dvc repro"):
        READERS[suffix](tmp_path / f"gone{suffix}")


def damaged() -> list[tuple[str, bytes]]:
    half: bytes = as_json({"a": [1, 2, 3]})[:-4]
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


@pytest.mark.parametrize(("name", "data"), damaged())
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(Refusal, match=rf"(?s){name} is damaged .*dvc repro"):
        READERS[Path(name).suffix](tmp_path / name)


@pytest.mark.parametrize("kept", [4, 30, -1])
def test_arrays_cut_short_are_refused_by_name(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    write(path, {"weight": np.ones((4, 4), dtype=np.float32)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Refusal, match=r"model\.safetensors is damaged"):
        read_arrays(path)


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    assert sha256(old(tmp_path)) == hashlib.sha256(OLD).hexdigest()


def test_a_file_name_that_is_no_text_can_be_written() -> None:
    assert json.loads(as_json({"id": "bad-\udcff.png"})) == {"id": "bad-\udcff.png"}


def test_rounding_noise_leaves_no_negative_zero() -> None:
    assert b"-0.0" not in as_json([-1e-9])
    assert b"-0.0" not in as_csv(pd.DataFrame({"x": [-1e-9]}))


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "-1+cmd|' /C calc'!A0", "\tx", "+", "'=x"])
def test_text_that_a_spreadsheet_would_run_is_guarded_in_csv(text: str) -> None:
    cell = as_csv(pd.DataFrame({"text": [text]})).decode().split("\n", 1)[1].strip('"\n')
    assert cell.startswith("'")


@pytest.mark.parametrize("text", ["-3", "+4.5", "it's", "plain", "-.5"])
def test_numbers_and_plain_text_are_written_as_they_are(text: str) -> None:
    assert as_csv(pd.DataFrame({"text": [text]})).decode() == f"text\n{text}\n"


@given(st.lists(st.text("'=+-@\tab1. \n,\""), min_size=1))
def test_guarded_text_comes_back_as_it_was(tmp_path_factory: Any, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    write(path, pd.DataFrame({"text": texts, "more": "x"}))
    assert read_csv(path, dtype=str)["text"].tolist() == texts
