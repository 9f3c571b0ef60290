"""Archives by strangers: each is refused in one line, and nothing is written outside, or left behind."""

import json
import re
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from hashlib import sha1, sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.errors import UserError
from stages.tools.archive import reading
from stages.tools.archive.members import name_problem
from stages.tools.archive.unpack import unpack

Entry = tuple[zipfile.ZipInfo, bytes]
Change = Callable[[list[Entry]], None]
FILE = (stat.S_IFREG | 0o644) << 16


def read(archive: Path) -> list[Entry]:
    with zipfile.ZipFile(archive) as file:
        return [(info, file.read(info)) for info in file.infolist()]


def rebuild(path: Path, entries: list[Entry]) -> Path:
    """Write entries as an archive, with a manifest that fits them."""
    lines = [
        f"{sha256(content).hexdigest()}  {info.filename}\n"
        for info, content in entries
        if info.filename != "manifest-sha256.txt" and not info.is_dir()
    ]
    with zipfile.ZipFile(path, "w") as file:
        for info, content in entries:
            manifest = info.filename == "manifest-sha256.txt"
            file.writestr(info, "".join(lines).encode() if manifest else content)
    return path


def entry(name: str, content: bytes = b"canary", mode: int = FILE) -> Entry:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode
    info.create_system = 3
    return info, content


def replace(entries: list[Entry], name: str, content: bytes) -> None:
    names = [info.filename for info, _ in entries]
    entries[names.index(name)] = entry(name, content)


def content(entries: list[Entry], name: str) -> bytes:
    return next(data for info, data in entries if info.filename == name)


def describe(**changes: object) -> Change:
    """Return a change of archive.json."""

    def change(entries: list[Entry]) -> None:
        description = json.loads(content(entries, "archive.json")) | changes
        replace(entries, "archive.json", json.dumps(description).encode())

    return change


