"""Write a committed result to one file that outlives its host.

It holds code, lock, data, weights, evidence and metadata, and has the same bytes each time. `evidence
verify FILE` checks the result from it alone, without a network; `evidence unpack` makes a repository of
it. The metadata are RO-Crate and Croissant; a model card and the checklists of REFORMS and NeurIPS are
filled in as far as evidence tells.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stages.tools.archive.contents import Contents

_MEGABYTE = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("revision", nargs="?", default="HEAD", help="a commit (default: HEAD)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--no-data",
        action="store_true",
        help="leave out the data that DVC tracks, and prepared samples; their hashes and origin stay",
    )
    parser.add_argument(
        "--wheels",
        type=Path,
        metavar="FOLDER",
        help="add these packages; requirements/ must name the hash of each",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the archive, and print what it holds and what is open."""
    out: Path = arguments.out
    if out.exists():
        raise UserError(f"--out: {out} exists; delete it, or name another file")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out: given {out}; must be a file in an existing folder")
    from stages.core.files import sha256
    from stages.tools.archive.contents import collect
    from stages.tools.archive.members import write_archive
    from stages.tools.archive.revision import read_revision
    from stages.tools.verify.rerun import local_cache

    root = Path()
    revision = read_revision(root, arguments.revision)
    cache = Path(local_cache(str(root)) or root / ".dvc" / "cache")
    contents = collect(revision, cache, data=not arguments.no_data, packages=arguments.wheels)
    write_archive(out, contents.members())
    for line in _summary(contents, out.stat().st_size):
        print(line)
    print(f"sha256 {sha256(out)}  {out}")
    for note in _uncommitted(root, revision.commit):
        print(f"archive: {note}", file=sys.stderr)


def _summary(contents: "Contents", size: int) -> "Iterator[str]":
    yield f"commit {contents.revision.commit}: {len(contents.revision.files):,} files"
    for task in contents.tasks:
        weights = contents.outputs.get(f"data/train/{task.name}", [])
        count = sum(file.path.endswith(".safetensors") for file in weights)
        yield f"{task.name}: {count} files of weights; {contents.raw_state(task)}"
    if contents.packages:
        yield f"wheels: {len(contents.packages)}"
    for note in contents.notes:
        yield f"note: {note}"
    for heading, forms in contents.forms.items():
        counts = (
            f"{name} {len(form.open_items())} of {len(form.items)}" for name, form in forms.items()
        )
        yield f"{heading}, open items for a person to answer: {', '.join(counts)}"
    yield f"{size / _MEGABYTE:.1f} MB; verify it with `evidence verify FILE`"


def _uncommitted(root: Path, commit: str) -> "Iterator[str]":
    from stages.core.repositories import git

    changes = git(root, "status", "--porcelain")
    if changes:
        yield f"{len(changes.split(chr(10)))} uncommitted changes are not in it; {commit[:10]} is"
