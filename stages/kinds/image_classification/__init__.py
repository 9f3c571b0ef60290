"""Image classification: convolutional networks on images of a folder, torchvision or a built-in source."""

from stages.kinds.image_classification.schema import ImageClassification
from stages.kinds.kind import CLASSIFICATION_COLUMNS, BenchRuns, Kind

KIND = Kind(
    name="image_classification",
    title="image classification",
    schema=ImageClassification,
    modality="images",
    data="folder",
    plots=("loss", "confusion", "reliability"),
    bench=BenchRuns(6, CLASSIFICATION_COLUMNS, "gain"),
    small_params={"train": {"epochs": 6, "seeds": [0]}},
    can_propose=True,
    can_score_other_data=True,
    has_walkthrough=True,
)
