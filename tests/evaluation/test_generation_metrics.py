"""The metrics of samples agree with closed forms, with plain loops, and with sets computed by hand."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.datasets.dataset import Dataset
from stages.evaluation.generation_metrics import (
    balanced_labels,
    data_copying_score,
    frechet_distance,
    kernel_distance,
    manifold_metrics,
    nearest_other,
    nearest_training_image,
    neighbour_radii,
    sharpness,
)

Sets = tuple[np.ndarray, np.ndarray]


@st.composite
def features(draw: st.DrawFn, min_size: int = 3) -> Sets:
    """Return two sets of features of one width, each with its own mean and covariance."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    width = draw(st.integers(1, 8))
    sizes = draw(st.tuples(st.integers(min_size, 30), st.integers(min_size, 30)))
    first, second = (
        random.standard_normal((size, width)) @ random.standard_normal((width, width))
        + random.standard_normal(width)
        for size in sizes
    )
    return first, second


@st.composite
def grids(draw: st.DrawFn, min_size: int = 1, max_size: int = 12) -> Sets:
    """Return two sets of points with whole coordinates, in which ties and repeats are common."""
    width = draw(st.integers(1, 2))
    point = st.lists(st.integers(0, 5), min_size=width, max_size=width)
    points = st.lists(point, min_size=min_size, max_size=max_size)
    return np.array(draw(points)), np.array(draw(points))


