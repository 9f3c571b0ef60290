"""The command `evidence`: help, unknown commands, and what is imported for them."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.project import ROOT, evidence, evidence_refused, run

from stages.tools.cli import COMMANDS, main
from stages.tools.repro.up_to_date import FILE, SETTLING_SECONDS

HEAVY = {"numpy", "pandas", "torch", "dvc", "scipy", "sklearn", "PIL", "yaml", "ruamel.yaml"}


def heavy_imports(*arguments: str, folder: Path = ROOT) -> set[str]:
    """Return which heavy modules `evidence` imports for these arguments, in the folder of a project."""
    code = (
        f"import sys\nfrom stages.tools.cli import main\ntry:\n    main({list(arguments)!r})\n"
        "except SystemExit:\n    print('modules:', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    modules = done.stdout.rpartition("modules:")[2].split()
    return {*modules} & {*HEAVY, "pydantic"}


def test_without_arguments_all_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in COMMANDS)
    assert heavy_imports() == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: evidence {name} ")
    assert f"\n  evidence {name}" in printed.partition("example")[2]
    assert "python -m" not in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_no_heavy_library(name: str) -> None:
    assert heavy_imports(name, "--help") == set()


def test_a_run_with_nothing_to_do_imports_only_what_it_needs(small: Path) -> None:
    evidence(small, "repro")  # makes the tag `baseline`
    (small / FILE).unlink(missing_ok=True)
    time.sleep(SETTLING_SECONDS)
    assert heavy_imports("repro", folder=small) == {"dvc", "ruamel.yaml", "pydantic"}
    assert heavy_imports("repro", folder=small) == set()  # the report of the run before


def test_an_unknown_command_is_one_line_with_the_nearest_name() -> None:
    line = evidence_refused(ROOT, "prdict", "image")
    assert "unknown command 'prdict'; the nearest known one is 'predict'" in line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["predict", "image"], "the following arguments are required: input"),
        (["predict", "nowhere", "x"], "given task 'nowhere'; must be one of image, sentiment"),
        (["record", "nowhere"], "given task 'nowhere'; must be one of image"),
        (["sample", "image", "--label", "7", "--out", "x.png"], "must be one of generative"),
        (["sample", "generative", "--label", "7", "--out", "x.jpg"], "must end in .png"),
        (
            ["sample", "generative", "--label", "7", "--out", "no/x.png"],
            "--out: no is not a folder",
        ),
        (
            ["sample", "generative", "--label", "7", "--out", "x.png", "--count", "0"],
            "--count: given 0; must be from 1 to 10000",
        ),
        (
            ["sample", "generative", "--label", "7", "--out", "x.png", "--seed", "-1"],
            "--seed: given -1",
        ),
        (["compare", "no-such-revision"], "given revision 'no-such-revision'"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith(f"evidence {arguments[0]}: ")
    assert text in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "generative", "--label", "ninety", "--out", "x.png"],
        ["predict", "image", "no-such.png"],
        ["predict", "sentiment", " "],
        ["experiment", "image", "train.epoch=3", "--why", "x"],
        ["walkthrough", "sentiment"],
        ["repro", "--jobs", "0"],
        ["faults", "inject", "nothing", "--task", "image"],
        ["new", "photos", "no-such/"],
        ["verify", "--claim", "image accuracy"],
    ],
)
def test_wrong_arguments_are_refused_before_torch_is_imported(
    arguments: list[str], chain: Path
) -> None:
    code = f"import sys; from stages.tools.cli import main\ntry:\n    main({arguments!r})\n"
    code += "except SystemExit as end:\n    print(end.code, 'torch' in sys.modules)"
    done = run(chain, sys.executable, "-c", code)
    assert done.stdout.split("\n")[-2] == "2 False", done.stdout + done.stderr


def test_the_installed_script_runs_the_project_in_the_current_folder(tmp_path: Path) -> None:
    script = tmp_path / "bin/evidence"
    script.parent.mkdir()
    script.write_text((ROOT / "requirements/evidence.sh").read_text())
    script.chmod(0o755)
    (script.parent / "python").symlink_to(sys.executable)
    assert run(ROOT, str(script)).stdout.startswith("usage: evidence COMMAND")
    done = run(tmp_path, str(script), "record", status=2)
    assert done.stderr.startswith("evidence: run it in the project's folder")
    assert done.stderr.count("\n") == 1


def test_record_prints_four_lines_for_each_task(chain: Path) -> None:
    lines = evidence(chain, "record", "image").split("\n")
    assert [line.partition(":")[0] for line in lines[:-1]] == [
        "task",
        "improvement",
        "failure_case_count",
        "next_step",
    ]
    assert lines[0] == "task: image"
    words, _, command = lines[3].rpartition(": ")
    assert command.startswith("dvc exp run -S 'tasks.image.")
    assert re.fullmatch(r"next_step: [a-z].+: .+", words)
    assert evidence(chain, "record").count("task: ") == 4


def test_a_closed_pipe_is_no_error(chain: Path) -> None:
    done = run(chain, "sh", "-c", "python -m stages.tools record | head -n 1")
    assert done.stdout == "task: image\n"
    assert done.stderr == ""
