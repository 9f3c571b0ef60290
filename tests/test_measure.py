"""The measures of samples agree with closed forms, with plain loops, and with sets worked by hand."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.shared.dataset import Dataset
from stages.tasks.generative.measure import (
    asked_labels,
    closer,
    distances,
    frechet,
    kernel,
    manifold,
    nearest,
    neighbourhoods,
    sharpness,
)

Sets = tuple[np.ndarray, np.ndarray]


@st.composite
def features(draw: st.DrawFn, least: int = 3) -> Sets:
    """Return two sets of features of one width, each with a spread and a place of its own."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    width = draw(st.integers(1, 8))
    sizes = draw(st.tuples(st.integers(least, 30), st.integers(least, 30)))
    one, other = (
        random.standard_normal((size, width)) @ random.standard_normal((width, width))
        + random.standard_normal(width)
        for size in sizes
    )
    return one, other


@st.composite
def grids(draw: st.DrawFn, least: int = 1, most: int = 12) -> Sets:
    """Return two sets of points of whole numbers, among which ties and repeats are common."""
    width = draw(st.integers(1, 2))
    point = st.lists(st.integers(0, 5), min_size=width, max_size=width)
    some = st.lists(point, min_size=least, max_size=most)
    return np.array(draw(some)), np.array(draw(some))


def shared_spread(one: np.ndarray, other: np.ndarray) -> float:
    """Return the trace of the root of the covariances' product, by way of symmetric matrices."""
    first, second = np.cov(one.T), np.cov(other.T)
    values, axes = np.linalg.eigh(first)
    root = (axes * np.sqrt(values.clip(0))) @ axes.T
    return float(np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum())


def test_frechet_is_the_closed_form_of_the_moments() -> None:
    random = np.random.default_rng(0)
    one = random.standard_normal((60, 5)) @ random.standard_normal((5, 5))
    other = random.standard_normal((40, 5)) @ random.standard_normal((5, 5)) + 3
    first, second = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(first @ second).real
    shift = one.mean(axis=0) - other.mean(axis=0)
    expected = shift @ shift + np.trace(first + second - 2 * root)
    assert frechet(one, other) == pytest.approx(expected, rel=1e-9)


def test_frechet_between_sets_on_a_line_is_that_of_means_and_deviations() -> None:
    one, other = np.array([[0.0], [2.0], [4.0]]), np.array([[10.0], [11.0], [12.0]])
    assert frechet(one, other) == pytest.approx((2 - 11) ** 2 + (2 - 1) ** 2)


@settings(max_examples=40, deadline=None)
@given(features())
def test_frechet_of_a_set_and_itself_is_nothing(sets: Sets) -> None:
    scale = np.square(sets[0]).sum()
    assert frechet(sets[0], sets[0]) == pytest.approx(0, abs=1e-12 * scale + 1e-12)


@settings(max_examples=40, deadline=None)
@given(features(), st.integers(0, 1000))
def test_a_shift_alone_is_a_frechet_distance_of_its_square(sets: Sets, seed: int) -> None:
    shift = 5 * np.random.default_rng(seed).standard_normal(sets[0].shape[1])
    expected = np.square(shift).sum()
    assert frechet(sets[0], sets[0] + shift) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(features(), st.integers(0, 1000))
