"""Image files decoded in shards: the same bytes as without, and what is finished is not done again."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.images import image_task, make_folder, noise
from support.stages import run_stages

from stages.core.errors import UserError
from stages.core.files import write_all
from stages.core.slots import VARIABLE
from stages.datasets.images import shards
from stages.datasets.images.decoding import Decoder
from stages.datasets.images.files import GreyDepth
from stages.datasets.images.shards import decode_files, write_shard
from stages.kinds.image_classification.prepare import prepare

FINISHED = Path("data/resume/prepare/image")
OUTPUTS = ("images.npy", "samples.csv", "dataset.json", "excluded_samples.csv")

Outputs = dict[str, bytes]


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def make_images() -> Path:
    """Write 60 images of two classes: with duplicates, animations and files that are no images."""
    raw = make_folder(Path("raw"), count=25)
    shutil.copy(raw / "b/3.png", raw / "a/again.png")
    shutil.copy(raw / "a/7.png", raw / "a/7, copied.png")
    frames = [noise(number) for number in range(3)]
    for name in ("a/0, moving.gif", "b/99, moving.gif"):
        frames[0].save(raw / name, save_all=True, append_images=frames[1:])
        frames.reverse()
    for name in ("a/00 text.png", "a/11.txt", "b/zz.png"):
        (raw / name).write_text(f"no image {name}")
    (raw / "b/cut.png").write_bytes((raw / "b/0.png").read_bytes()[:60])
    noise(5, 3).save(raw / "b/small.png")
    noise(6, 8).save(raw / "b/10, of 8.bmp")
    return raw


def prepared(length: int, processes: int, **changes: object) -> Outputs:
    """Prepare a folder in shards of some length; return what prepare writes."""
    out = Path("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(processes - 1))  # beside the one of the stage itself
        patch.setattr(shards, "SHARD_FILES", length)
        write_all(out, prepare(image_task(Path("raw"), **changes), out).files())
    return {name: (out / name).read_bytes() for name in OUTPUTS}


def finished() -> dict[str, int]:
    """Return the finished shards: their files, with what changes when one is written again."""
    files = (file for file in FINISHED.iterdir() if not file.name.startswith("."))
    return {file.name: file.stat().st_ino for file in files}


@pytest.mark.parametrize(("length", "processes"), [(7, 1), (7, 2), (13, 3), (59, 2), (60, 2)])
def test_neither_processes_nor_shards_change_a_byte(length: int, processes: int) -> None:
    make_images()
    undivided = prepared(1000, 1)
    assert not FINISHED.exists()
    assert prepared(length, processes) == undivided
    assert not FINISHED.exists() if length >= 60 else len(finished()) == -(-60 // length)
    assert b"a/0, moving.gif, b/99, moving.gif" in undivided["dataset.json"]
    assert undivided["excluded_samples.csv"].count(b"unreadable") == 5


def test_large_images_make_short_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    make_images()
    undivided = prepared(1000, 1)
    monkeypatch.setattr(shards, "_SHARD_BYTES", 64 * 20)
    assert prepared(1000, 2) == undivided
    assert len(finished()) == 3


def killed_after(count: int) -> None:
    """Prepare in one process, in shards of 13 files, until `count` are finished."""
    stage = os.getpid()

    def write_or_kill(shard: shards.Shard, threads: int = 1) -> None:
        if len(finished()) == count:
            os.kill(stage, signal.SIGKILL)
        write_shard(shard, threads)

    shards.write_shard = write_or_kill
    prepared(13, 1)


def test_a_killed_run_goes_on_from_its_finished_shards() -> None:
    make_images()
    process = multiprocessing.get_context("fork").Process(target=killed_after, args=(3,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    before = finished()
    assert 3 <= len(before) < 5  # the copy that killed the stage may end its own shard
    result = prepared(13, 2)
    assert len(finished()) == 5
    assert before.items() <= finished().items()
    shutil.rmtree(FINISHED)
    assert result == prepared(1000, 1)


@pytest.mark.parametrize("change", ["pixels", "time", "name"])
def test_a_changed_file_is_decoded_again(change: str) -> None:
    raw = make_images()
    first = prepared(13, 2)
    before = finished()
    if change == "pixels":
        noise(1234).save(raw / "a/20.png")
    elif change == "time":
        os.utime(raw / "a/20.png", (1, 1))
    else:
        (raw / "a/20.png").rename(raw / "a/20 .png")
    second = prepared(13, 2)
    assert len(finished().keys() - before.keys()) == 1
    assert (second["images.npy"] == first["images.npy"]) == (change != "pixels")
    assert second == prepared(1000, 1)


@pytest.mark.parametrize("changes", [{"size": 6}, {"channels": 3}, {"max_pixels": 63}])
def test_other_params_decode_all_again(changes: dict[str, object]) -> None:
    make_images()
    prepared(13, 2)
    before = finished()
    if "max_pixels" in changes:  # no file is readable
        with pytest.raises(UserError, match="none of 60 files is a readable image"):
            prepared(13, 2, **changes)
    else:
        assert prepared(13, 2, **changes) == prepared(1000, 1, **changes)
    assert len(finished()) == 2 * len(before)


def test_labels_and_groups_decode_nothing_again() -> None:
    make_images()
    prepared(13, 2)
    before = finished()
    prepared(13, 2, group_pattern=r"(\w+)[^/]*$", split={"test": 0.2, "validation": 0.2, "seed": 3})
    assert finished() == before


def spoil(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [spoil, Path.unlink])
def test_a_damaged_shard_is_decoded_again(damage: Callable[[Path], None]) -> None:
    make_images()
    first = prepared(13, 2)
    damage(sorted(FINISHED.iterdir())[2])
    assert prepared(13, 2) == first
    assert len(finished()) == 5


def test_the_shards_of_a_killed_process_are_decoded_by_the_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_images()
    undivided = prepared(1000, 1)
    stage = os.getpid()

    def write_or_die(shard: shards.Shard, threads: int = 1) -> None:
        if os.getpid() != stage and "b/3.png" in shard.paths:
            os.kill(os.getpid(), signal.SIGKILL)
        write_shard(shard, threads)

    monkeypatch.setattr(shards, "write_shard", write_or_die)
    assert prepared(13, 2) == undivided
    lines = capsys.readouterr().err.splitlines()  # on a busy machine the progress is among them
    assert "a process that read images was ended by signal 9; they are read again" in lines


def test_where_no_process_can_be_copied_the_stage_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    make_images()
    undivided = prepared(1000, 1)
    monkeypatch.setattr("stages.core.side_by_side.sys.platform", "darwin")
    assert prepared(13, 2) == undivided


def test_a_file_that_changes_after_the_listing_stops_the_run() -> None:
    raw = make_images()
    paths = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    decoder = Decoder(raw, 8, 1, 10_000, 16)
    FINISHED.mkdir(parents=True)
    first, second = shards._cut(decoder, paths[:20], 10, FINISHED)
    os.utime(raw / paths[15], (1, 1))
    write_shard(first)
    with pytest.raises(UserError, match=r"^raw changed while it was read; run again once"):
        write_shard(second)
    assert finished().keys() == {first.file.name}
    with pytest.raises(
        UserError, match=r"no folder on .*: the images and the project must be on storage"
    ):
        write_shard(second.moved_to(Path("/nowhere")))


def test_one_process_of_all_looks_for_the_depth_of_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_images()
    for number in range(20):  # in the middle of several shards
        deep = np.asarray(noise(number)).astype(np.uint16) * 13
        Image.fromarray(deep).save(raw / f"b/{number:02}, deep.png")
    undivided = prepared(1000, 1)
    greatest = GreyDepth._greatest

    def noted(depth: GreyDepth, path: str) -> int:
        with Path("looked at").open("a") as file:
            file.write(f"{os.getpid()} {path}\n")
        return greatest(depth, path)

    monkeypatch.setattr(GreyDepth, "_greatest", noted)
    assert prepared(13, 3) == undivided
    lines = Path("looked at").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 80
    assert {line.split()[0] for line in lines} == {str(os.getpid())}
    assert b'"grey_bits": 12' in undivided["dataset.json"]
    depths = [name for name in finished() if "-12." in name]
    assert len(depths) == sum(name.endswith(".deep") for name in finished()) > 1
    # More bits change these shards, and no others.
    before = finished()
    Image.fromarray(np.full((8, 8), 5000, np.uint16)).save(raw / "b/00, deep.png")
    assert prepared(13, 3) == prepared(1000, 1)
    assert len([name for name in finished() if "-13." in name]) == len(depths)
    plain = [name for name in before if "-" not in name and not name.endswith(".deep")]
    assert all(finished()[name] == before[name] for name in plain)


def test_an_error_of_one_file_is_that_of_a_run_without_shards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = make_images()
    decoder = Decoder(raw, 8, 1, 10_000, 16)
    paths = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.*"))
    monkeypatch.setattr(shards, "SHARD_FILES", 13)
    whole, parts = ([*decode_files(decoder, paths, folder)] for folder in (None, FINISHED))
    for first, second in zip(whole, parts, strict=True):
        assert (first.problem, first.has_further_frames) == (
            second.problem,
            second.has_further_frames,
        )
        np.testing.assert_array_equal(first.pixels, second.pixels)


def test_the_stage_deletes_the_shards_when_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = make_images()
    monkeypatch.setattr(shards, "SHARD_FILES", 13)
    monkeypatch.setenv(VARIABLE, "2")
    expected = prepared(13, 2)
    assert finished()
    run_stages(tmp_path, image_task(raw), ("prepare",))
    assert not FINISHED.exists()
    folder = Path("data/prepare/image")
    assert {name: (folder / name).read_bytes() for name in OUTPUTS} == expected
