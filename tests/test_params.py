"""A wrong params.yaml gets one clear line and exit status 2; what lay there before stays."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, change_params, refused, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages.params import load
from stages.shared.refusal import Refusal
from stages.shared.schema import Params
from stages.shared.task import STAGES

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
DEFAULTS: dict[str, Any] = yaml.safe_load(TEXT)
# Nothing of these may stand where the default is of that type. No True and no whole float for an
# integer: they equal one.
WRONG: dict[type, list[object]] = {
    int: ["8", "1e3", 2.5, False, None, [], {}],
    float: ["0.5", "1e-3", True, None, [0.5], {}],
    bool: [0, 1, "false", "maybe", None, [], {}],
    str: [1, 0.5, True, None, ["digits"], {}],
    list: [0, "0", None, {}, [[]], ["one"], [None]],
    type(None): [7, 0.5, True, [], {}],
}


def keys(section: dict[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """Yield the path and the value of each key that holds no section."""
    for key, value in section.items():
        if key == "keywords":  # its keys are the user's own
            yield f"{above}{key}", None
        elif isinstance(value, dict):
            yield from keys(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


LEAVES = dict(keys(DEFAULTS))


def place(params: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return the section that holds the key `path`, and the key's own name."""
    *above, name = path.split(".")
    for part in above:
        params = params[part]
    return params, name


def written(file: Path, **changes: object) -> Path:
    """Write the defaults with some keys changed; `a__b` names the key a.b."""
    params = yaml.safe_load(TEXT)
    for path, value in changes.items():
        section, name = place(params, path.replace("__", "."))
        section[name] = value
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return file


def line(file: Path) -> str:
    """Return what is said of a file that must be refused: the file's name, then what is wrong."""
    with pytest.raises(Refusal) as refusal:
        load(file)
    said = " ".join(str(refusal.value).split())
    assert said.startswith(f"{file}: ")
    return said.removeprefix(f"{file}: ")


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Return each file below `folder`: its bytes, and when it was last written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with params.yaml and raw data, in which each stage has written before."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "data/raw", tmp_path / "data/raw")
    for stage in STAGES:
        (tmp_path / "data" / stage / "image").mkdir(parents=True)
        (tmp_path / "data" / stage / "image/before.txt").write_text("of an earlier run")
    (tmp_path / "data/params").mkdir()
    (tmp_path / "data/params/sound.txt").write_text("of an earlier run")
    return tmp_path


def test_the_defaults_are_sound_and_every_one_of_them_is_read() -> None:
    params = load(ROOT / "params.yaml")
    assert params.model_dump() == DEFAULTS
    assert set(DEFAULTS) == set(Params.model_fields)


def test_the_stage_writes_the_same_bytes_whatever_the_params(project: Path) -> None:
    run(project, "python", "-m", "stages.params")
    first = (project / "data/params/sound.txt").read_bytes()
    change_params(project, lambda params: params["runtime"].update(threads=1))
    run(project, "python", "-m", "stages.params")
    assert (project / "data/params/sound.txt").read_bytes() == first != b"of an earlier run"


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(path=st.sampled_from(sorted(LEAVES)))
def test_whichever_key_is_missing_is_named(
    tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    params = yaml.safe_load(TEXT)
    section, name = place(params, path)
    del section[name]
    file = tmp_path_factory.getbasetemp() / "params.yaml"
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    assert re.match(rf"{re.escape(path)}: this key is missing; add it", line(file))


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_whichever_key_has_the_wrong_type_is_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(LEAVES)))
    value = data.draw(st.sampled_from(WRONG[type(LEAVES[path])]))
    assume(not (path.endswith(".keywords") and value == {}))  # of the right type, for no class
    assume(not (path.endswith((".id", ".group", ".bucket_by")) and value is None))  # may be null
    assume(not (path.endswith(".slices") and value == ["one"]))  # of the right type
    file = tmp_path_factory.getbasetemp() / "params.yaml"
    said = line(written(file, **{path.replace(".", "__"): value}))
    assert re.match(rf"{re.escape(path)}(\.\d+)?: ", said), said
    assert "must be" in said or "should be" in said
    if not isinstance(value, dict | list):
        assert f"given {value!r}" in said


