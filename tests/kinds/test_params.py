"""Wrong params get one line with the file, the key, the value and what is allowed."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.project import read_params

from stages.core.errors import UserError
from stages.kinds.params import Params, check_params, load_tasks, select_task

DEFAULTS = read_params()
# Values of another type than the default. No True and no whole float for an integer: they equal one.
WRONG: dict[type, list[object]] = {
    int: ["8", "1e3", 2.5, False, None, [], {}],
    float: ["0.5", "1e-3", True, None, [0.5], {}],
    bool: [0, 1, "false", "maybe", None, [], {}],
    str: [1, 0.5, True, None, ["digits"], {}],
    list: [0, "0", None, {}, [[]], [None]],
    type(None): [7, 0.5, True, [], {}],
}
OPTIONAL = (  # keys that may be absent
    ".layout",
    ".labels",
    ".separator",
    ".columns.split",
    "sentiment.prepare.unreadable",
    ".evaluate.metric",
    ".evaluate.equivalence_margin",
    ".train.class_weights",
    ".train.optimizer",
    ".train.blocks",
    ".train.stem_stride",
    ".train.low_resolution",
    ".baseline.frozen_features",
    ".train.schedule",
    ".train.threads",
)
SPLIT = (".split.test", ".split.validation", ".split.folds")  # shares or folds
NULLABLE = (".id", ".group", ".bucket_by", ".classes", *SPLIT[:2], *OPTIONAL)
# Sections that may be null.
NULL_SECTIONS = (".augment",)


def leaves(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the full key and the value of each param."""
    for key, value in section.items():
        if key == "keywords":  # its keys are the user's classes
            yield f"{prefix}{key}", None
        elif isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


LEAVES = dict(leaves(DEFAULTS))


def locate(params: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Return the section of a full key, and its name within the section."""
    *sections, name = key.split(".")
    for section in sections:
        params = params[section]
    return params, name


def changed(changes: dict[str, object]) -> dict[str, Any]:
    """Return the default params with some full keys changed."""
    params = copy.deepcopy(DEFAULTS)
    for key, value in changes.items():
        section, name = locate(params, key)
        section[name] = value
    return params


def error_of(values: Any) -> str:
    """Return the line about params that must be rejected, without the file's name."""
    with pytest.raises(UserError) as error:
        check_params(values)
    line = str(error.value)
    assert line.startswith("params.yaml: ")
    return line.removeprefix("params.yaml: ")


def test_the_defaults_are_valid_and_every_key_is_used() -> None:
    params = check_params(DEFAULTS)
    assert params.model_dump(exclude_unset=True) == DEFAULTS
    assert set(DEFAULTS) == set(Params.model_fields)


# --- types, ranges, unknown and missing keys
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(key=st.sampled_from([key for key in sorted(LEAVES) if not key.endswith(OPTIONAL + SPLIT)]))
def test_a_missing_key_is_named(key: str) -> None:
    params = copy.deepcopy(DEFAULTS)
    section, name = locate(params, key)
    del section[name]
    line = error_of(params)
    assert line.startswith(f"{key}: this key is missing; ")


@pytest.mark.parametrize("key", [key for key in LEAVES if key.endswith(SPLIT)])
def test_a_split_without_shares_and_folds_is_named(key: str) -> None:
    params = copy.deepcopy(DEFAULTS)
    section, name = locate(params, key)
    del section[name]
    line = error_of(params)
    assert line == f"{key.rpartition('.')[0]}: must have test and validation, or folds"


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_key_with_a_value_of_the_wrong_type_is_named(data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(LEAVES)))
    value = data.draw(st.sampled_from(WRONG[type(LEAVES[key])]))
    assume(not (key.endswith(".keywords") and value == {}))  # the right type, without classes
    assume(not (key.endswith(NULLABLE) and value is None))
    assume(not (key.endswith(".equivalence_margin") and value == 0.5))  # is allowed
    assume(not (key.endswith(".train.threads") and value == 7))  # is allowed
    line = error_of(changed({key: value}))
    assert re.match(rf"{re.escape(key)}(\.\w+)?: ", line), line
    if value == {} and LEAVES[key] is None:  # a section that may be null, without its keys
        assert "must be" in line or "should be" in line or "this key is missing" in line
    else:
        assert "must be" in line or "should be" in line
    if not isinstance(value, dict | list) and not key.endswith(NULL_SECTIONS):
        assert f"given {value!r}" in line


@pytest.mark.parametrize("value", [True, 1.0, 3.0])
def test_a_literal_number_is_not_converted(value: object) -> None:
    line = error_of(changed({"tasks.image.prepare.channels": value}))
    assert line.startswith("tasks.image.prepare.channels: ")


