"""The search for near duplicates gives the pairs of a comparison of every image with every other."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages.core.errors import UserError
from stages.datasets.images import duplicates, packed
from stages.datasets.images.duplicates import near_pairs
from stages.datasets.splits import duplicate_clusters

SHAPES = [(1, 4, 4), (1, 5, 7), (3, 7, 5), (1, 8, 8), (3, 4, 6), (3, 9, 9), (1, 13, 4)]


def brute_force(images: np.ndarray) -> dict[tuple[int, int], float]:
    """Return the root mean square difference of each pair, as a share of the range."""
    exact = images.astype(np.int64)
    return {
        (first, second): float(np.sqrt(((exact[first] - exact[second]) ** 2).mean())) / 255
        for first, second in combinations(range(len(images)), 2)
    }


@st.composite
def images_to_compare(draw: st.DrawFn) -> np.ndarray:
    """Return a few images: noise of one of several strengths on flat, coarse or noisy grounds."""
    channels, height, width = draw(st.sampled_from(SHAPES))
    count = draw(st.integers(2, 12))
    random = np.random.default_rng(draw(st.integers(0, 100_000)))
    ground = draw(st.sampled_from(["flat", "coarse", "noisy"]))
    if ground == "flat":  # these differ in their mean alone, which a sketch must preserve
        base = random.integers(0, 256, (count, channels, 1, 1))
    elif ground == "coarse":
        blocks = random.integers(0, 256, (count, channels, 2, 2))
        base = np.repeat(np.repeat(blocks, -(-height // 2), axis=2), -(-width // 2), axis=3)
        base = base[:, :, :height, :width]
    else:
        base = random.integers(0, 256, (1, channels, height, width))
    noise = draw(st.sampled_from([0, 3, 30, 255]))
    shape = (count, channels, height, width)
    shifted = base + random.integers(-noise, noise + 1, shape)
    images: np.ndarray = np.clip(shifted, 0, 255).astype(np.uint8)
    return images


@settings(max_examples=50, deadline=None)
@given(images_to_compare(), st.floats(0, 1), st.booleans())
def test_the_pairs_are_those_of_a_brute_force_comparison(
    images: np.ndarray, level: float, at_a_quantile: bool
) -> None:
    differences = brute_force(images)
    # Half of the time just above a difference that occurs, where a wrong bound would show.
    ordered = np.array(sorted(differences.values()))
    threshold = float(np.quantile(ordered, level)) * 1.0001 if at_a_quantile else level
    assume(threshold > 0)
    assume(np.abs(ordered - threshold).min() > 1e-6)
    expected = {pair: value for pair, value in differences.items() if value <= threshold}
    pairs, values = near_pairs(images, threshold)
    assert pairs.shape == (len(expected), 2)
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(expected)
    np.testing.assert_allclose(values, [expected[pair] for pair in sorted(expected)], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(images_to_compare(), st.floats(0.01, 1))
def test_small_parts_give_the_pairs_of_large_ones(images: np.ndarray, threshold: float) -> None:
    expected = near_pairs(images, threshold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_QUERIES", 5)
        patch.setattr(duplicates, "_NEIGHBOURS", 3)
        patch.setattr(duplicates, "_BATCH_CANDIDATES", 3)
        patch.setattr(packed, "_BATCH_VALUES", 2 * images[0].size)
        parts = near_pairs(images, threshold)
    np.testing.assert_array_equal(parts[0], expected[0])
    np.testing.assert_array_equal(parts[1], expected[1])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 31)])
def test_one_near_duplicate_among_many_images_is_found(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (300, *shape), dtype=np.uint8)
    images[217] = np.clip(images[41].astype(int) + random.integers(-9, 10, shape), 0, 255)
    pairs, differences = near_pairs(images, 0.05)
    assert pairs.tolist() == [[41, 217]]
    assert 0 < differences[0] <= 0.05


def test_an_exact_duplicate_is_a_pair_at_distance_zero() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)
    images[3] = images[1]
    pairs, differences = near_pairs(images, 0.001)
    assert pairs.tolist() == [[1, 3]]
    assert differences.tolist() == [0.0]


def test_the_distance_of_a_brighter_copy_is_the_shift() -> None:
    images = np.stack([np.full((1, 6, 6), level, dtype=np.uint8) for level in (100, 110, 97)])
    pairs, differences = near_pairs(images, 0.045)
    assert pairs.tolist() == [[0, 1], [0, 2]]
    assert differences.tolist() == pytest.approx([10 / 255, 3 / 255])


def test_pairs_are_found_across_batches() -> None:
    random = np.random.default_rng(0)  # more than one batch of both: 9000 images, 9730 pairs
    images = random.integers(0, 256, (9000, 1, 4, 4), dtype=np.uint8)
    cluster = np.concatenate([np.arange(8150, 8289), [8999]])
    images[cluster] = images[0] // 2 + random.integers(
        0, 4, (len(cluster), 1, 4, 4), dtype=np.uint8
    )
    pairs, differences = near_pairs(images, 0.02)
    np.testing.assert_array_equal(pairs, list(combinations(cluster.tolist(), 2)))
    exact = images[pairs[:, 0]].astype(float) - images[pairs[:, 1]]
    np.testing.assert_allclose(differences, np.sqrt((exact**2).mean(axis=(1, 2, 3))) / 255, 1e-5)


def test_a_threshold_of_zero_finds_no_pair() -> None:
    images = np.zeros((4, 1, 8, 8), dtype=np.uint8)
    pairs, differences = near_pairs(images, 0.0)
    assert pairs.shape == (0, 2)
    assert differences.shape == (0,)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_make_no_pair(count: int) -> None:
    pairs, differences = near_pairs(np.zeros((count, 1, 8, 8), dtype=np.uint8), 0.5)
    assert pairs.shape == (0, 2)
    assert differences.shape == (0,)


def test_a_cluster_contains_whatever_pairs_connect() -> None:
    clusters = duplicate_clusters(7, np.array([[0, 3], [3, 5], [1, 6]]))
    assert clusters[0] == clusters[3] == clusters[5]
    assert clusters[1] == clusters[6]
    assert len(set(clusters.tolist())) == 4  # 2 and 4 are clusters of one


def test_without_pairs_each_image_is_a_cluster() -> None:
    assert sorted(duplicate_clusters(4, np.empty((0, 2), dtype=np.int64)).tolist()) == [0, 1, 2, 3]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.data())
def test_two_images_share_a_cluster_exactly_if_pairs_connect_them(
    count: int, data: st.DataObject
) -> None:
    index = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(index, index), max_size=12))
    connected = np.eye(count, dtype=bool)
    for first, second in pairs:
        connected[first, second] = connected[second, first] = True
    for _ in range(count):
        connected = connected @ connected
    clusters = duplicate_clusters(count, np.array(pairs, dtype=np.int64).reshape(-1, 2))
    np.testing.assert_array_equal(clusters[:, None] == clusters[None, :], connected)


def test_more_pairs_than_the_limit_name_the_param(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_MAX_PAIRS", 5)
    with pytest.raises(UserError, match=r"more than 5 pairs .*; lower tasks\.image\.x$"):
        near_pairs(np.zeros((4, 1, 8, 8), dtype=np.uint8), 0.5, "tasks.image.x")