@pytest.mark.parametrize("section", ["runtime", "image", "image.prepare", "image.prepare.split"])
@pytest.mark.parametrize("value", [None, 3, "text", []])
def test_a_section_that_is_none_is_named(tmp_path: Path, section: str, value: object) -> None:
    said = line(written(tmp_path / "params.yaml", **{section.replace(".", "__"): value}))
    assert said == f"{section}: must be a section with keys of its own"


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("imge", "image"),
        ("runtime.thread", "threads"),
        ("runtime.thréads", "threads"),
        ("image.prepare.Size", "size"),
        ("image.prepare.split.tests", "test"),
        ("image.train.augment.rotation", "rotate"),
        ("image.train.learning rate", "learning_rate"),
        ("image.pack.seite", "page_limit_mb"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    tmp_path: Path, path: str, nearest: str
) -> None:
    said = line(written(tmp_path / "params.yaml", **{path.replace(".", "__"): 1}))
    assert said.startswith(f"{path}: unknown key; the nearest known key is {nearest!r} (known: ")


def test_a_misspelt_key_is_called_unknown_before_the_right_one_is_called_missing(
    tmp_path: Path,
) -> None:
    text = re.sub(r"\blearning_rate:", "learnig_rate:", TEXT, count=1)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    said = line(tmp_path / "params.yaml")
    assert said.startswith("image.train.learnig_rate: unknown key")
    assert "'learning_rate'" in said
    assert said.endswith("(and 1 more)")


@pytest.mark.parametrize("value", ["1e-3", "1E-3", "5e3", "1.5e4"])
def test_a_number_that_yaml_reads_as_text_is_refused_with_the_way_to_write_it(
    tmp_path: Path, value: str
) -> None:
    text = re.sub(r"(?m)^(\s*learning_rate: )\S+", rf"\g<1>{value}", TEXT)
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    said = line(tmp_path / "params.yaml")
    assert said.startswith(f"image.train.learning_rate: given {value!r}; must be a valid number")
    assert "(YAML reads this as text: write it as 0.001, or 1.0e-3)" in said


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("runtime.threads", 0, "greater than or equal to 1"),
        ("runtime.threads", 257, "less than or equal to 256"),
        ("runtime.cpu", "sse", "'avx2' or 'native'"),
        ("runtime.devices", -1, "greater than or equal to 1"),
        ("image.prepare.source", "folders", "'digits', 'folder' or 'torchvision'"),
        ("image.prepare.size", 3, "greater than or equal to 4"),
        ("image.prepare.size", 10**100, "less than or equal to 1024"),
        ("image.prepare.channels", 2, "1 or 3"),
        ("image.prepare.min_per_class", 2, "greater than or equal to 3"),
        ("image.prepare.max_pixels", 0, "greater than or equal to 1"),
        ("image.prepare.near_duplicate", -0.1, "greater than or equal to 0"),
        ("image.prepare.near_duplicate", 1.1, "less than or equal to 1"),
        ("image.prepare.near_duplicate", float("nan"), "must be"),
        ("image.prepare.split.test", 0.0, "greater than 0"),
        ("image.prepare.split.test", -0.0, "greater than 0"),
        ("image.prepare.split.test", 1.0, "less than 1"),
        ("image.prepare.split.validation", float("nan"), "must be"),
        ("image.prepare.split.seed", 2**32, "less than 4294967296"),
        ("image.train.learning_rate", float("inf"), "finite"),
        ("image.train.learning_rate", float("nan"), "finite"),
        ("image.train.label_smoothing", 1.0, "less than 1"),
        ("image.train.augment.rotate", 180.5, "less than or equal to 180"),
        ("image.evaluate.resamples", 999, "greater than or equal to 1000"),
        ("image.failures.show", 13, "less than or equal to 12"),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_is_allowed(
    tmp_path: Path, path: str, value: object, allowed: str
) -> None:
    said = line(written(tmp_path / "params.yaml", **{path.replace(".", "__"): value}))
    assert said.startswith(f"{path}: given {value!r}; ")
    assert allowed in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image__train__seeds": [0, 1, 0]}, "image.train.seeds: given [0, 1, 0]; must name each"),
        ({"image__train__seeds": []}, "image.train.seeds: given []; "),
        ({"image__train__seeds": [0, -1]}, "image.train.seeds.1: given -1; must be greater"),
        ({"image__train__channels": [8, 0]}, "image.train.channels.1: given 0; must be greater"),
        (
            {"image__prepare__split__test": 0.6, "image__prepare__split__validation": 0.4},
            "image.prepare.split: test + validation must leave a share to train on (below 1)",
        ),
        ({"image__train__start_from": "imagenet"}, "imagenet needs model: resnet18"),
        ({"image__prepare__source": "torchvision"}, "dataset must be named"),
        ({"image__prepare__dataset": "MNIST"}, "dataset must be named"),
        ({"image__prepare__group_pattern": "(a)"}, "group_pattern is for source: folder"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    assert words in line(written(tmp_path / "params.yaml", **changes))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("([a-z]+", "must be a regular expression (missing ), unterminated"),
        ("(a)(?<=b+)", "must be a regular expression"),
        ("[0-9]+", "must hold a group in parentheses"),
        ("(?:[0-9]+)", "must hold a group in parentheses"),
        ("", "must hold a group in parentheses"),
    ],
)
def test_a_group_pattern_must_be_one_that_names_a_group(
    tmp_path: Path, pattern: str, words: str
) -> None:
    changes = {"image__prepare__source": "folder", "image__prepare__group_pattern": pattern}
    said = line(written(tmp_path / "params.yaml", **changes))
    assert said.startswith(f"image.prepare.group_pattern: given {pattern!r}; {words}")


