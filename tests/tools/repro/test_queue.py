"""The order in which stages start, and what it would take on a machine with more cores."""

from hypothesis import given
from hypothesis import strategies as st

from stages.tools.repro.queue import StageQueue, makespan, remaining_paths

DIAMOND = {"raw": set(), "long": {"raw"}, "short": {"raw"}, "merged": {"long", "short"}}
SECONDS = {"raw": 1.0, "long": 5.0, "short": 2.0, "merged": 1.0}


@st.composite
def pipelines(draw: st.DrawFn) -> tuple[dict[str, set[str]], dict[str, float]]:
    """Draw stages that depend on earlier ones only, with their seconds."""
    count = draw(st.integers(1, 8))
    names = [f"s{number}" for number in range(count)]
    dependencies = {
        name: set(draw(st.lists(st.sampled_from(names[:position]), max_size=3)))
        if position
        else set()
        for position, name in enumerate(names)
    }
    return dependencies, {name: float(draw(st.integers(1, 9))) for name in names}


def test_the_longest_remaining_path_counts_the_stage_itself() -> None:
    assert remaining_paths(DIAMOND, SECONDS) == {"raw": 7, "long": 6, "short": 3, "merged": 1}


def test_the_stage_with_the_longest_remaining_path_starts_first() -> None:
    queue = StageQueue(DIAMOND, SECONDS)
    assert queue.take() == "raw"
    assert queue.take() is None
    queue.finish("raw")
    assert [queue.take(), queue.take(), queue.take()] == ["long", "short", None]
    queue.finish("short")
    assert queue.take() is None
    queue.finish("long")
    assert queue.take() == "merged"
    assert not queue


def test_a_failure_leaves_out_what_depends_on_it_and_nothing_else() -> None:
    dependencies = {**DIAMOND, "page": {"merged"}, "other": set()}
    queue = StageQueue(dependencies, dict.fromkeys(dependencies, 1.0))
    assert queue.take() == "raw"
    queue.finish("raw")
    assert queue.take() == "long"
    assert sorted(queue.fail("long")) == ["merged", "page"]
    assert {queue.take(), queue.take()} == {"short", "other"}
    assert not queue


def test_time_on_more_cores_of_a_known_pipeline() -> None:
    assert makespan(DIAMOND, SECONDS, 1) == 9
    assert makespan(DIAMOND, SECONDS, 2) == 7


@given(pipelines(), st.integers(1, 4))
def test_every_stage_runs_once_and_after_what_it_needs(
    pipeline: tuple[dict[str, set[str]], dict[str, float]], jobs: int
) -> None:
    dependencies, seconds = pipeline
    queue = StageQueue(dependencies, seconds)
    ended: list[str] = []
    running: list[str] = []
    while queue or running:
        while len(running) < jobs and (name := queue.take()) is not None:
            assert dependencies[name] <= set(ended)
            running.append(name)
        name = running.pop(0)
        ended.append(name)
        queue.finish(name)
    assert sorted(ended) == sorted(dependencies)


@given(pipelines())
def test_time_lies_between_the_longest_path_and_the_sum(
    pipeline: tuple[dict[str, set[str]], dict[str, float]],
) -> None:
    dependencies, seconds = pipeline
    longest = max(remaining_paths(dependencies, seconds).values())
    total = sum(seconds.values())
    assert makespan(dependencies, seconds, 1) == total
    assert makespan(dependencies, seconds, len(seconds)) == longest
    # Graham's bound: twice the best time, less the share of one machine.
    assert makespan(dependencies, seconds, 2) <= 1.5 * max(longest, total / 2)


@given(pipelines(), st.data())
def test_a_failure_ends_everything_downstream(
    pipeline: tuple[dict[str, set[str]], dict[str, float]], data: st.DataObject
) -> None:
    dependencies, seconds = pipeline
    broken = data.draw(st.sampled_from(sorted(dependencies)))
    queue = StageQueue(dependencies, seconds)
    ended: set[str] = set()
    skipped: set[str] = set()
    while queue:
        name = queue.take()
        assert name is not None
        if name == broken:
            skipped |= set(queue.fail(name))
        else:
            queue.finish(name)
            ended.add(name)
    downstream = {broken}
    for name, names in dependencies.items():  # in an order in which they may run
        if names & downstream:
            downstream.add(name)
    assert skipped == downstream - {broken}
    assert ended == dependencies.keys() - downstream
