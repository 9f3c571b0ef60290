"""A survey of a table tells at once what a proposal needs, and looks at no official test data."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from support.texts import to_csv_text

from stages.core.errors import UserError
from stages.core.progress import Lines
from stages.datasets.texts.survey import TableSurvey, survey_table

TOPICS = ["art", "food", "law", "music", "sport", "war"]


def write(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], mark: str = ","
) -> Path:
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    path.parent.mkdir(exist_ok=True)
    path.write_text(to_csv_text(cells, delimiter=mark), newline="", encoding="utf-8")
    return path


def survey(path: Path, **chosen: str | None) -> TableSurvey:
    return survey_table(path, "tasks.mine.prepare", chosen)


def names(summary: TableSurvey) -> dict[str, str | None]:
    roles = summary.roles
    columns = {role: getattr(roles, role) for role in ("text", "label", "id", "group", "split")}
    return {role: column.name if column else None for role, column in columns.items()}


def test_all_that_a_proposal_needs_is_found_at_once(tmp_path: Path) -> None:
    rows = [
        (
            n,
            f"word {n} " * (1 + n % 40),
            TOPICS[n % 6],
            f"writer {n // 3}",
            "web",
            ["Train", "TEST"][n // 3 % 4 == 0],
        )
        for n in range(240)
    ]
    header = ("uid", "Question", "topic", "author", "source", "split")
    summary = survey(write(tmp_path / "q.csv", header, rows, ";"))
    assert names(summary) == {
        "text": "Question",
        "label": "topic",
        "id": "uid",
        "group": "author",
        "split": "split",
    }
    assert summary.separator == "semicolon"
    assert summary.classes == TOPICS
    assert summary.official == {"train": 180, "test": 60}
    assert summary.counts.total() == 180
    assert summary.rows == 180
    assert summary.files == {"": "q.csv"}
    lengths = sorted(2 * (1 + n % 40) for n in range(240) if n // 3 % 4)
    assert summary.words[1] == pytest.approx(lengths[90], abs=2)
    assert summary.words[3] == pytest.approx(lengths[171], abs=2)
    assert any("60 rows are official test data" in remark for remark in summary.remarks)


def test_official_test_data_change_nothing_but_their_number(tmp_path: Path) -> None:
    header = ("text", "label", "split")
    train = [(f"some words {n}", ["no", "yes"][n % 2], "train") for n in range(60)]
    plain = survey(write(tmp_path / "a.csv", header, [*train, ("x", "no", "test")]))
    other = survey(write(tmp_path / "b.csv", header, [*train, ("y " * 999, "other", "test")]))
    for attribute in ("counts", "classes", "words", "official", "rows", "columns"):
        assert getattr(plain, attribute) == getattr(other, attribute)


def test_test_rows_at_the_end_of_a_long_sorted_file_are_seen(tmp_path: Path) -> None:
    rows = [(f"some words {n}", n % 2, "train" if n < 25_000 else "test") for n in range(26_000)]
    summary = survey(write(tmp_path / "a.csv", ("text", "label", "set"), rows))
    assert names(summary)["split"] == "set"
    assert summary.official == {"train": 25_000, "test": 1000}
    assert summary.rows == 20_000


def test_test_rows_at_the_start_of_a_long_file_do_not_use_up_the_sample(tmp_path: Path) -> None:
    rows = [(f"some words {n}", n % 2, "test" if n < 25_000 else "train") for n in range(26_000)]
    summary = survey(write(tmp_path / "a.csv", ("text", "label", "set"), rows))
    assert summary.official == {"train": 1000, "test": 25_000}
    assert summary.rows == 1000


def test_the_labels_of_a_long_table_that_is_sorted_by_them_are_all_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.core.progress._LINES", Lines(interval=0.01))
    rows = [(f"some words {n}", "no" if n < 25_000 else "yes") for n in range(50_000)]
    summary = survey(write(tmp_path / "a.csv", ("text", "label"), rows))
    assert summary.rows == 20_000
    assert summary.roles.label.values["no"] == pytest.approx(
        10_000, abs=300
    )  # 4 standard deviations
    printed = capsys.readouterr().err
    assert all(title in printed for title in ("looking at the table", "reading texts"))
    again = survey(tmp_path / "a.csv")
    assert again.columns == summary.columns


def test_rows_without_a_split_are_undivided(tmp_path: Path) -> None:
    rows = [(f"some words {n}", n % 2, ["", "test"][n % 3 == 0]) for n in range(90)]
    summary = survey(write(tmp_path / "a.csv", ("text", "label", "part"), rows))
    assert names(summary)["split"] == "part"
    assert summary.official == {"": 60, "test": 30}
    assert not summary.faults.counts


def test_one_file_a_split_needs_no_column_of_splits(tmp_path: Path) -> None:
    for name, count in (("train", 60), ("test", 20)):
        rows = [(f"{name} words {n}", n % 2) for n in range(count)]
        write(tmp_path / "tables" / f"{name}.tsv", ("text", "label"), rows, "\t")
    summary = survey(tmp_path / "tables")
    assert summary.files == {"train": "train.tsv", "test": "test.tsv"}
    assert (summary.separator, summary.official) == ("tab", {"train": 60, "test": 20})
    assert summary.counts == {"0": 30, "1": 30}


def test_a_hundred_classes_are_found_with_a_heading_of_labels(tmp_path: Path) -> None:
    rows = [(f"ask {n} words", f"intent {n % 100}") for n in range(1000)]
    assert len(survey(write(tmp_path / "a.csv", ("text", "intent"), rows)).classes) == 100
    with pytest.raises(UserError, match="no column of labels: none has from 2 to 50 different"):
        survey(write(tmp_path / "b.csv", ("text", "thing"), rows))


def test_chosen_columns_come_first(tmp_path: Path) -> None:
    rows = [(f"title {n}", f"long words of the body {n}", n % 2, n % 3, n // 2) for n in range(60)]
    path = write(tmp_path / "a.csv", ("title", "body", "label", "stars", "author"), rows)
    assert names(survey(path)) | {"id": None} == {
        "text": "body",
        "label": "label",
        "id": None,
        "group": "author",
        "split": None,
    }
    assert "stars may be labels too" in " ".join(survey(path).remarks)
    summary = survey(path, text="title", label="stars", group=None)
    assert (summary.roles.text.name, summary.classes, summary.roles.group) == (
        "title",
        ["0", "1", "2"],
        None,
    )
    with pytest.raises(
        UserError, match="given column 'mood' for label; the header has 'title', 'body'"
    ):
        survey(path, label="mood")


def test_rows_that_cannot_be_used_are_a_remark(tmp_path: Path) -> None:
    rows = [(f"some words {n}", "" if n % 20 == 0 else n % 2) for n in range(60)]
    summary = survey(write(tmp_path / "a.csv", ("text", "label"), rows))
    assert "3 of 60 rows cannot be used: 3 empty label" in " ".join(summary.remarks)
    assert summary.counts.total() == 57


def test_columns_without_a_name_of_their_own_are_not_used(tmp_path: Path) -> None:
    rows = [(n, f"some words {n}", n % 2, "x", "y") for n in range(60)]
    summary = survey(write(tmp_path / "a.csv", ("", "text", "label", "twice", "twice"), rows))
    assert [column.name for column in summary.columns] == ["text", "label"]
    with pytest.raises(UserError, match="the header names 1 column; at least two"):
        survey(write(tmp_path / "b.csv", ("", "text", "same", "same"), [row[:4] for row in rows]))
    with pytest.raises(UserError, match="cannot be the heading of a column"):
        survey(write(tmp_path / "c.csv", ("a long first text " * 9, "no"), [("text", "no")] * 9))


def test_test_data_without_labels_are_refused_with_what_to_do(tmp_path: Path) -> None:
    rows = [(f"some words {n}", n % 2) for n in range(60)]
    write(tmp_path / "tables" / "train.csv", ("text", "label"), rows)
    write(tmp_path / "tables" / "test.csv", ("text", "id"), rows)
    with pytest.raises(
        UserError, match=r"test\.csv: .*: column 'label' is missing.*move the file elsewhere"
    ):
        survey(tmp_path / "tables")


def test_a_table_without_a_header_is_refused(tmp_path: Path) -> None:
    rows = [(f"some words {n}", ["good", "poor"][n % 2]) for n in range(60)]
    with pytest.raises(UserError, match="it seems to be a row, for 'good' is also a label"):
        survey(write(tmp_path / "a.csv", ("a fine film", "good"), rows))


@pytest.mark.parametrize("crossing", [False, True])
def test_groups_in_several_official_splits_are_not_taken_for_groups(
    tmp_path: Path, *, crossing: bool
) -> None:
    authors = [n % 30 if crossing else n // 4 for n in range(200)]
    rows = [
        (f"some words {n}", n % 2, f"author {author}", "test" if n < 40 else "train")
        for n, author in enumerate(authors)
    ]
    path = write(tmp_path / "a.csv", ("text", "label", "author", "split"), rows)
    summary = survey(path)
    assert names(summary)["group"] == (None if crossing else "author")
    assert ("author is not taken for groups" in " ".join(summary.remarks)) == crossing
    assert names(survey(path, group="author"))["group"] == "author"
