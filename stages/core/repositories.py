"""Git repositories, also those of strangers: git commands, revisions, and clean clones.

No command here runs a program that a repository names: its hooks, filters, monitors, included settings
and transports stay unused, and nothing is written to a repository that is only read.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from stages.core.errors import UserError
from stages.core.processes import command_environment, run_command

# The bytes as committed, no hooks, and nothing written to the repository that is read.
_PLAIN = (
    "--no-optional-locks",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.autocrlf=false",
    "-c",
    "advice.detachedHead=false",
    "-c",
    "submodule.recurse=false",
)
# Variables with which git, and DVC where it uses git, start no program that a repository names.
ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",  # ext:: runs a command of its own
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone names where, and with which program, to fetch from
    "GIT_TERMINAL_PROMPT": "0",
}
_FULL_HASH = r"[0-9a-f]{40}|[0-9a-f]{64}"
_SHORT_HASH = r"[0-9a-f]{4,63}"
# What a checkout may hold: a few objects of git can stand for billions of files.
_MOST_FILES = 200_000
_MOST_BYTES = 20 * 2**30
_LONGEST_LISTING = 32 * 2**20  # bytes of all paths; `run_command` returns more than that
_DEEPEST = (
    100  # folders of a path; Python's own functions walk through folders by calling themselves
)
_SUFFIX = re.compile(r"[\^~@:]")


def git(folder: Path, *command: str, extra_environment: Mapping[str, str] | None = None) -> str:
    """Return the output of a git command, without blanks at its ends.

    Args:
        folder: in which it runs.
        command: the subcommand and its arguments.
        extra_environment: variables to set.

    Raises:
        UserError: it fails, or git is not installed.
    """
    environment = {**ENVIRONMENT, **(extra_environment or {})}
    result = run_command(folder, "git", *_PLAIN, *command, extra_environment=environment)
    if result.returncode:
        lines = [line.strip() for line in result.stderr.split("\n") if line.strip()]
        fatal = [line for line in lines if line.startswith("fatal: ")] or lines
        reason = fatal[0].removeprefix("fatal: ") if fatal else f"exit {result.returncode}"
        name = next((part for part in command if not part.startswith("-")), command[0])
        raise UserError(f"git {name}: {reason}")
    return result.stdout.strip()


def read_blob(folder: Path, commit: str, path: str) -> bytes:
    """Return the bytes of a file of a commit.

    Args:
        folder: in which git runs.
        commit: that has the file.
        path: of the file, relative to the repository's root.

    Raises:
        UserError: there is no such file.
    """
    result = subprocess.run(
        ("git", *_PLAIN, "cat-file", "blob", f"{commit}:{path}"),
        cwd=folder,
        env=command_environment(ENVIRONMENT),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if result.returncode:
        raise UserError(f"{path} is not in {commit}")
    return result.stdout


def clone_revision(source: str, revision: str, clone: Path) -> str:
    """Clone a git repository and check a revision out; return the commit.

    The objects of a repository on this machine are shared: nothing of it is copied or changed, and
    commits that no branch leads to can be checked out as well. Git's own files are beside the clone, in
    `<clone>.git`, so that a program which may write to the clone cannot change what was committed.

    Args:
        source: the path or URL of a repository.
        revision: a full hash, a tag or a branch, which may be followed by `~2` and the like; of a URL
            also any full ref, such as `refs/pull/7/head`.
        clone: the folder to create.

    Raises:
        UserError: there is no such repository or revision, its name is ambiguous, or it has a symbolic
            link to a place outside it, through which a command in the clone would write elsewhere.
    """
    repository = Path(source)
    separate = ["--quiet", "--no-checkout", f"--separate-git-dir={clone}.git"]
    if repository.is_dir():
        git_folder = git(repository, "rev-parse", "--absolute-git-dir")
        commit = resolve_revision(repository, revision)
        shallow = git(repository, "rev-parse", "--is-shallow-repository") == "true"
        options = [*separate, *([] if shallow else ["--shared"])]
        git(clone.parent, "clone", *options, "--", git_folder, str(clone))
    elif "://" in source or ":" in source:
        git(clone.parent, "clone", *separate, "--", source, str(clone))
        _fetch_further(clone, revision)
        commit = resolve_revision(clone, revision, heads="refs/remotes/origin/")
    else:
        raise UserError(
            f"{source}: no such folder, and no URL; give the path or URL of a git repository"
        )
    _refuse_endless_tree(clone, commit)
    git(clone, "checkout", "--quiet", "--detach", commit)
    _refuse_outside_links(clone)
    return commit


def git_in_clone(clone: Path, *command: str) -> str:
    """Return the output of a git command in a clone of `clone_revision`, whatever its `.git` says now."""
    return git(clone, f"--git-dir={clone}.git", f"--work-tree={clone}", *command)


def resolve_revision(repository: Path, revision: str, heads: str = "refs/heads/") -> str:
    """Return the hash of the commit that a revision names.

    A full hash is a hash whatever branches are called. Otherwise a name must mean one commit: as a tag, a
    branch, a remote branch or the start of a hash.

    Args:
        repository: the folder of a git repository.
        revision: as git names it.
        heads: where its branches are; in a clone by URL those of the origin.

    Raises:
        UserError: there is no such revision, or its name is ambiguous.
    """
    end = _SUFFIX.search(revision)
    name, suffix = (revision[: end.start()], revision[end.start() :]) if end else (revision, "")
    if name in {"", "HEAD"} or re.fullmatch(_FULL_HASH, name):
        commit = _commit(repository, revision)
        if commit:
            return commit
        raise UserError(_no_revision(repository, revision))
    refs = [name] if name.startswith("refs/") else [f"refs/tags/{name}", f"{heads}{name}"]
    if not name.startswith("refs/") and heads == "refs/heads/":
        refs.append(f"refs/remotes/{name}")
    candidates = {ref: commit for ref in refs if (commit := _commit(repository, f"{ref}{suffix}"))}
    if re.fullmatch(_SHORT_HASH, name):
        hashes = git(repository, "rev-parse", f"--disambiguate={name}").split()
        commits = {commit for item in hashes if (commit := _commit(repository, f"{item}{suffix}"))}
        candidates |= {f"the hash {commit}": commit for commit in sorted(commits)}
    if not candidates:
        raise UserError(_no_revision(repository, revision))
    if len(set(candidates.values())) > 1:
        meanings = ", ".join(f"{ref} is {commit[:12]}" for ref, commit in candidates.items())
        raise UserError(
            f"{revision!r} is ambiguous: {meanings}; give the full ref or the full hash"
        )
    return next(iter(candidates.values()))


def _commit(repository: Path, expression: str) -> str:
    """Return the hash of a commit, "" if there is none."""
    options = ("--verify", "--quiet", "--end-of-options")
    peel = "" if expression.startswith(":/") else "^{commit}"  # of a message, all is its text
    try:
        return git(repository, "rev-parse", *options, f"{expression}{peel}")
    except UserError:
        return ""


def _no_revision(repository: Path, revision: str) -> str:
    return f"{repository} has no revision {revision!r}; `git log --all` lists its revisions"


def _fetch_further(clone: Path, revision: str) -> None:
    """Fetch a revision that `git clone` leaves out: another ref, or a commit that no branch leads to."""
    is_ref = revision.startswith("refs/") and not revision.startswith(("refs/heads/", "refs/tags/"))
    is_hash = re.fullmatch(_FULL_HASH, revision) is not None
    if revision.startswith("refs/heads/"):
        git(clone, "update-ref", revision, f"refs/remotes/origin/{revision[11:]}")
    elif is_ref or (is_hash and not _commit(clone, revision)):
        target = revision if is_ref else "refs/fetched"
        git(clone, "fetch", "--quiet", "--no-tags", "origin", f"+{revision}:{target}")


def count_changes(repository: Path, clone: Path) -> int:
    """Return how many files of a work tree differ from its HEAD or are new and not ignored.

    Args:
        repository: its folder. Git reads the files with the settings of the clone: those of the
            repository may name programs that git would run on each file.
        clone: of the repository, sharing its objects.
    """
    root = Path(git(repository, "rev-parse", "--show-toplevel"))
    head = git(repository, "rev-parse", "HEAD")
    index = {"GIT_INDEX_FILE": str(clone.parent / "index-of-source")}
    options = (f"--git-dir={clone}.git", f"--work-tree={root}")
    git(root, *options, "read-tree", head, extra_environment=index)
    changed = git(root, *options, "diff", "--name-only", extra_environment=index)
    exclude = Path(git(repository, "rev-parse", "--absolute-git-dir")) / "info/exclude"
    new = git(
        root,
        *options,
        "ls-files",
        "--others",
        "--exclude-standard",
        *([f"--exclude-from={exclude}"] if exclude.is_file() else []),
        extra_environment=index,
    )
    return sum(len(lines.split("\n")) for lines in (changed, new) if lines)


def _refuse_endless_tree(clone: Path, commit: str) -> None:
    """Check how much a commit would write, before anything of it is written.

    Raises:
        UserError: it has too many files, too large ones, or too deep folders.
    """
    command = ("git", *_PLAIN, "ls-tree", "-r", "-l", "-z", commit)
    with subprocess.Popen(
        command,
        cwd=clone,
        env=command_environment(ENVIRONMENT),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        listing = process.stdout.read(_LONGEST_LISTING + 1) if process.stdout else b""
        process.kill()
    entries = listing.split(b"\0")[:-1]
    if len(listing) > _LONGEST_LISTING or len(entries) > _MOST_FILES:
        raise UserError(
            f"the revision has more than {min(len(entries), _MOST_FILES):,} files, or too long paths; "
            "it is not checked out"
        )
    deepest = max((entry.count(b"/") for entry in entries), default=0)
    if deepest > _DEEPEST:
        raise UserError(
            f"the revision has files in {deepest} nested folders; it is not checked out"
        )
    sizes = (entry.partition(b"\t")[0].split()[3] for entry in entries)
    total = sum(int(size) for size in sizes if size.isdigit())
    if total > _MOST_BYTES:
        raise UserError(f"the files of the revision have {total >> 30} GB; it is not checked out")


def _refuse_outside_links(clone: Path) -> None:
    for folder, folders, files in os.walk(clone):
        for path in (Path(folder, name) for name in (*folders, *files)):
            if not path.is_symlink():
                continue
            try:
                is_inside = path.resolve().is_relative_to(clone.resolve())
            except (OSError, RuntimeError):  # the latter by Python 3.11 and 3.12
                raise UserError(
                    f"{path.relative_to(clone)} is a symbolic link that leads in a circle"
                ) from None
            if not is_inside:
                raise UserError(
                    f"{path.relative_to(clone)} is a symbolic link to a place outside the "
                    "repository; nothing of it is run"
                )