def test_imagenet_weights_go_with_their_model_and_a_pattern_with_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    load(written(file, image__train__start_from="imagenet", image__train__model="resnet18"))
    load(written(file, image__prepare__source="folder", image__prepare__group_pattern="(a)_"))
    load(written(file, image__prepare__source="torchvision", image__prepare__dataset="CIFAR10"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (TEXT + "\nruntime: {}\n", "runtime"),
        (TEXT.replace("runtime:\n", "runtime:\n  threads: 1\n", 1), "threads"),
        (re.sub(r"(?m)^( +)seeds:", r"\1seeds: [5]\n\1seeds:", TEXT, count=1), "seeds"),
    ],
)
def test_a_key_written_twice_is_refused(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(Refusal, match=rf"params\.yaml: .*'{key}'.* twice"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the whole file: must be a section"),
        (b"# nothing but words\n", "the whole file: must be a section"),
        (b"- runtime\n- image\n", "the whole file: must be a section"),
        (b"digits\n", "the whole file: must be a section"),
        (b"runtime: [1, 2\n", "not YAML: "),
        (b"runtime:\n\tthreads: 2\n", "not YAML: "),
        (b"a: 1\n---\nb: 2\n", "not YAML: "),
        (b"{[1]: 2}\n", "not YAML: "),
        (b"a: *nowhere\n", "not YAML: "),
        (b"a: \0\n", "not YAML: "),
        (b"a: !!python/object/apply:os.system ['true']\n", "not YAML: "),
        (TEXT.encode("utf-16"), "not UTF-8 text; save it as UTF-8"),
        (b"caf\xe9: 1\n", "not UTF-8 text; save it as UTF-8"),
    ],
)
def test_a_file_that_holds_no_params_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "params.yaml").write_bytes(data)
    assert line(tmp_path / "params.yaml").startswith(words)


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert load(file) == load(ROOT / "params.yaml")


def test_a_file_that_is_missing_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    assert "run from the project's folder" in line(tmp_path / "params.yaml")
    assert "run from the project's folder" in line(tmp_path)


@pytest.mark.parametrize("stage", [*(f"{stage} image" for stage in STAGES), "params"])
def test_no_stage_touches_an_output_where_the_params_are_wrong(project: Path, stage: str) -> None:
    change_params(project, lambda params: params["image"]["train"].update(epoch=3))
    before = contents(project)
    said = refused(project, "python", "-m", *f"stages.{stage}".split())
    who = stage.replace(" ", "@")
    assert said.startswith(f"{who}: params.yaml: image.train.epoch: unknown key; the nearest")
    assert contents(project) == before


def test_a_stage_run_elsewhere_says_from_where_to_run_it(project: Path) -> None:
    said = refused(project / "data", "python", "-m", "stages.params")
    assert said.startswith("params: params.yaml: No such file or directory; run from the project's")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data/raw/nowhere", "must be a folder that is there"),
        ("params.yaml", "must be a folder that is there"),
        ("data/raw/nothing", "the folder is empty"),
        ("gone", "must be a folder that is there"),
        ("two\nlines", "must be a folder that is there"),
    ],
)
@pytest.mark.parametrize("source", ["digits", "folder"])
def test_raw_data_that_are_not_there_stop_the_first_stage(
    project: Path, source: str, path: str, words: str
) -> None:
    (project / "data/raw/nothing").mkdir()
    (project / "gone").symlink_to("away")
    change_params(project, lambda params: params["image"]["prepare"].update(path=path))
    change_params(project, lambda params: params["image"]["prepare"].update(source=source))
    before = contents(project)
    said = refused(project, "python", "-m", "stages.params")
    assert said.startswith(f"params: params.yaml: image.prepare.path: given {path!r}; {words}")
    assert contents(project) == before
