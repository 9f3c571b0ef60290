"""The command `evidence`: finds the subcommand's module, parses its arguments, runs it.

A subcommand's module is imported only when it is named. It has two functions: `add_arguments(parser)`,
and `run(arguments)`, which returns the exit status, or None for 0.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

from stages.core.errors import USER_ERROR_STATUS, exit_on_user_error, printable
from stages.core.progress import set_stage

PROGRAM = "evidence"
_BROKEN_PIPE_STATUS = 141  # 128 + SIGPIPE, as a shell reports it


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        module: that implements it, below stages.tools.
        purpose: one line for `evidence --help`.
        examples: command lines for its own `--help`.
    """

    module: str
    purpose: str
    examples: tuple[str, ...]


COMMANDS = {
    "new": Command(
        "new",
        "add a task for your own images or texts",
        ("evidence new photos photos/", "evidence new tickets tickets.csv"),
    ),
    "remove": Command(
        "remove", "remove a task and everything made for it", ("evidence remove photos",)
    ),
    "repro": Command(
        "repro.command",
        "run the pipeline, independent stages side by side",
        ("evidence repro", "evidence repro pack@image --jobs 1"),
    ),
    "record": Command(
        "record", "print improvement, failure cases and next step", ("evidence record image",)
    ),
    "predict": Command(
        "predict",
        "predict the class of new inputs",
        (
            "evidence predict image evidence/image/data/demo.png",
            "evidence predict sentiment 'I would book it again.'",
        ),
    ),
    "sample": Command(
        "sample",
        "draw samples with a generator",
        ("evidence sample generative --label 7 --count 16 --out sevens.png",),
    ),
    "experiment": Command(
        "experiment",
        "change one param and compare on validation data",
        (
            'evidence experiment workshop train.learning_rate=0.005 --why "smaller steps"',
            "evidence experiment workshop --next",
        ),
    ),
    "compare": Command(
        "compare.command",
        "compare two tables of predictions or two revisions, or the metrics with the baseline",
        (
            "evidence compare old.csv new.csv",
            "evidence compare old.csv new.csv --id sample --label y_true --prediction y_pred --margin 0.01",
            "evidence compare old.jsonl new.jsonl --id doc_id --correct acc",
            "evidence compare predictions.csv --prediction baseline --prediction seed_0",
            "evidence compare HEAD~1 HEAD --html changes.html --markdown changes.md",
            "evidence compare",
        ),
    ),
    "verify": Command(
        "verify.command",
        "check a committed result from a clean clone",
        (
            "evidence verify HEAD --tier predictions",
            "evidence verify --claim 'image accuracy >= 0.95' --attest result.json",
            "evidence verify --batch submissions.csv --policy policy.yaml --markdown results.md",
        ),
    ),
    "grade": Command(
        "grade.command",
        "hold learners' repositories against a rubric",
        (
            "evidence grade clones/* --markdown grades.md --csv grades.csv",
            "evidence grade --list course.csv --rubric rubric.yaml --tier retrain --yes",
        ),
    ),
    "attestation": Command(
        "verify.attestation.command",
        "check a signed statement of a verification, or list those that are kept",
        (
            "evidence attestation check result.json --signers allowed_signers",
            "evidence attestation table",
        ),
    ),
    "archive": Command(
        "archive.command",
        "write a committed result to one file that outlives its host",
        (
            "evidence archive --out result.zip",
            "evidence archive v1.2 --no-data --out result.zip",
        ),
    ),
    "unpack": Command(
        "archive.unpack_command",
        "turn an archive into a repository with its DVC cache",
        ("evidence unpack result.zip result/",),
    ),
    "tolerance": Command(
        "measure_tolerance",
        "measure how far honest reruns differ",
        ("evidence tolerance workshop",),
    ),
    "faults": Command(
        "faults.command",
        "inject faults, and see which check detects them",
        ("evidence faults list", "evidence faults inject shuffled-labels --task workshop"),
    ),
    "bench": Command(
        "bench", "measure results over further splits and seeds, and time", ("evidence bench",)
    ),
    "walkthrough": Command(
        "walkthrough.command",
        "run a task's training step by step, and print every value",
        ("evidence walkthrough workshop", "evidence walkthrough workshop --out docs"),
    ),
    "completion": Command(
        "completion",
        "print a script that lets a shell complete commands, options and tasks",
        ("evidence completion bash > ~/.local/share/bash-completion/completions/evidence",),
    ),
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the error on one line, and exit with status 2."""
        self.exit(
            USER_ERROR_STATUS, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n"
        )

    def actions(self) -> list[argparse.Action]:
        """Return its arguments, for shell completion."""
        return self._actions


def make_parser(name: str) -> Parser:
    """Return the parser of a subcommand; its module is imported for it."""
    command = COMMANDS[name]
    module = import_module(f"stages.tools.{command.module}")
    parser = Parser(
        prog=f"{PROGRAM} {name}",
        description=(module.__doc__ or command.purpose).strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n  ".join(
            ("example:" if len(command.examples) == 1 else "examples:", *command.examples)
        ),
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser


def overview() -> str:
    """Return the help of `evidence` itself."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.purpose}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND ...",
            "",
            "commands:",
            *lines,
            "",
            f"`{PROGRAM} COMMAND --help` describes a command and shows an example.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the subcommand that the command line names.

    Args:
        arguments: those of the command line by default.

    Raises:
        SystemExit: always; 2 for a user error.
    """
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or ["--help"]
    if name in {"-h", "--help", "help"}:
        print(overview())
        raise SystemExit(0)
    if name not in COMMANDS:
        print(f"{PROGRAM}: {_unknown(name)}", file=sys.stderr)
        raise SystemExit(USER_ERROR_STATUS)
    set_stage("")  # a process may run several commands
    try:
        with exit_on_user_error(f"{PROGRAM} {name}"):
            values: Any = make_parser(name).parse_args(rest)
            status = values.run(values)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has what it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_BROKEN_PIPE_STATUS) from None
    raise SystemExit(status or 0)


def _unknown(name: str) -> str:
    import difflib

    nearest, *_ = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0)
    return printable(
        f"unknown command {name!r}; the nearest known one is {nearest!r} (see {PROGRAM} --help)"
    )