def distance_table(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    table: np.ndarray = np.linalg.norm(first[:, None] - second[None], axis=2)
    return table


def covariance_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the trace of the root of the covariances' product, by way of symmetric matrices."""
    values, axes = np.linalg.eigh(np.cov(first.T))
    root = (axes * np.sqrt(values.clip(0))) @ axes.T
    return float(np.sqrt(np.linalg.eigvalsh(root @ np.cov(second.T) @ root).clip(0)).sum())


# The Fréchet distance.


def test_frechet_is_the_closed_form_of_the_moments() -> None:
    random = np.random.default_rng(0)
    first = random.standard_normal((60, 5)) @ random.standard_normal((5, 5))
    second = random.standard_normal((40, 5)) @ random.standard_normal((5, 5)) + 3
    covariances = np.cov(first.T), np.cov(second.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    shift = first.mean(axis=0) - second.mean(axis=0)
    expected = shift @ shift + np.trace(sum(covariances) - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_frechet_on_a_line_is_that_of_means_and_deviations() -> None:
    first, second = np.array([[0.0], [2.0], [4.0]]), np.array([[10.0], [11.0], [12.0]])
    assert frechet_distance(first, second) == pytest.approx((2 - 11) ** 2 + (2 - 1) ** 2)


@settings(max_examples=40, deadline=None)
@given(features(), st.integers(0, 1000))
def test_frechet_of_a_shifted_copy_is_the_square_of_the_shift(sets: Sets, seed: int) -> None:
    scale = np.square(sets[0]).sum()
    assert frechet_distance(sets[0], sets[0]) == pytest.approx(0, abs=1e-12 * scale + 1e-12)
    shift = 5 * np.random.default_rng(seed).standard_normal(sets[0].shape[1])
    expected = np.square(shift).sum()
    assert frechet_distance(sets[0], sets[0] + shift) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(features(), st.integers(0, 1000))
def test_frechet_is_symmetric_and_independent_of_axes_and_order(sets: Sets, seed: int) -> None:
    first, second = sets
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.standard_normal((first.shape[1], first.shape[1])))[0]
    distance = frechet_distance(first, second)
    assert distance > -1e-9
    same = pytest.approx(distance, rel=1e-9, abs=1e-9)
    assert frechet_distance(second, first) == same
    assert frechet_distance(first @ axes, second @ axes) == same
    assert frechet_distance(random.permutation(first), second) == same


@pytest.mark.parametrize("sizes", [(2, 2), (5, 9), (5, 60), (60, 5)])
def test_frechet_of_fewer_samples_than_features_is_exact(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    first, second = (random.standard_normal((size, 20)) * np.arange(20) for size in sizes)
    shift = first.mean(axis=0) - second.mean(axis=0)
    variance = first.var(axis=0, ddof=1).sum() + second.var(axis=0, ddof=1).sum()
    expected = shift @ shift + variance - 2 * covariance_overlap(first, second)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-5)


def test_frechet_of_float32_features_is_computed_in_double_precision() -> None:
    first = (1000 + np.random.default_rng(0).standard_normal((200, 4))).astype(np.float32)
    assert frechet_distance(first, first[::-1].astype(float)) == pytest.approx(0, abs=1e-9)


# The kernel distance.


@settings(max_examples=30, deadline=None)
@given(features(min_size=2))
def test_kernel_is_the_result_of_a_double_loop(sets: Sets) -> None:
    def similarity(left: np.ndarray, right: np.ndarray) -> float:
        return float((left @ right / len(left) + 1) ** 3)

    def within(points: np.ndarray) -> float:
        count = len(points)
        pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
        return sum(similarity(points[i], points[j]) for i, j in pairs) / len(pairs)

    first, second = sets
    across = sum(similarity(x, y) for x in first for y in second) / (len(first) * len(second))
    expected = within(first) + within(second) - 2 * across
    scale = abs(within(first)) + abs(within(second)) + 2 * abs(across)
    assert kernel_distance(first, second) == pytest.approx(expected, abs=1e-9 * scale)
    assert kernel_distance(second, first) == pytest.approx(expected, abs=1e-9 * scale)


def test_kernel_of_two_sets_of_one_distribution_is_0_on_average() -> None:
    random = np.random.default_rng(0)
    values = np.array([kernel_distance(*random.standard_normal((2, 12, 3))) for _ in range(500)])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert (values < 0).any()
    far = kernel_distance(random.standard_normal((12, 3)), 2 + random.standard_normal((12, 3)))
    assert far > values.mean() + 3 * values.std()


# Precision, recall, density, coverage.


@pytest.mark.parametrize(
    ("points", "k", "expected"),
    [
        ([0, 1, 3, 10], 1, [1, 1, 2, 7]),
        ([0, 1, 3, 10], 2, [3, 2, 3, 9]),
        ([0, 1, 3, 10], 3, [10, 9, 7, 10]),
        ([0, 0, 0, 5], 1, [0, 0, 0, 5]),
        ([0, 0, 0, 5], 2, [0, 0, 0, 5]),
        ([0, 0, 0, 5], 3, [5, 5, 5, 5]),
        ([2, 2], 1, [0, 0]),
    ],
)
def test_a_radius_reaches_the_kth_other_point_even_among_repeats(
    points: list[int], k: int, expected: list[int]
) -> None:
    assert neighbour_radii(np.array(points)[:, None], k).tolist() == expected


@pytest.mark.parametrize("k", [4, 5, 50])
def test_a_set_of_at_most_k_points_has_no_radii(k: int) -> None:
    four = np.arange(4.0)[:, None]
    with pytest.raises(ValueError, match=f"4 samples have no {k}th neighbours"):
        neighbour_radii(four, k)
    with pytest.raises(ValueError, match="4 samples"):
        manifold_metrics(np.arange(100.0)[:, None], four, k)


def test_manifold_metrics_on_a_line_are_those_computed_by_hand() -> None:
    real, samples = np.array([[0.0], [1.0], [3.0], [10.0]]), np.array([[0.5], [4.5], [100.0]])
    # Radii of real points are 1, 1, 2, 7: the first sample lies within two of them, the second within
    # two others, the third within none. Radii of samples are 4, 4 and 95.5: the third's reaches 10.
    assert manifold_metrics(real, samples, 1) == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "density": 4 / 3, "coverage": 1.0}
    )


