"""What is proposed for tables of texts of any size."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import read_params

from stages.core.params import parse_yaml
from stages.kinds.params import check_params
from stages.kinds.proposal import fill_template, read_template, yaml_list
from stages.kinds.split_proposal import propose_split
from stages.kinds.text_classification.propose import plans

VALUES = {
    "name": "notes",
    "path": "notes.csv",
    "separator": "comma",
    "text": "text",
    "label": "label",
    "id": "null",
    "group": "author",
    "split": "null",
    "classes": yaml_list(["no", "yes"], 8).replace("no", '"no"').replace("yes", '"yes"'),
    "min_per_class": "3",
    "max_tokens": "64",
    "lengths": yaml_list(["10", "20"], 8),
    "seeds": yaml_list(["0"], 8),
    "class_weights": "null",
    "metric": "accuracy",
    "worthwhile_gain": "0.05",
}


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(samples=st.integers(10, 1_000_000), groups=st.integers(0, 40))
def test_every_plan_is_allowed(samples: int, groups: int) -> None:
    split = propose_split(samples, {}, {(f"p{n}", name): 3 for n in range(groups) for name in "ab"})
    template = read_template("text_classification", "template.yaml")
    for plan in plans(split.sizes):
        values = {
            **VALUES,
            **plan.values,
            "epochs": str(plan.epochs),
            "threads": "2",
            "split_section": split.section,
        }
        params = read_params()
        params["tasks"] = parse_yaml(fill_template(template, values))
        task: Any = check_params(params).tasks["notes"]
        assert task.prepare.split.folds == split.sizes.folds
        assert task.prepare.columns.group == "author"
        assert 1 <= plan.min_epochs <= plan.epochs
