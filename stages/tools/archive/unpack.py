"""Turn an archive back into a git repository with the very same commit, and its DVC cache.

An archive may come from anybody. Nothing is written outside the folder, nothing of it is run, and each file
has the SHA-256 that the manifest states; the commit's hash vouches for the files of the repository.
"""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.progress import progress
from stages.core.repositories import git
from stages.tools.archive.members import CACHE, COMMIT, MANIFEST, REPOSITORY
from stages.tools.archive.reading import Index, damaged, open_archive, read_index
from stages.tools.archive.revision import EXECUTABLE, LINK, REGULAR, check_link, tree_of

if TYPE_CHECKING:
    from dulwich.objects import Commit

_BRANCH = "archive"
_BLOCK = 1 << 20
_CONFIG = "[cache]\n    dir = cache\n"


def unpack(path: Path, folder: Path) -> tuple[Path, str]:
    """Unpack an archive; return the git repository and the commit.

    Args:
        path: the archive.
        folder: to create; or an empty one. On an error it is left as it was.

    Raises:
        UserError: the file is no archive, is damaged, or holds what an archive must not hold.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; name a new folder")
    if not folder.absolute().parent.is_dir():
        raise UserError(f"{folder.absolute().parent} does not exist; create it first")
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.absolute().parent))
    try:
        commit = _unpack(path, scratch)
        scratch.chmod(0o777 & ~_umask())
        scratch.rename(folder.absolute())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder / REPOSITORY.rstrip("/"), commit


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unpack(path: Path, folder: Path) -> str:
    with open_archive(path) as archive:
        index = read_index(path, archive)
        if shutil.disk_usage(folder).free < 2 * index.size:  # git keeps a copy of its files
            raise UserError(f"{path}: no space for {2 * index.size:,} bytes in {folder.parent}")
        _write_files(path, archive, folder, index)
    _restore_commit(path, folder, index)
    return index.commit


def _write_files(path: Path, archive: zipfile.ZipFile, folder: Path, index: Index) -> None:
    """Write every member but the manifest; those of the cache into the repository's DVC folder.

    Links are written as plain files that hold their target: nothing is ever written through one.
    """
    for name in progress(sorted(index.hashes), "unpack"):
        target = folder / _place(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with archive.open(name) as source, target.open("xb") as file:
            while block := source.read(_BLOCK):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != index.hashes[name]:
            raise damaged(path, f"{name} has another SHA-256 than {MANIFEST} states")
        if index.modes.get(name.removeprefix(REPOSITORY)) == EXECUTABLE:
            target.chmod(target.stat().st_mode | 0o111)


def _place(name: str) -> str:
    return f"{REPOSITORY}.dvc/{name}" if name.startswith(CACHE) else name


def _restore_commit(path: Path, folder: Path, index: Index) -> None:
    """Make the unpacked files a git repository whose only commit is that of the archive."""
    from dulwich.repo import Repo

    root = folder / REPOSITORY
    names = _repository_files(root)
    if ".dvc/config" not in names:
        raise damaged(path, "it holds no DVC repository")
    with Repo.init(str(root), object_format=index.object_format) as repo:
        commit = _parse_commit(path, (folder / COMMIT).read_bytes())
        if commit.get_id(repo.object_format).decode() != index.commit:
            raise damaged(path, "the commit object has another hash than archive.json names")
        files = (
            (name, index.modes.get(name, REGULAR), (root / name).read_bytes()) for name in names
        )
        if tree_of(repo, files) != commit.tree:
            raise damaged(path, "the files of the repository are not those of the commit")
        repo.object_store.add_object(commit)
        git_folder = Path(repo.controldir())
    (git_folder / "shallow").write_text(f"{index.commit}\n")
    (git_folder / "info").mkdir(exist_ok=True)
    (git_folder / "info" / "exclude").write_text("/.dvc/cache/\n/.dvc/config.local\n")
    (root / ".dvc" / "config.local").write_text(_CONFIG)  # the commit's own may name another cache
    _write_links(root, index.modes)
    git(root, "update-ref", f"refs/heads/{_BRANCH}", index.commit)
    git(root, "symbolic-ref", "HEAD", f"refs/heads/{_BRANCH}")
    git(root, "read-tree", "HEAD")


def _parse_commit(path: Path, raw: bytes) -> "Commit":
    from dulwich.errors import FileFormatException, ObjectFormatException
    from dulwich.objects import Commit

    try:
        commit: Commit = Commit.from_raw_string(Commit.type_num, raw)  # type: ignore[assignment]
    except (FileFormatException, ObjectFormatException, ValueError):
        raise damaged(path, f"{COMMIT} is no commit object of git") from None
    return commit


def _repository_files(root: Path) -> Sequence[str]:
    """Return the files of the commit, which are all but those of the cache."""
    names = (file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())
    return sorted(name for name in names if not name.startswith(f".dvc/{CACHE}"))


def _write_links(root: Path, modes: Mapping[str, int]) -> None:
    for name, mode in modes.items():
        if mode == LINK:
            target = (root / name).read_bytes()
            check_link(name, target)
            (root / name).unlink()
            (root / name).symlink_to(os.fsdecode(target))