def test_frechet_knows_neither_sides_nor_axes_nor_order(sets: Sets, seed: int) -> None:
    one, other = sets
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.standard_normal((one.shape[1], one.shape[1])))[0]
    found = frechet(one, other)
    assert found > -1e-9
    assert frechet(other, one) == pytest.approx(found, rel=1e-9, abs=1e-9)
    assert frechet(one @ axes, other @ axes) == pytest.approx(found, rel=1e-9, abs=1e-9)
    assert frechet(random.permutation(one), other) == pytest.approx(found, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("sizes", [(2, 2), (5, 9), (5, 60), (60, 5)])
def test_frechet_asks_for_no_more_samples_than_features_are_wide(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    one, other = (random.standard_normal((size, 20)) * np.arange(20) for size in sizes)
    shift = one.mean(axis=0) - other.mean(axis=0)
    spread = one.var(axis=0, ddof=1).sum() + other.var(axis=0, ddof=1).sum()
    expected = shift @ shift + spread - 2 * shared_spread(one, other)
    assert frechet(one, other) == pytest.approx(expected, rel=1e-5)


def test_frechet_of_features_as_the_judge_gives_them_is_taken_in_double_precision() -> None:
    one = (1000 + np.random.default_rng(0).standard_normal((200, 4))).astype(np.float32)
    other = one[::-1].astype(float)
    assert frechet(one, other) == pytest.approx(0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(features(least=2))
def test_kernel_is_what_a_double_loop_gives(sets: Sets) -> None:
    def similar(left: np.ndarray, right: np.ndarray) -> float:
        return float((left @ right / len(left) + 1) ** 3)

    def within(some: np.ndarray) -> float:
        pairs = [(i, j) for i in range(len(some)) for j in range(len(some)) if i != j]
        return sum(similar(some[i], some[j]) for i, j in pairs) / len(pairs)

    one, other = sets
    across = sum(similar(x, y) for x in one for y in other) / (len(one) * len(other))
    found = kernel(one, other)
    scale = abs(within(one)) + abs(within(other)) + 2 * abs(across)
    assert found == pytest.approx(within(one) + within(other) - 2 * across, abs=1e-9 * scale)
    assert kernel(other, one) == pytest.approx(found, abs=1e-9 * scale)


def test_kernel_is_nothing_on_average_where_two_sets_are_of_one_distribution() -> None:
    random = np.random.default_rng(0)
    values = np.array([kernel(*random.standard_normal((2, 12, 3))) for _ in range(2000)])
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert (values < 0).any()
    far = [kernel(random.standard_normal((12, 3)), 2 + random.standard_normal((12, 3)))]
    assert min(far) > values.mean() + 3 * values.std()


@settings(max_examples=40, deadline=None)
@given(grids())
def test_distances_are_the_roots_of_summed_squares(sets: Sets) -> None:
    one, other = sets
    expected = np.linalg.norm(one[:, None] - other[None], axis=2)
    np.testing.assert_allclose(distances(one, other), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("real", "k", "expected"),
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
def test_a_neighbourhood_reaches_the_kth_other_even_among_repeats(
    real: list[int], k: int, expected: list[int]
) -> None:
    assert neighbourhoods(np.array(real)[:, None], k).tolist() == expected


@pytest.mark.parametrize("k", [4, 5, 50])
def test_a_set_without_enough_others_has_no_neighbourhoods(k: int) -> None:
    four = np.arange(4.0)[:, None]
    with pytest.raises(ValueError, match=f"4 samples have no {k}th neighbours"):
        neighbourhoods(four, k)
    with pytest.raises(ValueError, match="4 samples"):
        manifold(np.arange(100.0)[:, None], four, k)


def test_the_four_shares_are_those_worked_out_by_hand() -> None:
    real, samples = np.array([[0.0], [1.0], [3.0], [10.0]]), np.array([[0.5], [4.5], [100.0]])
    # Real ones reach 1, 1, 2, 7: the first sample lies in two of them, the second in two others,
    # the third in none. Samples reach 4, 4 and 95.5: the third one's reaches the real one at 10.
    assert manifold(real, samples, 1) == pytest.approx(
        {"precision": 2 / 3, "recall": 1.0, "density": 4 / 3, "coverage": 1.0}
    )


def test_the_four_shares_in_a_plane_are_those_worked_out_by_hand() -> None:
    square = np.array([[0, 0], [0, 2], [2, 0], [2, 2]])  # each reaches 2, two corners
    samples = np.array([[1, 1], [0, 1], [9, 9]])  # they reach 1, 1, sqrt(128)
    assert manifold(square, samples, 1) == pytest.approx(
        {"precision": 2 / 3, "recall": 3 / 4, "density": 6 / 3, "coverage": 1.0}
    )
    assert manifold(square, samples[[0, 1, 0]], 1) == pytest.approx(
        {"precision": 1.0, "recall": 0.5, "density": 10 / 3, "coverage": 1.0}
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_of_a_set_and_itself_all_is_covered_and_a_sample_lies_in_its_own_too(
    seed: int, k: int
) -> None:
    real = np.random.default_rng(seed).standard_normal((12, 3))
    expected = {"precision": 1.0, "recall": 1.0, "density": (k + 1) / k, "coverage": 1.0}
    assert manifold(real, real, k) == pytest.approx(expected)


def test_of_sets_far_apart_nothing_is_covered() -> None:
    real = np.random.default_rng(0).standard_normal((20, 3))
    assert set(manifold(real, real + 1000, 3).values()) == {0.0}


def test_an_outlier_raises_recall_but_not_coverage() -> None:
    real = np.array([0.0, 1, 2, 50, 51, 52])[:, None]
    few = real[:3]
    outlier = np.array([[200.0]])
    before, after = manifold(real, few, 1), manifold(real, np.concatenate([few, outlier]), 1)
    assert (before["coverage"], after["coverage"]) == (0.5, 0.5)
    assert (before["recall"], after["recall"]) == (0.5, 1.0)
    assert (before["precision"], after["precision"]) == (1.0, 0.75)


def test_samples_of_one_place_cover_one_neighbourhood_however_many_they_are() -> None:
    real = np.arange(10.0)[:, None] * 3
    found = manifold(real, np.zeros((40, 1)), 1)
    assert found["precision"] == 1.0
    assert found["coverage"] == pytest.approx(0.2)  # itself, and the next one, whose edge it is
    assert found["recall"] == pytest.approx(0.1)


@settings(max_examples=60, deadline=None)
@given(grids(least=4), st.integers(1, 3))
def test_the_four_shares_are_what_plain_loops_give(sets: Sets, k: int) -> None:
    real, samples = (some.tolist() for some in sets)

    def squared(a: list[int], b: list[int]) -> int:
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    def reach(some: list[list[int]]) -> list[int]:
        return [
            sorted(squared(a, b) for j, b in enumerate(some) if j != i)[k - 1]
            for i, a in enumerate(some)
        ]

    inside = [[squared(r, s) <= radius for s in samples] for r, radius in
              zip(real, reach(real), strict=True)]  # fmt: skip
    around = [[squared(r, s) <= radius for r in real] for s, radius in
              zip(samples, reach(samples), strict=True)]  # fmt: skip
    assert manifold(*sets, k) == pytest.approx(
        {
            "precision": np.mean([any(column) for column in zip(*inside, strict=True)]),
            "recall": np.mean([any(column) for column in zip(*around, strict=True)]),
            "density": np.sum(inside) / (k * len(samples)),
            "coverage": np.mean([any(row) for row in inside]),
        }
    )


@settings(max_examples=60, deadline=None)
@given(grids(), st.lists(st.integers(0, 12), max_size=4))
def test_training_images_in_parts_give_the_nearest_of_the_whole(
    sets: Sets, cuts: list[int]
) -> None:
    samples, training = sets
    edges = sorted({0, len(training), *(cut for cut in cuts if cut < len(training))})
    place, gap = nearest(samples, [training[a:b] for a, b in pairwise(edges)])
    table = np.linalg.norm(samples[:, None] - training[None], axis=2)
    assert place.tolist() == table.argmin(axis=1).tolist()
    np.testing.assert_allclose(gap, table.min(axis=1), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(grids(least=2), st.data())
def test_what_does_not_count_is_left_out_and_nothing_else(sets: Sets, data: st.DataObject) -> None:
    training = sets[0]
    some = st.lists(st.integers(0, len(training) - 1), min_size=1, max_size=8)
    but = np.array(data.draw(some))
    cut = data.draw(st.integers(1, len(training) - 1))
    place, gap = nearest(training[but], [training[:cut], training[cut:]], but)
    table = np.linalg.norm(training[but][:, None] - training[None], axis=2)
    table[np.arange(len(but)), but] = np.inf
    assert place.tolist() == table.argmin(axis=1).tolist()
    np.testing.assert_allclose(gap, table.min(axis=1), atol=1e-12)
    assert (nearest(training[but], [training])[1] == 0).all()


def test_closer_is_one_half_for_equals_and_one_for_copies() -> None:
    real = np.array([0.1, 0.2, 0.2, 0.3, 0.5])
    assert closer(real, real) == pytest.approx(0.5)
    assert closer(np.zeros(7), real) == 1.0
    assert closer(np.full(7, 0.6), real) == 0.0
    assert closer(np.array([0.2]), real) == pytest.approx((2 + 2 * 0.5) / 5)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_closer_is_what_counting_pairs_gives(data: st.DataObject) -> None:
    whole = st.lists(st.integers(0, 6), min_size=1, max_size=20)
    gaps, real = data.draw(whole), data.draw(whole)
    wins = sum((g < r) + 0.5 * (g == r) for g in gaps for r in real)
    found = closer(np.array(gaps), np.array(real))
    assert found == pytest.approx(wins / (len(gaps) * len(real)))
    statistic = scipy.stats.mannwhitneyu(real, gaps).statistic
    assert found == pytest.approx(statistic / (len(gaps) * len(real)))


def test_an_image_of_one_grey_has_no_sharpness() -> None:
    assert sharpness(np.full((3, 1, 6, 6), 200, dtype=np.uint8)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sharpness_of_boards_and_stripes_is_that_of_the_closed_form(channels: int) -> None:
    down, across = np.indices((6, 8))
    board, stripes = (down + across) % 2, across % 2
    images = np.stack([255 * board, 51 * board, 255 * stripes, 255 * stripes[:, ::-1]])
    found = sharpness(np.repeat(images[:, None], channels, axis=1).astype(np.uint8))
    # All neighbours differ by the whole range; by a fifth of it; half of the neighbours do.
    assert found == pytest.approx([1, 0.2, np.sqrt(1 / 2), np.sqrt(1 / 2)])


def test_a_blurred_image_is_less_sharp_and_each_is_measured_for_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 8, 8))
    blurred = (image + np.roll(image, 1, axis=2) + np.roll(image, 1, axis=3)) // 3
    both = np.concatenate([image, blurred]).astype(np.uint8)
    found = sharpness(both)
    assert found[1] < found[0]
    assert found.tolist() == [*sharpness(both[:1]), *sharpness(both[1:])]


def dataset(counts: list[int]) -> Dataset:
    """Return a data set with so many training samples a class, and others elsewhere."""
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
def test_any_run_of_the_asked_labels_from_the_start_is_nearly_in_proportion(
    counts: list[int], count: int
) -> None:
    labels = asked_labels(dataset(counts), count)
    assert len(labels) == count
    shares = np.array(counts) / sum(counts)
    given_ = np.cumsum(labels[:, None] == np.arange(len(counts)), axis=0)
    missing = np.arange(1, count + 1)[:, None] * shares - given_
    assert missing.min(initial=0) > -1
    assert missing.max(initial=0) < 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_as_many_asked_labels_as_training_samples_are_theirs(counts: list[int]) -> None:
    assert np.bincount(asked_labels(dataset(counts), sum(counts))).tolist() == counts


@pytest.mark.parametrize("classes", [2, 3, 7, 10])
def test_each_round_asks_for_each_of_equal_classes_once(classes: int) -> None:
    rounds = asked_labels(dataset([4] * classes), 20 * classes).reshape(20, classes)
    assert (np.sort(rounds, axis=1) == np.arange(classes)).all()


def test_a_longer_list_of_asked_labels_begins_with_the_shorter_one() -> None:
    data = dataset([7, 2, 5])
    np.testing.assert_array_equal(asked_labels(data, 100)[:37], asked_labels(data, 37))
