"""params.yaml is read as DVC reads it; a file that is wrong stops every stage before its first output."""

import re
import shutil
import time
from pathlib import Path

import pytest
from support.project import ROOT, change_params, refused, run

from stages.core.errors import UserError
from stages.core.task import STAGES
from stages.kinds.entry import run_stage
from stages.kinds.params import load_params, load_tasks

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def error_of_file(file: Path) -> str:
    """Return the line about a file that must be rejected, without its name."""
    with pytest.raises(UserError) as error:
        load_params(file)
    line = " ".join(str(error.value).split())
    assert line.startswith(f"{file}: ")
    return line.removeprefix(f"{file}: ")


# --- the file
@pytest.mark.parametrize("value", ["1e-3", "1E-3", "1.0e-3", "0.001"])
def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path, value: str) -> None:
    text = re.sub(r"(?m)^(\s*learning_rate: )\S+", rf"\g<1>{value}", TEXT)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    tasks = load_tasks(load_params(tmp_path / "params.yaml"))
    assert {task.params.train.learning_rate for task in tasks.values()} == {0.001}


@pytest.mark.parametrize("value", ["yes", "1:20"])
def test_text_that_older_yaml_reads_as_a_number_or_bool_stays_text(
    tmp_path: Path, value: str
) -> None:
    text = re.sub(r"(?m)^(    devices: |  devices: )\S+", rf"\g<1>{value}", TEXT, count=1)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert error_of_file(tmp_path / "params.yaml").startswith(f"runtime.devices: given '{value}'")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (TEXT + "\nruntime: {}\n", "runtime"),
        (TEXT.replace("runtime:\n", "runtime:\n  threads: 1\n", 1), "threads"),
        (re.sub(r"(?m)^( +)seeds:", r"\1seeds: [5]\n\1seeds:", TEXT, count=1), "seeds"),
        (TEXT.replace("  image:\n", "  image: {}\n  image:\n", 1), "image"),
    ],
)
def test_a_duplicate_key_is_rejected(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    line = error_of_file(tmp_path / "params.yaml")
    assert re.match(rf'not YAML: .*duplicate key "{key}"', line), line


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the whole file: given "),
        (b"# comments only\n", "the whole file: given "),
        (b"- runtime\n- image\n", "the whole file: given "),
        (b"digits\n", "the whole file: given "),
        (b"runtime: [1, 2\n", "not YAML: "),
        (b"runtime:\n\tthreads: 2\n", "not YAML: "),
        (b"a: 1\n---\nb: 2\n", "not YAML: "),
        (b"a: *nowhere\n", "not YAML: "),
        (b"a: \0\n", "not YAML: "),
        (b"a: !!python/object/apply:os.system ['true']\n", "not YAML: "),
        (b"a: !!int abc\n", "not YAML: "),
        (b"a: !!float abc\n", "not YAML: "),
        (b"a: !!timestamp maybe\n", "not YAML: "),
        (b"a: 2001-99-99\n", "not YAML: "),
        (b"a: 0x_\n", "not YAML: "),
        (b"a: " + b"[" * 3000, "not YAML: "),
        (b"a: " + b"[" * 3000 + b"]" * 3000, ""),
        (b"a: " + b"9" * 5000, ""),
        (b"{[1]: 2}\n", ""),
        (b"a: !!bool [1]\n", "not YAML: "),
        (b"a: !!bool maybe\n", "not YAML: "),
        (b"a: !!int {a: 1}\n", "not YAML: "),
        (b"a: !!int ''\n", "not YAML: "),
        (b"a: !!timestamp [1]\n", "not YAML: "),
        (b"a: &a [*a]\n", "not YAML: alias *a lies within what it stands for"),
        (TEXT.encode("utf-16"), "not UTF-8 text; save it as UTF-8"),
        (b"caf\xe9: 1\n", "not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_file_without_params_is_rejected(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "params.yaml").write_bytes(data)
    assert error_of_file(tmp_path / "params.yaml").startswith(message)


def alias_bomb(levels: int = 9) -> str:
    """Return a list in YAML's flow style in which each item stands for nine of the one before."""
    first = ", ".join(["x"] * 9)
    items = [f"&a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return f"[&a0 [{first}], {', '.join(items)}]"


@pytest.mark.parametrize(
    "text",
    [
        f"bomb: {alias_bomb()}\n{TEXT}",
        re.sub(r"threads: \d+", f"threads: {alias_bomb()}", TEXT, count=1),
        "a0: &a0 {x: 1}\n"
        + "".join(
            f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 9)
        ),
    ],
    ids=["key", "value", "merge"],
)
def test_aliases_of_aliases_are_counted_and_not_built(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    start = time.process_time()
    assert "values once its aliases are replaced" in error_of_file(tmp_path / "params.yaml")
    assert time.process_time() - start < 1


def test_a_few_aliases_are_read(tmp_path: Path) -> None:
    text = re.sub(r"threads: (\d+)", r"threads: &threads \1", TEXT, count=1)
    text = re.sub(r"epochs: \d+", "epochs: *threads", text)
    assert text.count("*threads") > 1
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    params = load_params(tmp_path / "params.yaml")
    assert load_tasks(params)["image"].params.train.epochs == params.runtime.threads


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert load_params(file) == load_params(ROOT / "params.yaml")


def test_a_missing_file_and_a_folder_are_rejected(tmp_path: Path) -> None:
    assert "run from the project's folder" in error_of_file(tmp_path / "params.yaml")
    assert "run from the project's folder" in error_of_file(tmp_path)


# --- stages
def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Return each file below `folder`: its bytes, and when it was last written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with params.yaml and raw data, in which a stage has written before."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "data/raw", tmp_path / "data/raw")
    for folder in ("params", "prepare/image", "train/image"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "valid.txt").write_text("of an earlier run")
    return tmp_path


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_runs_with_wrong_params(
    project: Path, stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change_params(project, lambda params: params["tasks"]["image"]["train"].update(epoch=3))
    monkeypatch.chdir(project)
    monkeypatch.setattr("sys.argv", [f"stages.{stage}", "image"])
    with pytest.raises(SystemExit) as stopped:
        run_stage(stage, lambda task: pytest.fail(f"{task.name} ran"))
    assert stopped.value.code == 2
    expected = f"{stage}@image: params.yaml: tasks.image.train.epoch: unknown key; the nearest"
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.parametrize("command", [("stages.params",), ("stages.prepare", "image")])
def test_wrong_params_leave_every_output_as_it_was(project: Path, command: tuple[str, ...]) -> None:
    change_params(project, lambda params: params["tasks"]["image"]["train"].update(epoch=3))
    before = contents(project)
    line = refused(project, "python", "-m", *command)
    assert "params.yaml: tasks.image.train.epoch: unknown key; the nearest" in line
    assert contents(project) == before


def test_the_output_of_the_stage_params_does_not_depend_on_the_params(project: Path) -> None:
    output = project / "data/params/valid.txt"
    run(project, "python", "-m", "stages.params")
    first = output.read_bytes()
    change_params(project, lambda params: params["runtime"].update(threads=1))
    run(project, "python", "-m", "stages.params")
    assert output.read_bytes() == first != b"of an earlier run"
