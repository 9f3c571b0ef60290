"""The section of the generator's evidence pack that shows failing samples."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.report import pictures
from stages.report.document import Block, Card, Figure, Gallery, Section, Table
from stages.report.formatting import make_table, percent, table_rows

if TYPE_CHECKING:
    from stages.kinds.image_generation.outputs import GenerationOutputs


def failures_section(
    outputs: "GenerationOutputs", samples: np.ndarray, images: np.ndarray
) -> Section:
    """Return the failing samples by kind, each beside its nearest neighbour, and some successes.

    Args:
        outputs: of the stages before the pack.
        samples: (n, channel, height, width), uint8.
        images: the packed array.
    """
    blocks: list[Block] = [_failure_table(outputs)]
    number = 0
    for bucket, cases in outputs.cases.groupby("bucket", sort=False):
        cards = []
        for case in table_rows(cases):
            number += 1
            cards.append(_case_card(number, case, samples, images))
        blocks.append(Gallery(f"{str(bucket).capitalize()}: {cases.iloc[0]['cause']}.", cards))
    successes = [samples[place] for place in outputs.successes["place"]]
    if successes:
        title = f"{len(successes)} samples that fail no criterion"
        blocks.append(
            Figure(
                "successes.png",
                pictures.image_grid([successes]),
                f"{title}.",
                f"{title}, evenly spaced from the highest to the lowest probability of their class.",
            )
        )
    return Section("failures", "Failures", blocks)


def _failure_table(outputs: "GenerationOutputs") -> Table:
    summary = outputs.summary
    rows = [
        {
            "kind": name,
            "samples": count,
            "share": count / summary["samples"],
            "real": summary["shares_of_real"][name],
        }
        for name, count in summary["buckets"].items()
    ]
    return make_table(
        rows,
        {
            "kind": "kind of failure",
            "samples": "samples",
            "share": "share of samples",
            "real": "share of real images",
        },
        f"{summary['failure_case_count']} of {summary['samples']} samples fail at least one criterion. "
        "For comparison: the share of validation images that would fail it",
    )


def _case_card(
    number: int, case: Mapping[str, Any], samples: np.ndarray, images: np.ndarray
) -> Card:
    if case["beside"] == "sample":
        neighbour, description = samples[case["nearest_sample"]], "the most similar other sample"
    else:
        neighbour, description = images[case["neighbour_row"]], "its nearest training image"
    return Card(
        f"case-{number:02}.png",
        pictures.image_strip(samples[case["place"]], [neighbour]),
        f"Sample {case['id']}, requested class {case['true']}; on the right {description}.",
        f"{case['true']} → {case['predicted']} ({case['kind']})",
        [
            f"probability of the requested class {percent(case['label_probability'])}",
            (
                f"difference to the nearest training image ({case['neighbour']}) "
                f"{percent(case['nearest_distance'])} of the range"
            ),
            f"sharpness {case['sharpness']:.3f}",
            case["id"],
        ],
    )