def test_manifold_metrics_in_a_plane_are_those_computed_by_hand() -> None:
    square = np.array([[0, 0], [0, 2], [2, 0], [2, 2]])  # radius 2 each: two corners
    samples = np.array([[1, 1], [0, 1], [9, 9]])  # radii 1, 1, sqrt(128)
    assert manifold_metrics(square, samples, 1) == pytest.approx(
        {"precision": 2 / 3, "recall": 3 / 4, "density": 6 / 3, "coverage": 1.0}
    )
    assert manifold_metrics(square, samples[[0, 1, 0]], 1) == pytest.approx(
        {"precision": 1.0, "recall": 0.5, "density": 10 / 3, "coverage": 1.0}
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_a_set_against_itself_is_covered_and_counts_each_sample_itself(seed: int, k: int) -> None:
    real = np.random.default_rng(seed).standard_normal((12, 3))
    expected = {"precision": 1.0, "recall": 1.0, "density": (k + 1) / k, "coverage": 1.0}
    assert manifold_metrics(real, real, k) == pytest.approx(expected)


def test_sets_far_apart_cover_nothing() -> None:
    real = np.random.default_rng(0).standard_normal((20, 3))
    assert set(manifold_metrics(real, real + 1000, 3).values()) == {0.0}


def test_an_outlier_raises_recall_but_not_coverage() -> None:
    real = np.array([0.0, 1, 2, 50, 51, 52])[:, None]
    samples, outlier = real[:3], np.array([[200.0]])
    before = manifold_metrics(real, samples, 1)
    after = manifold_metrics(real, np.concatenate([samples, outlier]), 1)
    assert (before["coverage"], after["coverage"]) == (0.5, 0.5)
    assert (before["recall"], after["recall"]) == (0.5, 1.0)
    assert (before["precision"], after["precision"]) == (1.0, 0.75)


def test_repeated_samples_cover_no_more_than_a_single_sample() -> None:
    real = np.arange(10.0)[:, None] * 3
    metrics = manifold_metrics(real, np.zeros((40, 1)), 1)
    assert metrics["precision"] == 1.0
    assert metrics["coverage"] == pytest.approx(
        0.2
    )  # the point itself, and the next, at its radius
    assert metrics["recall"] == pytest.approx(0.1)


@settings(max_examples=60, deadline=None)
@given(grids(min_size=4), st.integers(1, 3))
def test_manifold_metrics_are_the_results_of_plain_loops(sets: Sets, k: int) -> None:
    real, samples = (points.tolist() for points in sets)

    def squared(a: list[int], b: list[int]) -> int:
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    def radii(points: list[list[int]]) -> list[int]:
        return [
            sorted(squared(a, b) for j, b in enumerate(points) if j != i)[k - 1]
            for i, a in enumerate(points)
        ]

    inside = [
        [squared(r, s) <= radius for s in samples]
        for r, radius in zip(real, radii(real), strict=True)
    ]
    around = [
        [squared(r, s) <= radius for r in real]
        for s, radius in zip(samples, radii(samples), strict=True)
    ]
    assert manifold_metrics(*sets, k) == pytest.approx(
        {
            "precision": np.mean([any(column) for column in zip(*inside, strict=True)]),
            "recall": np.mean([any(column) for column in zip(*around, strict=True)]),
            "density": np.sum(inside) / (k * len(samples)),
            "coverage": np.mean([any(row) for row in inside]),
        }
    )


# Nearest neighbours, copying.


@settings(max_examples=25, deadline=None)
@given(grids(), st.lists(st.integers(0, 12), max_size=4))
def test_the_nearest_training_image_does_not_depend_on_the_parts(
    sets: Sets, cuts: list[int]
) -> None:
    samples, training = sets
    edges = sorted({0, len(training), *(cut for cut in cuts if cut < len(training))})
    parts = [training[start:stop] for start, stop in pairwise(edges)]
    nearest, distances = nearest_training_image(samples, parts)
    table = distance_table(samples, training)
    assert nearest.tolist() == table.argmin(axis=1).tolist()
    np.testing.assert_allclose(distances, table.min(axis=1), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(grids(min_size=2), st.data())
def test_an_excluded_image_is_ignored_and_no_other(sets: Sets, data: st.DataObject) -> None:
    training, last = sets[0], len(sets[0]) - 1
    exclude = np.array(data.draw(st.lists(st.integers(0, last), min_size=1, max_size=8)))
    cut = data.draw(st.integers(1, last))
    parts = [training[:cut], training[cut:]]
    nearest, distances = nearest_training_image(training[exclude], parts, exclude)
    table = distance_table(training[exclude], training)
    table[np.arange(len(exclude)), exclude] = np.inf
    np.testing.assert_allclose(distances, table.min(axis=1), atol=1e-12)
    np.testing.assert_allclose(table[np.arange(len(exclude)), nearest], distances, atol=1e-12)
    assert (nearest_training_image(training[exclude], [training])[1] == 0).all()


@settings(max_examples=15, deadline=None)
@given(grids(min_size=2))
def test_the_nearest_other_point_is_never_the_point_itself(sets: Sets) -> None:
    points = sets[0]
    nearest, distances = nearest_other(points)
    table = distance_table(points, points)
    np.fill_diagonal(table, np.inf)
    assert (nearest != np.arange(len(points))).all()
    np.testing.assert_allclose(distances, table.min(axis=1), atol=1e-12)
    np.testing.assert_allclose(table[np.arange(len(points)), nearest], distances, atol=1e-12)


def test_the_data_copying_score_is_one_half_for_equals_and_1_for_copies() -> None:
    real = np.array([0.1, 0.2, 0.2, 0.3, 0.5])
    assert data_copying_score(real, real) == pytest.approx(0.5)
    assert data_copying_score(np.zeros(7), real) == 1.0
    assert data_copying_score(np.full(7, 0.6), real) == 0.0
    assert data_copying_score(np.array([0.2]), real) == pytest.approx((2 + 2 * 0.5) / 5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_data_copying_score_counts_pairs(data: st.DataObject) -> None:
    values = st.lists(st.integers(0, 6), min_size=1, max_size=20)
    distances, real = data.draw(values), data.draw(values)
    wins = sum((d < r) + 0.5 * (d == r) for d in distances for r in real)
    score = data_copying_score(np.array(distances), np.array(real))
    assert score == pytest.approx(wins / (len(distances) * len(real)))
    statistic = scipy.stats.mannwhitneyu(real, distances).statistic
    assert score == pytest.approx(statistic / (len(distances) * len(real)))


# Sharpness.


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sharpness_of_boards_and_stripes_is_the_closed_form(channels: int) -> None:
    down, across = np.indices((6, 8))
    board, stripes = (down + across) % 2, across % 2
    images = np.stack([0 * board, 255 * board, 51 * board, 255 * stripes, 255 * stripes[:, ::-1]])
    values = sharpness(np.repeat(images[:, None], channels, axis=1).astype(np.uint8))
    # No neighbours differ; all by the whole range; all by a fifth of it; half of them by the range.
    assert values == pytest.approx([0, 1, 0.2, np.sqrt(1 / 2), np.sqrt(1 / 2)])


def test_a_blurred_image_is_less_sharp_and_each_is_measured_separately() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 8, 8))
    blurred = (image + np.roll(image, 1, axis=2) + np.roll(image, 1, axis=3)) // 3
    both = np.concatenate([image, blurred]).astype(np.uint8)
    values = sharpness(both)
    assert values[1] < values[0]
    assert values.tolist() == [*sharpness(both[:1]), *sharpness(both[1:])]


# The labels that samples are drawn for.


def dataset(counts: list[int]) -> Dataset:
    """Return a dataset with `counts` training samples by class, and others in another split."""
    labels = np.repeat(np.arange(len(counts)), counts).tolist()
    table = pd.DataFrame(
        {
            "row": np.arange(len(labels) + 9),
            "label": [*labels, *[0] * 9],
            "split": ["train"] * len(labels) + ["validation"] * 9,
        }
    )
    return Dataset(table, {"classes": [f"class {index}" for index in range(len(counts))]})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 120))
def test_any_first_labels_are_nearly_in_proportion(counts: list[int], count: int) -> None:
    labels = balanced_labels(dataset(counts), count)
    assert len(labels) == count
    shares = np.array(counts) / sum(counts)
    cumulative = np.cumsum(labels[:, None] == np.arange(len(counts)), axis=0)
    missing = np.arange(1, count + 1)[:, None] * shares - cumulative
    assert missing.min(initial=0) > -1
    assert missing.max(initial=0) < 2
    fewer = balanced_labels(dataset(counts), count // 3)
    np.testing.assert_array_equal(labels[: count // 3], fewer)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_as_many_labels_as_training_samples_have_the_same_counts(counts: list[int]) -> None:
    assert np.bincount(balanced_labels(dataset(counts), sum(counts))).tolist() == counts


@pytest.mark.parametrize("classes", [2, 3, 7, 10])
def test_equal_classes_take_turns(classes: int) -> None:
    rounds = balanced_labels(dataset([4] * classes), 20 * classes).reshape(20, classes)
    assert (np.sort(rounds, axis=1) == np.arange(classes)).all()
