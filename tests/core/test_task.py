"""What a task's params say about the files that it needs."""

from dataclasses import replace

from support.project import read_params, with_frozen_features

from stages.kinds.params import check_params, load_tasks


def test_every_file_that_no_stage_writes_is_an_input() -> None:
    params = read_params()
    params["tasks"]["image"]["train"]["initial_weights"] = "start.safetensors"
    with_frozen_features(params["tasks"]["image"], "frozen.safetensors")
    tasks = load_tasks(check_params(params))
    assert tasks["image"].input_paths() == {
        "prepare.path": "data/raw/digits",
        "train.initial_weights": "start.safetensors",
        "baseline.frozen_features.initial_weights": "frozen.safetensors",
    }
    text = tasks["sentiment"]
    assert replace(text, name="other").input_paths() == {"prepare.path": text.params.prepare.path}
