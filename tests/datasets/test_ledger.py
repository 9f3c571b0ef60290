"""The ledger of packed samples: of exact duplicates one is kept, official test data before others."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stages.datasets.ledger import PackedSamples, PackingLedger

RANK = {"": 0, "train": 0, "validation": 1, "test": 2}
SAMPLES = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from("ab"), st.sampled_from([*RANK])), max_size=20
)


def packed(*samples: tuple[str, str, str, str]) -> PackedSamples:
    """Return the tables for samples of name, label, content and official split."""
    ledger = PackingLedger()
    for name, label, content, split in samples:
        ledger.add(name, label, "", content.encode(), official_split=split)
    return ledger.finish("0" * 64)


def test_of_duplicates_the_official_test_sample_is_kept_wherever_it_stands() -> None:
    tables = packed(
        ("early", "a", "same", "train"),
        ("copy", "a", "same", "train"),
        ("other", "a", "different", "train"),
        ("late", "b", "same", "test"),
    )
    kept = tables.samples[["row", "id", "label", "official_split"]].to_numpy().tolist()
    assert kept == [[0, "late", "b", "test"], [1, "other", "a", "train"]]
    left_out = tables.duplicates.to_numpy().tolist()
    assert left_out == [["copy", "a", "late", "b"], ["early", "a", "late", "b"]]


@settings(max_examples=50, deadline=None)
@given(SAMPLES)
def test_each_content_is_kept_once_in_the_last_official_split_it_has(
    samples: list[tuple[int, str, str]],
) -> None:
    tables = packed(
        *(
            (f"s{n}", label, str(content), split)
            for n, (content, label, split) in enumerate(samples)
        )
    )
    kept = dict(tables.samples[["id", "official_split"]].to_numpy().tolist())
    content_of = {f"s{n}": content for n, (content, _, _) in enumerate(samples)}
    assert sorted(content_of[name] for name in kept) == sorted(set(content_of.values()))
    assert {*kept, *tables.duplicates["id"]} == set(content_of)
    for name, split in kept.items():
        same = [split for content, _, split in samples if content == content_of[name]]
        assert RANK[split] == max(map(RANK.__getitem__, same))
    for name, same_as in tables.duplicates[["id", "same_as"]].to_numpy().tolist():
        assert content_of[name] == content_of[same_as]
        assert same_as in kept
