"""dvc.lock as DVC would write it."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dump_yaml, load_yaml
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT

from stages.tools.repro.lock_file import LockFile, entry_texts

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=120)
)
ENTRIES = st.dictionaries(
    st.from_regex(r"[a-z]{1,9}(@[a-z]{1,9})?", fullmatch=True),
    st.dictionaries(
        st.sampled_from(["cmd", "deps", "params", "outs"]),
        st.one_of(
            VALUES, st.lists(VALUES, max_size=3), st.dictionaries(st.text(max_size=9), VALUES)
        ),
        min_size=1,
    ),
    min_size=1,
    max_size=4,
)


def as_dvc(folder: Path, content: dict[str, Any]) -> bytes:
    dump_yaml(str(folder / "expected"), content)
    return (folder / "expected").read_bytes()


@given(entries=ENTRIES)
def test_the_bytes_are_those_of_dvc(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("lock")
    lock = LockFile(folder / "dvc.lock")
    for name, entry in entries.items():
        lock.set(name, entry)
    assert (folder / "dvc.lock").read_bytes() == as_dvc(
        folder, {"schema": "2.0", "stages": entries}
    )


@given(entries=ENTRIES, entry=ENTRIES.map(lambda entries: next(iter(entries.values()))))
def test_the_entries_of_a_file_that_dvc_wrote_are_kept(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, Any], entry: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("lock")
    content = {"schema": "2.0", "stages": entries}
    (folder / "dvc.lock").write_bytes(as_dvc(folder, content))
    for name in ("new", next(iter(entries))):
        LockFile(folder / "dvc.lock").set(name, entry)
        entries[name] = deepcopy(entry)
        assert (folder / "dvc.lock").read_bytes() == as_dvc(folder, content)


def test_the_lines_of_each_entry_are_found() -> None:
    text = (ROOT / "dvc.lock").read_text()
    texts = entry_texts(text)
    assert [*texts] == [*load_yaml(str(ROOT / "dvc.lock"))["stages"]]
    assert text.endswith("stages:\n" + "".join(texts.values()))
    assert entry_texts("schema: '2.0'\n") == {}


def test_an_entry_set_to_what_it_is_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    text = (ROOT / "dvc.lock").read_bytes()
    path.write_bytes(text)
    lock = LockFile(path)
    for name, entry in load_yaml(str(path))["stages"].items():
        lock.set(name, entry)
    lock.sort([])
    assert path.read_bytes() == text


def test_other_sections_and_what_another_program_wrote_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    content: dict[str, Any] = {"schema": "2.0", "datasets": [{"name": "a"}], "stages": {"a": {}}}
    dump_yaml(str(path), content)
    lock = LockFile(path)
    lock.set("b", {"cmd": "true"})
    content["stages"] |= {"b": {"cmd": "true"}, "c": {"cmd": "false"}}
    dump_yaml(str(path), content)
    lock.set("b", {"cmd": "echo"})
    content["stages"]["b"] = {"cmd": "echo"}
    assert load_yaml(str(path)) == content


def test_entries_are_sorted(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "dvc.lock")
    for name in ("b", "other", "a"):
        lock.set(name, {"cmd": name})
    lock.sort(["a", "b", "missing"])
    assert [*load_yaml(str(tmp_path / "dvc.lock"))["stages"]] == ["other", "a", "b"]