@pytest.mark.parametrize(
    "section",
    ["runtime", "tasks", "tasks.image", "tasks.image.prepare", "tasks.image.prepare.split"],
)
@pytest.mark.parametrize("value", [None, 3, "text", []])
def test_a_value_in_place_of_a_section_is_named(section: str, value: object) -> None:
    line = error_of(changed({section: value}))
    assert line == f"{section}: given {value!r}; must be a section with keys of its own"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("task", "tasks"),
        ("runtime.thread", "threads"),
        ("runtime.thréads", "threads"),
        ("tasks.image.packs", "pack"),
        ("tasks.image.prepare.Size", "size"),
        ("tasks.image.prepare.split.tests", "test"),
        ("tasks.image.train.augment.rotation", "rotate"),
        ("tasks.image.train.learning rate", "learning_rate"),
        ("tasks.image.pack.seite", "page_limit_mb"),
        ("tasks.sentiment.train.scratch.layer", "layers"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(key: str, nearest: str) -> None:
    line = error_of(changed({key: 1}))
    assert line.startswith(f"{key}: unknown key; the nearest known key is {nearest!r} (known: ")


def test_a_misspelt_key_is_reported_as_unknown_not_as_missing() -> None:
    params = copy.deepcopy(DEFAULTS)
    train = params["tasks"]["image"]["train"]
    train["learnig_rate"] = train.pop("learning_rate")
    line = error_of(params)
    assert line.startswith(
        "tasks.image.train.learnig_rate: unknown key; the nearest known key is 'l"
    )
    assert line.endswith("(and 1 more)")


def test_a_key_that_is_not_text_is_reported_before_missing_ones() -> None:
    params: dict[Any, Any] = copy.deepcopy(DEFAULTS)
    params[3] = params.pop("runtime")
    assert not error_of(params).startswith("runtime: this key is missing")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("runtime.threads", 0, "greater than or equal to 1"),
        ("runtime.threads", 257, "less than or equal to 256"),
        ("runtime.cpu", "sse", "'avx2' or 'native'"),
        ("runtime.devices", -1, "greater than or equal to 1"),
        ("tasks.image.prepare.source", "folders", "'digits', 'folder', 'torchvision' or 'stripes'"),
        ("tasks.image.prepare.size", 3, "greater than or equal to 4"),
        ("tasks.image.prepare.size", 10**100, "less than or equal to 1024"),
        ("tasks.image.prepare.channels", 2, "1 or 3"),
        ("tasks.image.prepare.min_per_class", 2, "greater than or equal to 3"),
        ("tasks.image.prepare.max_pixels", 0, "greater than or equal to 1"),
        ("tasks.image.prepare.near_duplicate", -0.1, "greater than or equal to 0"),
        ("tasks.image.prepare.near_duplicate", 1.1, "less than or equal to 1"),
        ("tasks.image.prepare.near_duplicate", float("nan"), "must be"),
        ("tasks.image.prepare.split.test", 0.0, "greater than 0"),
        ("tasks.image.prepare.split.test", -0.0, "greater than 0"),
        ("tasks.image.prepare.split.test", 1.0, "less than 1"),
        ("tasks.image.prepare.split.validation", float("nan"), "must be"),
        ("tasks.image.prepare.split.seed", 2**32, "less than 4294967296"),
        ("tasks.image.train.learning_rate", float("inf"), "finite"),
        ("tasks.image.train.learning_rate", float("nan"), "finite"),
        ("tasks.image.train.label_smoothing", 1.0, "less than 1"),
        ("tasks.image.train.augment.rotate", 180.5, "less than or equal to 180"),
        ("tasks.image.evaluate.resamples", 999, "greater than or equal to 1000"),
        ("tasks.image.failures.show", 13, "less than or equal to 12"),
        ("tasks.image.train.seeds", [0, 1, 0], "must name each seed once"),
        ("tasks.image.train.seeds", [], "at least 1 item"),
        ("tasks.workshop.prepare.stripes.difficulty", 1.5, "less than or equal to 1"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(
    key: str, value: object, allowed: str
) -> None:
    line = error_of(changed({key: value}))
    assert line.startswith(f"{key}: given {value!r}; ")
    assert allowed in line


# --- rules between keys
SOURCE, PATTERN = "tasks.image.prepare.source", "tasks.image.prepare.group_pattern"
DATASET, MODEL = "tasks.image.prepare.dataset", "tasks.image.train.model"
WEIGHTS = "tasks.image.train.initial_weights"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks.image.train.seeds": [0, -1]}, "image.train.seeds.1: given -1; must be greater"),
        (
            {"tasks.image.train.channels": [8, 0]},
            "image.train.channels.1: given 0; must be greater",
        ),
        (
            {
                "tasks.sentiment.prepare.split.test": 0.6,
                "tasks.sentiment.prepare.split.validation": 0.4,
            },
            "tasks.sentiment.prepare.split: test + validation must leave a share to train on (below 1)",
        ),
        ({WEIGHTS: "imagenet"}, "imagenet needs model: resnet18"),
        ({WEIGHTS: "data/train/image/w.safetensors"}, "must be outside data/train"),
        ({SOURCE: "torchvision"}, "dataset must be named"),
        ({DATASET: "MNIST"}, "dataset must be named"),
        ({PATTERN: "(a)"}, "group_pattern is for source: folder"),
        ({SOURCE: "stripes"}, "stripes must be a section for source: stripes"),
        (
            {"tasks.workshop.prepare.channels": 3},
            "stripes needs a size from 8 to 256 and channels: 1",
        ),
        (
            {"tasks.workshop.prepare.stripes.per_class": 5},
            "stripes.per_class (given 5) must be at least min_per_class (10)",
        ),
        (
            {"tasks.workshop.train.channels": [8] * 6},
            "tasks.workshop: prepare.size (given 16) must be at least 32: train.channels",
        ),
        (
            {"tasks.image.baseline.methods": ["nearest_prototype"]},
            "logistic_regression must be a section where methods lists it, and absent otherwise",
        ),
        (
            {"tasks.image.baseline.methods": ["knn"]},
            "methods: given 'knn'; must be of most_frequent",
        ),
        (
            {"runtime.devices": 3},
            "tasks.image.train.batch_size (given 64) must be a multiple of runtime.devices (given 3)",
        ),
    ],
)
def test_params_that_contradict_each_other_are_rejected(
    changes: dict[str, object], message: str
) -> None:
    line = error_of(changed(changes))
    assert message in line
    assert "the whole file" not in line


