"""Near duplicates among texts are those of comparing every pair."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.errors import UserError
from stages.datasets.texts import duplicates
from stages.datasets.texts.duplicates import near_pairs


def brute_force(texts: list[str], threshold: Fraction) -> list[list[int]]:
    """Return the pairs whose sets of word trigrams overlap by at least `threshold`."""
    trigrams = [set(zip(t.split(), t.split()[1:], t.split()[2:], strict=False)) for t in texts]
    return [
        [first, second]
        for first, second in combinations(range(len(texts)), 2)
        if len(trigrams[first] & trigrams[second])
        >= threshold * len(trigrams[first] | trigrams[second])
    ]


@st.composite
def similar_texts(draw: st.DrawFn) -> list[str]:
    """Return texts that share many trigrams: of few different words, or edits of one text."""
    few_words = st.lists(st.sampled_from("abcd"), min_size=3, max_size=12)
    base = draw(st.lists(st.sampled_from("abcdefgh"), min_size=6, max_size=20))
    edits = st.tuples(st.integers(0, len(base) - 1), st.sampled_from("abcdefghxyz"))
    edited = edits.map(lambda edit: [*base[: edit[0]], edit[1], *base[edit[0] + 1 :]])
    prefixes = st.integers(3, len(base)).map(lambda size: base[:size])
    texts = draw(st.lists(st.one_of(few_words, edited, prefixes), min_size=2, max_size=12))
    return [" ".join(text) for text in texts]


THRESHOLDS = [Fraction(t) for t in ("1/50", "1/4", "1/3", "1/2", "3/5", "2/3", "9/10", "1")]


@settings(max_examples=80, deadline=None)
@given(similar_texts(), st.sampled_from(THRESHOLDS), st.sampled_from([1, 3, 20_000]))
def test_the_pairs_are_those_of_comparing_every_two_texts(
    texts: list[str], threshold: Fraction, block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_BLOCK", block)
        pairs = near_pairs(iter(texts), float(threshold))
    assert pairs.shape[1:] == (2,)
    assert pairs.tolist() == brute_force(texts, threshold)


BASE = "one two three four five six seven eight nine ten eleven twelve"  # 10 trigrams


@pytest.mark.parametrize(
    ("text", "shared", "union"),
    [
        (BASE.upper().replace(" ", " - "), 10, 10),  # case and punctuation do not count
        (BASE + " thirteen", 10, 11),
        (BASE.removesuffix(" twelve"), 9, 10),
        (BASE.replace("six", "6"), 7, 13),  # a word in the middle is in three trigrams
        (BASE.replace("twelve", "12"), 9, 11),
        (f"{BASE} {BASE}", 10, 12),
        ("one two three", 1, 10),
        (" ".join(reversed(BASE.split())), 0, 20),
    ],
)
def test_overlap_is_the_share_of_trigrams_in_common(text: str, shared: int, union: int) -> None:
    overlap = shared / union
    if shared:
        assert near_pairs([BASE, "quite another thing", text], overlap).tolist() == [[0, 2]]
    if overlap < 1:
        assert near_pairs([BASE, text], min(1.0, overlap + 1e-6)).shape == (0, 2)


def test_texts_of_fewer_than_three_words_are_near_only_if_their_words_are_the_same() -> None:
    texts = ["Good film", "good", "Good film!", "bad film", "film good", "GOOD.", "a good film"]
    for threshold in (0.01, 1.0):
        assert near_pairs(texts, threshold).tolist() == [[0, 2], [1, 5]]
    for pair in ((":)", ":("), ("good", "good good"), ("so it", "so it so")):
        assert near_pairs(pair, 1.0).shape == (0, 2)


def test_inserted_near_duplicates_are_found_among_many_texts() -> None:
    random = np.random.default_rng(0)
    drawn = random.zipf(1.3, (4000, 15)) % 3000  # as in a language, some words are everywhere
    texts = [" ".join(f"w{n}" for n in row) for row in drawn]
    expected = []
    for first, second in ((17, 3999), (41, 42), (1000, 2500)):
        words = texts[first].split()
        texts[second] = " ".join([*words[:7], "another", *words[8:]])  # 10 of 16 trigrams
        expected.append([first, second])
    assert near_pairs(texts, 0.6).tolist() == expected


def test_too_many_near_pairs_are_refused_by_the_param(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{BASE} {n}" for n in range(5)]  # 10 pairs
    monkeypatch.setattr(duplicates, "_MAX_PAIRS", 10)
    assert len(near_pairs(texts, 0.5)) == 10
    monkeypatch.setattr(duplicates, "_MAX_PAIRS", 9)
    key = "tasks.reviews.prepare.near_duplicate"
    with pytest.raises(
        UserError, match=rf"more than 9 pairs of texts overlap by 0\.5.* raise {key}"
    ):
        near_pairs(texts, 0.5, key)