def with_commit(edit: Callable[[bytes], bytes]) -> Change:
    """Return a change of the commit object, to which archive.json agrees."""

    def change(entries: list[Entry]) -> None:
        raw = edit(content(entries, "commit"))
        replace(entries, "commit", raw)
        name = sha1(b"commit %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()
        describe(commit=name)(entries)

    return change


def add(*added: Entry) -> Change:
    return lambda entries: entries.extend(added)


def drop(name: str) -> Change:
    def change(entries: list[Entry]) -> None:
        entries[:] = [pair for pair in entries if pair[0].filename != name]

    return change


def compress(entries: list[Entry]) -> None:
    entries[-1][0].compress_type = zipfile.ZIP_DEFLATED


def swap_link(target: str) -> Change:
    """Return a change that makes README.md a link."""

    def change(entries: list[Entry]) -> None:
        replace(entries, "repository/README.md", target.encode())
        describe(modes={"README.md": "120000"})(entries)

    return change


ATTACKS: dict[str, tuple[Change, str]] = {
    "absolute name": (add(entry("/tmp/canary")), "leads out"),  # noqa: S108
    "parent": (add(entry("repository/../../canary")), "leads out"),
    "parent at once": (add(entry("../canary")), "leads out"),
    "dot": (add(entry("repository/./canary")), "leads out"),
    "two slashes": (add(entry("repository//canary")), "leads out"),
    "backslashes": (add(entry("repository\\..\\..\\canary")), "backslash"),
    "drive": (add(entry("C:/canary")), "no part of an archive"),
    "unknown folder": (add(entry("hooks/canary")), "no part of an archive"),
    "escape sequence": (add(entry("repository/\x1b[2Jcanary")), "cannot be printed"),
    "reordered text": (add(entry("repository/\u202ecanary")), "cannot be printed"),
    "long name": (add(entry("repository/" + "a" * 300)), "too long"),
    "git hook": (add(entry("repository/.git/hooks/post-checkout")), "reserved by git"),
    "git hook in capitals": (add(entry("repository/.GIT/config")), "reserved by git"),
    "git on Windows": (add(entry("repository/git~1/config")), "reserved by git"),
    "git on a Mac": (add(entry("repository/.g\u200cit/config")), "cannot be printed"),
    "nested repository": (add(entry("repository/a/.git/config")), "reserved by git"),
    "settings of DVC": (add(entry("repository/.dvc/config.local")), "DVC's own"),
    "DVC's temporary files": (add(entry("repository/.dvc/tmp/rwlock")), "DVC's own"),
    "cache in the commit": (add(entry("repository/.dvc/cache/files/md5/00/1")), "DVC's own"),
    "no hash in the cache": (add(entry("cache/files/md5/../../canary")), "leads out"),
    "another cache": (add(entry("cache/runs/canary")), "no object of a DVC cache"),
    "link": (add(entry("repository/x", b"/etc", (stat.S_IFLNK | 0o777) << 16)), "no plain file"),
    "device": (add(entry("repository/x", b"", (stat.S_IFCHR | 0o600) << 16)), "no plain file"),
    "pipe": (add(entry("repository/x", b"", (stat.S_IFIFO | 0o600) << 16)), "no plain file"),
    "folder": (add(entry("repository/x/", b"", (stat.S_IFDIR | 0o755) << 16)), "leads out"),
    "no type": (add(entry("repository/x", b"", 0)), "no plain file"),
    "twice": (add(entry("repository/x"), entry("repository/x")), "occurs twice"),
    "file and folder": (add(entry("repository/x"), entry("repository/x/y")), "a file and a folder"),
    "below a file": (add(entry("repository/README.md/x")), "a file and a folder"),
    "compressed": (compress, "is compressed"),
    "no commit": (drop("commit"), "has no commit"),
    "no manifest": (drop("manifest-sha256.txt"), "has no manifest-sha256.txt"),
    "no description": (drop("archive.json"), "has no archive.json"),
    "no DVC": (drop("repository/.dvc/config"), "no DVC repository"),
    "a file of the commit is missing": (drop("repository/README.md"), "not those of the commit"),
    "a file more than the commit": (add(entry("repository/x")), "not those of the commit"),
    "link out of the repository": (swap_link("../../canary"), "not those of the commit"),
    "another format": (describe(format="evidence-archive-9"), "its format is"),
    "no format": (describe(format=None), "its format is"),
    "commit of another type": (describe(commit=7), "names no commit"),
    "commit as an option": (describe(commit="--upload-pack=canary"), "names no commit"),
    "another commit": (describe(commit="0" * 40), "another hash"),
    "unknown hash function": (describe(object_format="md5"), "names no commit"),
    "modes of other files": (describe(modes={"../canary": "100755"}), "modes that its files"),
    "submodule": (describe(modes={"README.md": "160000"}), "modes that its files"),
    "modes are no mapping": (describe(modes=[]), "modes that its files"),
    "mode as a list": (describe(modes={"README.md": ["100755"]}), "modes that its files"),
    "executables are none": (describe(modes={}), "not those of the commit"),
    "description is a list": (
        lambda entries: replace(entries, "archive.json", b"[1, 2]"),
        "is no JSON",
    ),
    "description is deep": (
        lambda entries: replace(entries, "archive.json", b"[" * 100_000),
        "is no JSON",
    ),
    "other text in the commit": (
        lambda entries: replace(entries, "commit", content(entries, "commit") + b"!"),
        "another hash",
    ),
    "commit without a tree": (with_commit(lambda _: b"not a commit"), "is no commit object"),
    "commit of another tree": (
        with_commit(lambda raw: re.sub(rb"^tree .{40}", b"tree " + b"0" * 40, raw)),
        "not those of the commit",
    ),
    "empty commit": (with_commit(lambda _: b""), "is no commit object"),
}


def refuse(path: Path, folder: Path, reason: str) -> None:
    """Unpack an archive, which must be refused; nothing may be left."""
    folder.mkdir()
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(UserError, match=re.escape(reason)) as caught:
        unpack(path, folder / "unpacked")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ATTACKS)
def test_an_archive_that_attacks_is_refused(name: str, archive: Path, tmp_path: Path) -> None:
    change, reason = ATTACKS[name]
    entries = read(archive)
    change(entries)
    refuse(rebuild(tmp_path / "hostile.zip", entries), tmp_path / "folder", reason)
    assert not list(tmp_path.parent.glob("canary"))


def test_a_link_out_of_the_repository_is_refused_even_if_the_commit_has_it(
    archived_toy: Path, tmp_path: Path
) -> None:
    """An honest commit with such a link cannot be archived; a forger writes the archive by hand."""
    from support.archives import contents_of

    from stages.tools.archive import members, revision

    with pytest.MonkeyPatch.context() as patch:
        (archived_toy / "README.md").unlink()
        (archived_toy / "README.md").symlink_to("../../canary")
        from support.project import commit

        commit(archived_toy, "a link")
        patch.setattr(revision, "check_link", lambda *_: None)
        members.write_archive(tmp_path / "hostile.zip", contents_of(archived_toy).members())
    refuse(tmp_path / "hostile.zip", tmp_path / "folder", "symbolic link to a place outside")


