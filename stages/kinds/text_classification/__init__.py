"""Text classification: MiniLM or a small Transformer, on texts from a CSV file."""

from stages.kinds.kind import CLASSIFICATION_COLUMNS, BenchRuns, Kind
from stages.kinds.text_classification.schema import TextClassification

KIND = Kind(
    name="text_classification",
    title="text classification",
    schema=TextClassification,
    modality="texts",
    data="file",
    plots=("loss", "confusion", "reliability"),
    bench=BenchRuns(5, CLASSIFICATION_COLUMNS, "gain"),
    small_params={
        "train": {
            "model": "scratch",
            "scratch": {"layers": 1, "width": 16, "heads": 2},
            "epochs": 2,
            "seeds": [0],
            "learning_rate": 0.005,
        }
    },
    can_propose=True,
    can_score_other_data=True,
)
