"""ImageNet's weights: fetched, known by their hash, refused otherwise; the size of ResNet-18."""

from pathlib import Path

import pytest
from support.network import disconnect
from support.project import default_task, merge

from stages.core.errors import UserError
from stages.kinds.image_classification.model import IMAGENET_SHA256, build, load_initial_weights
from stages.kinds.image_classification.schema import TrainImages

KEY = "tasks.image.train.initial_weights"


def pretrained(model: str, initial_weights: str | None) -> TrainImages:
    params = default_task("image").params.train.model_dump()
    merge(params, {"model": model, "initial_weights": initial_weights})
    return TrainImages.model_validate(params)


def test_resnet18_has_its_published_size() -> None:
    model = build(pretrained("resnet18", None), 1, 10)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(11.2e6, rel=0.01)


def test_weights_that_cannot_be_fetched_get_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    disconnect(monkeypatch)
    params = pretrained("resnet18", "imagenet")
    with pytest.raises(
        UserError, match=r"initial_weights: imagenet: the weights could not be"
    ) as e:
        load_initial_weights(build(params, 1, 10), params, KEY)
    assert "or set it to null" in str(e.value)


@pytest.mark.parametrize(
    ("model", "file"),
    [("resnet18", "resnet18-f37072fd.pth"), ("convnext_tiny", "convnext_tiny-983f1562.pth")],
)
def test_weights_of_another_hash_are_not_opened(
    model: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub/checkpoints" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x80\x04K\x01.")  # a pickle
    params = pretrained(model, "imagenet")
    expected = IMAGENET_SHA256[model]
    with pytest.raises(UserError, match=rf"has SHA-256 .*; must be {expected}; delete it"):
        load_initial_weights(build(params, 1, 10), params, KEY)
    assert file.removesuffix(".pth").endswith(expected[:8])  # as torch.hub checks it
