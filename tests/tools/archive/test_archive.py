"""`evidence archive` and `evidence unpack`: the same bytes, the same commit, nothing lost or guessed."""

import hashlib
import re
import shutil
import stat
import zipfile
from pathlib import Path

import pytest
from support.archives import FILES, TASKS, contents_of
from support.project import ROOT, commit, run

from stages.core.errors import UserError
from stages.core.files import sha256
from stages.tools.archive.members import write_archive
from stages.tools.archive.revision import check_link
from stages.tools.archive.unpack import unpack
from stages.tools.cli import main

COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def head(folder: Path) -> str:
    return run(folder, "git", "rev-parse", "HEAD").stdout.strip()


def make_archive(project: Path, path: Path, **options: Path | bool) -> Path:
    write_archive(path, contents_of(project, **options).members())  # type: ignore[arg-type]
    return path


class Terminal:
    """Runs the command `evidence` of this project in other folders."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.patch, self.capture = patch, capture

    def run(self, folder: Path, *arguments: str, status: int = 0) -> tuple[str, str]:
        """Return what it prints to stdout and to stderr."""
        self.patch.chdir(folder)
        self.capture.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        output, errors = self.capture.readouterr()
        assert stop.value.code == status, errors
        return output, errors

    def refused(self, folder: Path, *arguments: str) -> str:
        """Return the one line with which it refuses its arguments."""
        _, errors = self.run(folder, *arguments, status=2)
        (line,) = errors.splitlines()
        return line


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capsys)


def cache_object(project: Path, text: str) -> Path:
    """Return the object of the cache that holds a text."""
    md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def rewrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)  # DVC protects its objects
    path.write_bytes(content)


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository, _ = unpack(archive, tmp_path_factory.mktemp("unpacked") / "toy")
    return repository


def test_the_same_commit_gives_the_same_bytes(
    archived: Path, archive: Path, tmp_path: Path
) -> None:
    """In another place, at another time, with other times of files and another order of folders."""
    shutil.copytree(
        archived / "toy", tmp_path / "elsewhere", symlinks=True, copy_function=shutil.copy
    )
    again = make_archive(tmp_path / "elsewhere", tmp_path / "again.zip")
    assert again.read_bytes() == archive.read_bytes()


def test_the_archive_of_an_unpacked_archive_is_the_archive(
    unpacked: Path, archive: Path, tmp_path: Path
) -> None:
    assert make_archive(unpacked, tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_any_program_can_read_and_check_it(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        assert {member.compress_type for member in file.infolist()} == {zipfile.ZIP_STORED}
        assert file.namelist() == sorted(file.namelist())
        file.extractall(tmp_path)
    run(tmp_path, "sha256sum", "--check", "--quiet", "--strict", "manifest-sha256.txt")


def test_unpacking_gives_the_very_same_commit(archived: Path, unpacked: Path) -> None:
    assert head(unpacked) == head(archived / "toy")
    assert run(unpacked, "git", "log", "--format=%B").stdout.startswith("f\u00fcnf\n\nwith a body")
    listing = ("git", "ls-tree", "-r", "--full-tree", "HEAD")
    assert run(unpacked, *listing).stdout == run(archived / "toy", *listing).stdout
    run(unpacked, "git", "fsck", "--strict")
    assert run(unpacked, "git", "status", "--porcelain").stdout == ""


def test_the_files_are_those_of_the_commit(unpacked: Path) -> None:
    for name, text in FILES.items():
        if not name.startswith("photos/"):  # DVC has them
            assert (unpacked / name).read_bytes() == text.encode()
    assert (unpacked / "run.sh").stat().st_mode & stat.S_IXUSR
    assert not (unpacked / "README.md").stat().st_mode & stat.S_IXUSR
    assert (unpacked / "evidence/link").readlink() == Path("../README.md")


def test_dvc_has_data_and_weights_again(archive: Path, tmp_path: Path) -> None:
    repository, _ = unpack(archive, tmp_path / "toy")
    run(
        repository, "dvc", "checkout", "--quiet", "photos.dvc", *(f"train@{task}" for task in TASKS)
    )
    assert (repository / "photos/two words.txt").read_text() == "another photo"
    for task in TASKS:
        weights = repository / f"data/train/{task}/weights-0.safetensors"
        assert weights.read_text() == f"weights of {task}"
    # Raw images are among the data that DVC tracks for neither task: the prepared samples are there.
    run(repository, "dvc", "checkout", "--quiet", "prepare@image")
    assert (repository / "data/prepare/image/images.npy").read_text() == "image"


def test_the_commands_of_its_readme_restore_it_without_this_project(
    archive: Path, archived: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    text = (tmp_path / "README.md").read_text()
    (script,) = (block for block in COMMANDS.findall(text) if "git init" in block)
    assert text.count("\n```") == 6
    assert "\n\n```\n" not in text.replace("\n\n```sh\n", "")
    assert text.endswith("dataset\\_note.json has its hash)\n")
    printed = run(tmp_path, "sh", "-ec", script).stdout.split()
    repository, tree = tmp_path / "repository", printed[0]
    assert printed == [tree, "tree", tree, head(archived / "toy")]
    assert head(repository) == head(archived / "toy")
    assert run(repository, "git", "status", "--porcelain", "-uno").stdout == ""
    run(repository, "dvc", "checkout", "--quiet", "train@image")
    assert (repository / "data/train/image/weights-0.safetensors").exists()


def test_the_command_says_what_it_holds_and_what_is_open(
    archived_toy: Path, tmp_path: Path, terminal: Terminal
) -> None:
    (archived_toy / "README.md").write_text("changed")
    out = tmp_path / "toy.zip"
    output, errors = terminal.run(archived_toy, "archive", "--out", str(out))
    assert f"sha256 {sha256(out)}  {out}" in output
    assert (
        "image: 1 files of weights; the prepared samples; the raw data come from its source"
        in output
    )
    assert (
        "sentiment: 1 files of weights; the raw data (data/raw/sentiment/reviews.csv, from git)"
        in output
    )
    assert re.search(
        r"image, open items for a person to answer: REFORMS \d+ of 32, NeurIPS \d+ of 16", output
    )
    assert "1 uncommitted changes are not in it" in errors
    output, _ = terminal.run(tmp_path, "unpack", "toy.zip", "unpacked")
    assert output == f"unpacked/repository: commit {head(archived_toy)}\n"
    assert (tmp_path / "unpacked/repository/README.md").read_text() == FILES["README.md"]


def test_an_existing_file_or_folder_is_left_alone(
    archived_toy: Path, archive: Path, tmp_path: Path, terminal: Terminal
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert "notes.txt exists" in terminal.refused(archived_toy, "archive", "--out", "../notes.txt")
    assert "existing folder" in terminal.refused(
        archived_toy, "archive", "--out", "nowhere/toy.zip"
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        unpack(archive, tmp_path / "full")
    assert (
        (tmp_path / "notes.txt").read_text() == (tmp_path / "full/notes.txt").read_text() == "mine"
    )


def test_without_data_hashes_and_origin_stay(archived: Path, tmp_path: Path) -> None:
    path = make_archive(archived / "toy", tmp_path / "toy.zip", data=False)
    repository, commit_ = unpack(path, tmp_path / "toy")
    assert commit_ == head(archived / "toy")
    folder = repository / ".dvc/cache/files/md5"
    contents = {file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert b"weights of image" in contents
    assert not contents & {b"a photo", b"image"}
    assert not (tmp_path / "toy/tasks/image/samples.csv").exists()
    description = (tmp_path / "toy/archive.json").read_text()
    assert re.search(r"left out: photos \(photos\.dvc, md5 [0-9a-f]{32}\.dir\)", description)
    assert '"raw_sha256": "' in description


def test_weights_that_are_not_in_the_cache_are_named(archived_toy: Path) -> None:
    cache_object(archived_toy, "weights of sentiment").unlink()
    with pytest.raises(
        UserError, match=r"data/train/sentiment .* is not in DVC's cache; .*`dvc pull train@"
    ):
        contents_of(archived_toy)


def test_data_that_are_not_in_the_cache_are_named(archived_toy: Path) -> None:
    cache_object(archived_toy, "a photo").unlink()
    with pytest.raises(UserError, match=r"photos \(photos\.dvc\) is not in DVC's cache"):
        contents_of(archived_toy)
    assert contents_of(archived_toy, data=False).members()


def test_a_damaged_object_of_the_cache_is_named(archived_toy: Path) -> None:
    rewrite(cache_object(archived_toy, "weights of image"), b"weights of another")
    with pytest.raises(UserError, match="damaged in DVC's cache"):
        contents_of(archived_toy)


def test_wheels_are_those_of_the_requirements(archived_toy: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "small-1.0-py3-none-any.whl").write_bytes(b"a wheel")
    with pytest.raises(UserError, match="no package in requirements/ has its SHA-256"):
        contents_of(archived_toy, packages=wheels)
    digest = hashlib.sha256(b"a wheel").hexdigest()
    with (archived_toy / "requirements/base.txt").open("a") as file:
        file.write(f"small[extra]==1.0 ; python_version > '3' \\\n    --hash=sha256:{digest}\n")
    commit(archived_toy, "a package")
    contents = contents_of(archived_toy, packages=wheels)
    assert "1 packages of requirements/ have no wheel here: numpy" in contents.notes
    names = {member.name for member in contents.members()}
    assert "wheels/small-1.0-py3-none-any.whl" in names
    (wheels / "folder").mkdir()
    with pytest.raises(UserError, match="nothing else"):
        contents_of(archived_toy, packages=wheels)


@pytest.mark.parametrize(
    "target", ["../outside", "/etc/passwd", "a/../../outside", "..", "", "a\\b"]
)
def test_links_out_of_the_repository_are_refused(
    archived_toy: Path, target: str, terminal: Terminal
) -> None:
    with pytest.raises(UserError, match="symbolic link to a place outside"):
        check_link("link", target.encode())
    if target not in {"", "a\\b"}:
        (archived_toy / "link").symlink_to(target)
        commit(archived_toy, "a link")
        assert "link is a symbolic link" in terminal.refused(
            archived_toy, "archive", "--out", "toy.zip"
        )
        assert not (archived_toy / "toy.zip").exists()


@pytest.mark.parametrize("target", ["../README.md", "../../x", "here", "./x/y", ".."])
def test_links_within_the_repository_are_kept(target: str) -> None:
    check_link("a/b/link", target.encode())


def test_names_that_not_every_system_can_hold_are_refused(
    archived_toy: Path, terminal: Terminal
) -> None:
    (archived_toy / "back\\slash.txt").write_text("")
    commit(archived_toy, "a name")
    assert "backslash" in terminal.refused(archived_toy, "archive", "--out", "../toy.zip")
    assert not (archived_toy.parent / "toy.zip").exists()


def test_a_repository_without_dvc_is_refused(tmp_path: Path, terminal: Terminal) -> None:
    run(tmp_path, "git", "init", "--quiet")
    commit(tmp_path, "empty")
    assert "no DVC repository" in terminal.refused(tmp_path, "archive", "--out", "x.zip")
    assert "no revision 'v9'" in terminal.refused(tmp_path, "archive", "v9", "--out", "x.zip")


def test_a_repository_without_tasks_can_be_archived(archived_toy: Path, tmp_path: Path) -> None:
    """Any DVC repository: the commit and the data that DVC tracks."""
    shutil.rmtree(archived_toy / "evidence")
    (archived_toy / "params.yaml").unlink()
    commit(archived_toy, "no tasks")
    path = make_archive(archived_toy, tmp_path / "toy.zip")
    repository, commit_ = unpack(path, tmp_path / "unpacked")
    assert commit_ == head(archived_toy) == head(repository)
    assert not (tmp_path / "unpacked/tasks").exists()
    assert "another photo" in {
        file.read_text() for file in (repository / ".dvc/cache").rglob("*") if file.is_file()
    }


def test_the_repository_itself_has_no_name_that_an_archive_cannot_hold() -> None:
    from stages.tools.archive.members import name_problem

    names = run(ROOT, "git", "ls-files").stdout.split("\n")[:-1]
    assert [name for name in names if name_problem(f"repository/{name}")] == []


def test_a_clone_without_all_objects_is_refused(archived_toy: Path) -> None:
    blob = run(archived_toy, "git", "rev-parse", "HEAD:README.md").stdout.strip()
    (archived_toy / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(UserError, match=f"object b'{blob}' is not here; this clone is incomplete"):
        contents_of(archived_toy)


def test_a_commit_that_its_files_do_not_give_is_refused(archived_toy: Path) -> None:
    """Git itself commits no empty folder; a commit with one could not be restored."""
    empty = run(archived_toy, "git", "hash-object", "-w", "-t", "tree", "/dev/null").stdout.strip()
    listing = run(archived_toy, "git", "ls-tree", "HEAD").stdout
    (archived_toy / "listing").write_text(f"{listing}040000 tree {empty}\tzzz\n")
    tree = run(archived_toy, "sh", "-c", "git mktree < listing").stdout.strip()
    commit_ = run(archived_toy, "git", "commit-tree", "-m", "empty", tree).stdout.strip()
    run(archived_toy, "git", "reset", "--quiet", "--soft", commit_)
    with pytest.raises(UserError, match="its files alone do not give its tree"):
        contents_of(archived_toy)


def test_submodules_and_old_modes_are_refused(archived_toy: Path) -> None:
    head_ = head(archived_toy)
    run(archived_toy, "git", "update-index", "--add", "--cacheinfo", f"160000,{head_},module")
    run(archived_toy, "git", "commit", "--quiet", "-m", "a submodule")
    with pytest.raises(UserError, match="module is a submodule"):
        contents_of(archived_toy)


def test_a_repository_that_names_its_objects_by_sha256(archived_toy: Path, tmp_path: Path) -> None:
    shutil.rmtree(archived_toy / ".git")
    run(archived_toy, "git", "init", "--quiet", "--object-format=sha256")
    commit(archived_toy, "anew")
    repository, commit_ = unpack(make_archive(archived_toy, tmp_path / "x.zip"), tmp_path / "x")
    assert len(commit_) == 64
    assert head(repository) == commit_ == head(archived_toy)
    run(repository, "git", "fsck", "--strict")
