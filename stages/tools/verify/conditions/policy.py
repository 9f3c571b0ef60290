"""A receiver's policy: a YAML file of what every result must meet, checked before anything runs."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from stages.core.errors import UserError
from stages.core.params import parse_yaml, read_yaml, validate
from stages.core.schema import Name, Names, Section, Seeds, Share, ZeroToOne
from stages.tools.verify.conditions.claim import Claim, is_number, parse_claim
from stages.tools.verify.conditions.condition import Condition, Outcome
from stages.tools.verify.conditions.overlap import find_overlap
from stages.tools.verify.verdicts_of_reruns import Committed

if TYPE_CHECKING:
    from stages.tools.verify.code import CodeDifference
    from stages.tools.verify.report import Report

_LISTED = 5  # files that a reason names
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError)


class OfficialTestData(Section):
    """Test data of which no sample may be among those that a submission trains on.

    Attributes:
        path: a folder of images, or a table of texts; relative to the policy's folder.
        near_duplicate: as the param `prepare.near_duplicate`, which the submission does not choose here.
        text: the column of the text; absent: that of the submission's params.
    """

    path: Name
    near_duplicate: ZeroToOne | None = None
    text: Name | None = None


class Policy(Section):
    """What every result must meet.

    Attributes:
        tier: the last tier to run; `--tier` may not name an earlier one.
        seconds: that the verification of one result may take.
        claims: that must hold.
        allowed_code: files whose code may differ, by path, folder or pattern; absent: any.
        min_confidence: of every interval.
        required_seeds: the training seeds of each task, the primary one first.
        tasks: to which confidence and seeds apply; absent: all.
        official_test_data: by task.
    """

    tier: Literal["hashes", "metrics", "predictions", "retrain"] | None = None
    seconds: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    claims: Names = Field(default_factory=list)
    allowed_code: Names | None = None
    min_confidence: Share | None = None
    required_seeds: Seeds | None = None
    tasks: Names | None = None
    official_test_data: dict[str, OfficialTestData] = Field(default_factory=dict)

    def parsed_claims(self, path: Path) -> list[Claim]:
        """Return the claims.

        Args:
            path: of the policy, for messages.

        Raises:
            UserError: one has another form.
        """
        return [
            parse_claim(text, f"{path}: claims[{place}]") for place, text in enumerate(self.claims)
        ]


def read_policy(path: Path) -> Policy:
    """Return the policy in a file.

    Raises:
        UserError: the file is missing or no YAML, does not fit the schema, has a claim of another form,
            or names test data that are not there.
    """
    policy = validate(Policy, read_yaml(path) or {}, path)
    policy.parsed_claims(path)
    for task, data in policy.official_test_data.items():
        if not (path.parent / data.path).exists():
            raise UserError(
                f"{path}: official_test_data.{task}.path: given {data.path!r}; no such file or folder "
                f"below {path.parent.absolute()}"
            )
    return policy


@contextmanager
def time_limit(seconds: int | None) -> Iterator[None]:
    """Let the body take at most as many seconds; None for any number. In the main thread only.

    Raises:
        UserError: it takes longer.
    """
    if seconds is None:
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise UserError(f"stopped after {seconds} seconds, the limit of the policy")

    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


def check_policy(policy: Policy, path: Path, root: Path, report: "Report") -> list[Condition]:
    """Return whether a result meets the rules of a policy; its claims are checked with all forbidden.

    Args:
        policy: to check.
        path: of its file; test data are named relative to its folder.
        root: the clone.
        report: of the tiers that ran.
    """
    conditions = []
    if policy.allowed_code is not None:
        conditions.append(_check_code(policy.allowed_code, report.code))
    tasks = _read_tasks(root)
    names = policy.tasks if policy.tasks is not None else list(tasks)
    if policy.min_confidence is not None:
        conditions += [_check_confidence(policy.min_confidence, name, tasks) for name in names]
    if policy.required_seeds is not None:
        conditions += [_check_seeds(policy.required_seeds, name, tasks) for name in names]
    for task, data in policy.official_test_data.items():
        conditions.append(_check_overlap(task, path.parent / data.path, data, root))
    return conditions


def _check_code(allowed: Sequence[str], differences: "Sequence[CodeDifference]") -> Condition:
    """Return whether only such files differ from the code that is trusted."""
    paths = [difference.path for difference in differences]
    forbidden = [path for path in paths if not any(_matches(path, pattern) for pattern in allowed)]
    name = "policy: allowed code"
    if forbidden:
        rest = f" and {len(forbidden) - _LISTED} more" if len(forbidden) > _LISTED else ""
        reason = f"{', '.join(forbidden[:_LISTED])}{rest} differ, and may not"
        return Condition(name, Outcome.FAILS, reason)
    reason = f"{len(paths)} files differ, all where they may" if paths else "no file differs"
    return Condition(name, Outcome.HOLDS, reason)


def _matches(path: str, pattern: str) -> bool:
    """Return whether a path is that of a pattern, or below a folder of its name."""
    return fnmatchcase(path, pattern) or path.startswith(f"{pattern.rstrip('/')}/")


def _read_tasks(root: Path) -> dict[str, Any]:
    """Return the tasks of the committed params by name, unchecked; none where they cannot be read."""
    try:
        return dict(parse_yaml(Committed(root).read("params.yaml"))["tasks"])
    except (UserError, *_DAMAGED):
        return {}


def _param(tasks: dict[str, Any], task: str, section: str, name: str) -> Any:
    """Return a param of a task, None where there is none."""
    try:
        return tasks[task][section][name]
    except _DAMAGED:
        return None


def _check_confidence(least: float, task: str, tasks: dict[str, Any]) -> Condition:
    name, value = f"policy: {task} min_confidence", _param(tasks, task, "evaluate", "confidence")
    if not is_number(value):
        return Condition(name, Outcome.UNCHECKED, _absent(task, "evaluate.confidence"))
    outcome = Outcome.HOLDS if value >= least else Outcome.FAILS
    return Condition(name, outcome, f"evaluate.confidence is {value:g}; must be at least {least:g}")


def _check_seeds(required: Sequence[int], task: str, tasks: dict[str, Any]) -> Condition:
    name, value = f"policy: {task} required_seeds", _param(tasks, task, "train", "seeds")
    if not isinstance(value, list) or not all(map(is_number, value)):
        return Condition(name, Outcome.UNCHECKED, _absent(task, "train.seeds"))
    outcome = Outcome.HOLDS if value == list(required) else Outcome.FAILS
    listed = f"{str(value[:_LISTED])[:-1]}, ...]" if len(value) > _LISTED else str(value)
    return Condition(name, outcome, f"train.seeds are {listed}; must be {list(required)}")


def _absent(task: str, key: str) -> str:
    return f"params.yaml of the revision has no tasks.{task}.{key}"


def _check_overlap(task: str, path: Path, data: OfficialTestData, root: Path) -> Condition:
    """Return whether no sample that the submission trains on is one of the test data, or nearly."""
    name = f"policy: {task} official_test_data"
    try:
        overlap = find_overlap(root, task, path, data.near_duplicate, data.text)
    except UserError as error:
        return Condition(name, Outcome.UNCHECKED, str(error))
    outcome = Outcome.FAILS if overlap.exact or overlap.near else Outcome.HOLDS
    return Condition(name, outcome, str(overlap))
