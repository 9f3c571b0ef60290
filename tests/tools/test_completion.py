"""Shell completion: what may come next, and the script as bash runs it."""

import shutil
import subprocess
from pathlib import Path

import pytest
from support.project import ROOT, TASKS, evidence, evidence_refused

from stages.kinds.params import load_params, load_tasks
from stages.tools.cli import COMMANDS
from stages.tools.completion import candidates, task_names


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", list(COMMANDS)),
        ("pre", ["predict"]),
        ("predict ", list(TASKS)),
        ("predict im", ["image"]),
        ("predict image ", []),  # a file or a text
        ("record im", ["image"]),
        ("remove work", ["workshop"]),
        ("new photos photos/ --lay", ["--layout"]),
        ("new photos photos/ --layout ", ["classes", "splits", "table"]),
        ("new photos photos/ --layout t", ["table"]),
        ("new photos photos/ --yes --kind ", []),
        ("faults ", ["list", "inject", "run"]),
        ("faults inject no-seed --task w", ["workshop"]),
        ("bench --task sent", ["sentiment"]),
        ("verify --only workshop im", ["image"]),
        ("tolerance image sent", ["sentiment"]),
        ("walkthrough workshop x", []),
        ("no-such-command ", []),
        ("completion b", ["bash"]),
    ],
)
def test_the_candidates_for_the_last_word(
    line: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert candidates(line.split(" ")) == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_offered(name: str) -> None:
    offered = candidates([name, "--"])
    assert "--help" in offered
    assert all(candidates([name, option]) for option in offered)


def test_the_tasks_are_those_of_the_params() -> None:
    assert task_names(ROOT / "params.yaml") == [*load_tasks(load_params(ROOT / "params.yaml"))]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("tasks: {image: {}}\n", []),  # a form that nobody writes
        (
            "a: 1\ntasks:\n  # all\n  one:\n    kind: x\n\n  two:\n    kind: y\nb:\n  no: 1\n",
            ["one", "two"],
        ),
        ("tasks:\n    deep:\n      kind: x\n", ["deep"]),
    ],
)
def test_params_that_are_unusual_are_no_error(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "params.yaml").write_text(text)
    assert task_names(tmp_path / "params.yaml") == names
    assert task_names(tmp_path / "missing.yaml") == []


def test_bash_completes_with_the_script() -> None:
    script = evidence(ROOT, "completion", "bash")
    function = 'evidence() { python -m stages.tools "$@"; }\n'
    typed = "COMP_WORDS=(evidence predict wo); COMP_CWORD=2; _evidence; echo ${COMPREPLY[@]}\n"
    printed = evidence_in_shell("bash", f"{function}{script}{typed}complete -p evidence")
    assert printed.split("\n")[:2] == [
        "workshop",
        "complete -o bashdefault -o default -F _evidence evidence",
    ]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_the_script(shell: str) -> None:
    script = evidence(ROOT, "completion", shell)
    assert "evidence completion words" in script
    if shutil.which(shell):
        begin = "autoload -U compinit; compinit -D\n" if shell == "zsh" else ""
        evidence_in_shell(shell, f"{begin}{script}")


def evidence_in_shell(shell: str, text: str) -> str:
    """Run a text in a shell, which must succeed and print no error; return what it prints."""
    from support.project import environment

    done = subprocess.run(
        [shell, "-c", text], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_words_after_a_shell_are_refused() -> None:
    line = evidence_refused(ROOT, "completion", "bash", "predict")
    assert line == "evidence completion: given 'predict' after bash; it takes nothing"