@pytest.mark.parametrize(
    "changes",
    [
        {WEIGHTS: "imagenet", MODEL: "resnet18"},
        {SOURCE: "folder", PATTERN: "(a)_"},
        {SOURCE: "torchvision", DATASET: "CIFAR10"},
    ],
)
def test_params_that_belong_together_are_accepted(changes: dict[str, object]) -> None:
    check_params(changed(changes))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("([a-z]+", "must be a regular expression (missing ), unterminated"),
        ("(a)(?<=b+)", "must be a regular expression"),
        ("(a){99999999999}", "must be a regular expression"),
        ("(" * 500 + ")" * 500, "must be a regular expression"),
        ("([[a])", "must be a regular expression"),
        ("[0-9]+", "must contain a group in parentheses"),
        ("(?:[0-9]+)", "must contain a group in parentheses"),
        ("", "must contain a group in parentheses"),
    ],
)
def test_a_group_pattern_must_be_a_regular_expression_with_a_group(
    pattern: str, message: str
) -> None:
    line = error_of(changed({SOURCE: "folder", PATTERN: pattern}))
    assert line.startswith(f"{PATTERN}: given {repr(pattern)[:120]}")
    assert message in line


# --- tasks
@pytest.mark.parametrize(
    "name", ["Photos", "2photos", "my-photos", "my photos", "", "p" * 41, "a/b"]
)
def test_a_name_that_no_task_may_have_is_rejected(name: str) -> None:
    line = error_of(changed({f"tasks.{name}": DEFAULTS["tasks"]["image"]}))
    assert line.startswith(f"tasks.{name}")
    assert "pattern '^[a-z][a-z0-9_]{0,39}$'" in line


def test_a_task_without_a_known_kind_is_rejected() -> None:
    kinds = "image_classification, text_classification, image_generation"
    for kind in ("image_clasification", 1, None):
        line = error_of(changed({"tasks.image.kind": kind}))
        assert line == f"tasks.image.kind: given {kind!r}; must be one of {kinds}"
    params = copy.deepcopy(DEFAULTS)
    del params["tasks"]["image"]["kind"]
    assert error_of(params) == f"tasks.image.kind: this key is missing; must be one of {kinds}"
    assert error_of(changed({"tasks": {}})).startswith("tasks: ")


def test_several_tasks_of_one_kind_have_params_of_their_own() -> None:
    photos = copy.deepcopy(DEFAULTS["tasks"]["image"])
    photos["train"]["epochs"] = 7
    tasks = load_tasks(check_params(changed({"tasks.photos": photos})))
    assert list(tasks) == [*DEFAULTS["tasks"], "photos"]
    epochs = {name: tasks[name].params.train.epochs for name in ("image", "photos")}
    assert epochs == {"image": DEFAULTS["tasks"]["image"]["train"]["epochs"], "photos": 7}
    assert tasks["photos"].key("train.epochs") == "tasks.photos.train.epochs"
    assert tasks["photos"].folder("train").as_posix() == "data/train/photos"
    with pytest.raises(UserError, match="given task 'foto'; must be one of image, "):
        select_task(tasks, "foto")
