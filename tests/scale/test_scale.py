"""What the measurement of many images makes and reads, without the many images."""

import io
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reliability.trials import file_digests

from scale.measuring import Peak
from scale.photographs import read_photographs, variant, write_variants
from scale.report import PAGE, RESULTS, page


def make_archive(file: Path) -> Path:
    random = np.random.default_rng(0)
    with tarfile.open(file, "w:gz") as archive:
        for number in range(6):
            data = io.BytesIO()
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(data, "JPEG")
            member = tarfile.TarInfo(f"train/{'ab'[number % 2]}/{number}.jpg")
            member.size = data.tell()
            data.seek(0)
            archive.addfile(member, data)
    return file


def test_the_page_shows_the_recorded_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(json.loads(RESULTS.read_text()))


def test_fewer_images_are_the_first_of_more(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "photographs.tar.gz")
    for count in (9, 14):
        write_variants(archive, tmp_path / str(count), count)
    few, many = (file_digests(tmp_path / str(count)) for count in (9, 14))
    assert (len(few), len(many)) == (9, 14)
    assert few.items() <= many.items()
    assert len(set(many.values())) == 14
    assert {Path(name).parts[0] for name in many} == {"a", "b"}


def test_variants_differ_from_the_photograph_and_from_each_other(tmp_path: Path) -> None:
    photograph = read_photographs(make_archive(tmp_path / "photographs.tar.gz"))[0][0]
    variants = [variant(photograph, turn) for turn in range(17)]
    np.testing.assert_array_equal(variants[0], photograph)
    assert {image.shape for image in variants} == {(32, 32, 3)}
    assert len({image.tobytes() for image in variants}) == 17
    assert variants[16].mean() < 0.75 * photograph.mean()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_that_of_a_process_and_its_children() -> None:
    child = "data = bytearray(b'x' * 60_000_000); import time; time.sleep(9)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]); {child}"
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as process:
        peak = Peak(process.pid)
        end = time.monotonic() + 8
        while peak.gigabytes["private"] < 0.12 and time.monotonic() < end:
            time.sleep(0.05)
        peak.stop()
        subprocess.run(["kill", "--", f"-{process.pid}"], check=True)
    assert 0.12 <= peak.gigabytes["private"] < 0.25
    assert peak.gigabytes["private"] <= peak.gigabytes["mapped"]
