"""Files in git that are not those of dvc.lock."""

import json
from typing import Any

from attacks.attack import DATA, METRICS, PACK, TASK, Target, family

attack = family("files edited")


@attack(METRICS, quick=True)
def metric_edited(target: Target) -> None:
    """A better accuracy in the merged metrics."""
    target.forge_metric()


@attack(METRICS)
def metric_edited_with_other_line_ends(target: Target) -> None:
    """A better accuracy in a file with line ends of Windows, which alone are no forgery."""
    target.forge_metric()
    path = target.path(METRICS)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


@attack(METRICS)
def metric_edited_behind_a_byte_order_mark(target: Target) -> None:
    """A better accuracy in a file that begins with a byte order mark."""
    target.forge_metric()
    path = target.path(METRICS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@attack(DATA)
def prediction_edited(target: Target) -> None:
    """One predicted label."""
    target.replace(f"{DATA}/predictions.csv", ",2,2\n", ",0,2\n")


@attack(DATA)
def prediction_file_in_another_case(target: Target) -> None:
    """A second table of predictions, whose name differs in its first letter."""
    target.add(f"{DATA}/Predictions.csv", target.path(f"{DATA}/predictions.csv").read_bytes())


@attack(DATA)
def metrics_file_with_a_look_alike_name(target: Target) -> None:
    """Better metrics under a name with a Cyrillic letter."""
    target.add(f"{DATA}/metri\N{CYRILLIC SMALL LETTER ES}s.json", '{"accuracy": 1.0}')


@attack(f"{PACK}/index.html")
def page_edited(target: Target) -> None:
    """Another number on the page."""
    target.replace(f"{PACK}/index.html", "Better", "Far better")


@attack(f"{PACK}/record.json")
def record_edited(target: Target) -> None:
    """Another number in the record that programs read."""

    def change(record: dict[str, Any]) -> None:
        record["current_result"]["accuracy"] = 1.0

    target.edit_json(f"{PACK}/record.json", change)


@attack("plots/loss")
def plot_edited(target: Target) -> None:
    """A plotted table."""
    path = target.path(f"plots/loss/{TASK}.csv")
    path.write_text("\n".join(path.read_text().split("\n")[:-2]) + "\n")


@attack("plots/confusion")
def plot_removed(target: Target) -> None:
    """A plotted table that shows errors is gone."""
    target.remove(f"plots/confusion/{TASK}.csv")


@attack("data/raw/stripes")
def raw_data_replaced(target: Target) -> None:
    """The raw data, under results that were computed from others."""
    target.append("data/raw/stripes/README.md", "\nThey are photographs.\n")


@attack(f"{PACK}/pictures")
def pictures_swapped(target: Target) -> None:
    """A mistake shown as a success."""
    paths = [target.path(f"{PACK}/pictures/{name}-01.png") for name in ("case", "right")]
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, reversed(contents), strict=True):
        path.write_bytes(content)


@attack(METRICS)
def metrics_linked_to_another_file(target: Target) -> None:
    """The metrics are a symbolic link to better ones."""
    target.forge_metric()
    target.path(METRICS).rename(target.path("metrics/better.json"))
    target.link(METRICS, "better.json")


@attack(METRICS)
def number_in_other_digits(target: Target) -> None:
    """Full-width digits, which look alike and which a program may read."""
    metrics = json.loads(target.path(METRICS).read_text())
    number = str(metrics[TASK]["accuracy"])
    wide = "".join(chr(ord(digit) + 0xFEE0) if digit.isdigit() else digit for digit in number)
    target.replace(METRICS, number, f'"{wide}"')


@attack(DATA)
def prediction_file_is_a_folder(target: Target) -> None:
    """A folder in place of a table."""
    target.remove(f"{DATA}/predictions.csv")
    target.add(f"{DATA}/predictions.csv/predictions.csv", "id\n")


@attack("data/review")
def review_note_edited(target: Target) -> None:
    """A reviewer's note that the page does not show."""
    target.append(f"data/review/{TASK}.md", "\nReproduced by a reviewer.\n")