def test_changed_bytes_are_refused(archive: Path, tmp_path: Path) -> None:
    """Behind the back of the ZIP's own checksums, which a forger corrects."""
    entries = read(archive)
    weights = next(index for index, (_, data) in enumerate(entries) if data == b"weights of image")
    with zipfile.ZipFile(tmp_path / "forged.zip", "w") as file:
        for index, (info, data) in enumerate(entries):
            file.writestr(info, b"weights of nobody" if index == weights else data)
    refuse(tmp_path / "forged.zip", tmp_path / "folder", "another SHA-256")


def test_a_manifest_that_leaves_a_file_out_is_refused(archive: Path, tmp_path: Path) -> None:
    entries = read(archive)
    with zipfile.ZipFile(tmp_path / "forged.zip", "w") as file:
        for info, data in entries:
            file.writestr(info, data)
        file.writestr(*entry("tasks/image/more.md"))
    refuse(tmp_path / "forged.zip", tmp_path / "folder", "not in both")


@pytest.mark.parametrize("line", ["no hash  README.md", "", "0" * 63 + "  README.md"])
def test_a_manifest_with_other_lines_is_refused(line: str, archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "forged.zip", "w") as file:
        for info, data in read(archive):
            is_manifest = info.filename == "manifest-sha256.txt"
            file.writestr(info, data + f"{line}\n".encode() if is_manifest else data)
    refuse(tmp_path / "forged.zip", tmp_path / "folder", "has the line")


def test_a_bomb_of_overlapping_files_is_refused(archive: Path, tmp_path: Path) -> None:
    """Entries of the directory that all point at the same bytes."""
    entries = read(archive)
    entries.append(entry("tasks/image/large", bytes(1_000_000)))
    path = rebuild(tmp_path / "bomb.zip", entries)
    raw = path.read_bytes()
    start = raw.rindex(b"PK\1\2")
    end = raw.rindex(b"PK\5\6")
    record, tail = raw[start:end], raw[end:]
    copies = b"".join(record.replace(b"large", b"%05d" % number) for number in range(99))
    count, size = struct.unpack_from("<HL", tail, 10)
    tail = tail[:8] + struct.pack("<HHL", count + 99, count + 99, size + len(copies)) + tail[16:]
    path.write_bytes(raw[:end] + copies + tail)
    refuse(path, tmp_path / "folder", "larger than the archive")


def test_too_many_files_are_refused(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_FILES", 10)
    refuse(archive, tmp_path / "folder", "at most 10 are allowed")


def test_a_directory_of_the_zip_that_is_too_large_is_refused(archive: Path, tmp_path: Path) -> None:
    raw = bytearray(archive.read_bytes())
    struct.pack_into("<L", raw, len(raw) - 10, 0xFFFFFFF0)
    (tmp_path / "hostile.zip").write_bytes(raw)
    refuse(tmp_path / "hostile.zip", tmp_path / "folder", "its directory has 4,294,967,280 bytes")
    record = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 1 << 50, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(raw) - 22, 1)
    end = archive.read_bytes()[-22:]
    (tmp_path / "hostile64.zip").write_bytes(archive.read_bytes()[:-22] + record + locator + end)
    refuse(
        tmp_path / "hostile64.zip", tmp_path / "folder64", f"its directory has {1 << 50:,} bytes"
    )


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all" * 100, b"PK\5\6" + bytes(18)])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other.zip").write_bytes(content)
    refuse(tmp_path / "other.zip", tmp_path / "folder", "is no archive of `evidence archive`")


def test_a_file_that_is_not_there_and_a_folder_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, reason in (("none.zip", "No such file"), ("a", "Is a directory")):
        with pytest.raises(UserError, match=reason):
            unpack(tmp_path / name, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_damage_anywhere_is_refused_or_changes_nothing(
    data: st.DataObject, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A byte that is changed, or an end that is missing: one line, or the same commit and files."""
    raw = bytearray(archive.read_bytes())
    if data.draw(st.booleans()):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position] ^= data.draw(st.integers(1, 255))
    else:
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "damaged.zip").write_bytes(raw)
    try:
        repository, commit = unpack(folder / "damaged.zip", folder / "unpacked")
    except UserError:
        assert [path.name for path in folder.iterdir()] == ["damaged.zip"]
    else:
        assert commit == json.loads((folder / "unpacked/archive.json").read_text())["commit"]
        assert (repository / "README.md").read_text() == "# Toy pipeline\n"
    shutil.rmtree(folder)


@given(st.text())
def test_a_name_that_is_allowed_stays_in_its_folder(name: str) -> None:
    for full in (name, f"repository/{name}", f"tasks/{name}"):
        if not name_problem(full):
            place = (Path("/root") / full).as_posix()
            assert place == f"/root/{full}"
            assert ".." not in place.split("/")
            assert ".git" not in place.casefold().split("/")
