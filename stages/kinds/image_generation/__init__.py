"""Image generation: class-conditional flow matching, reviewed checkpoint by checkpoint."""

from stages.kinds.image_generation.schema import ImageGeneration
from stages.kinds.kind import BenchRuns, Kind

KIND = Kind(
    name="image_generation",
    title="image generation",
    schema=ImageGeneration,
    modality="images",
    data="folder",
    plots=("loss", "quality", "diversity"),
    bench=BenchRuns(
        5,
        {
            "step": "current.step",
            "Fréchet distance": "current.frechet_test",
            "baseline": "baseline.frechet_test",
            "real images": "controls.real against real.frechet_test",
            "share of baseline": "current.improvement.share_of_baseline",
            "coverage": "current.coverage_test",
            "recall": "current.recall_test",
            "label agreement": "current.label_agreement",
            "copy rate": "current.copy_rate",
            "least gain of sampling seeds": "current.improvement.seed_gain_min",
            "most gain of sampling seeds": "current.improvement.seed_gain_max",
            "verdict": "current.improvement.verdict",
        },
        "share of baseline",
    ),
    small_params={
        "baseline": {
            "vae": {"epochs": 4},
            "reference_classifier": {"epochs": 6, "channels": [16, 32]},
        },
        "train": {
            "log_every": 20,
            "checkpoint_steps": [20, 60],
            "batch_size": 32,
            "channels": [16, 16],
            "learning_rate": 0.01,
            "ema_decay": 0.9,
            "seeds": [0],
        },
        "evaluate": {
            "samples": 200,
            "sampling_seeds": [0, 1],
            "solver_steps": 3,
            "resamples": 100,
        },
    },
    metric="frechet_test",
    can_sample=True,
    can_propose=True,
)
