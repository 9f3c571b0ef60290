"""Measure preparing many images: `PYTHONPATH=.:tests python -m scale 10000 100000 1000000`."""

import argparse
import tempfile
from pathlib import Path

from scale.measuring import make_project, measure
from scale.photographs import write_variants
from scale.report import RESULTS, record, write_page
from stages.core.errors import exit_on_user_error


def main() -> None:
    """Measure each number of images, and record the results as they come."""
    parser = argparse.ArgumentParser(prog="python -m scale", description=__doc__)
    parser.add_argument(
        "counts", type=int, nargs="*", help="numbers of images; none: only the page"
    )
    parser.add_argument(
        "--photographs", type=Path, help="tar archive of SPLIT/CLASS/NAME.jpg, 32 x 32 pixels"
    )
    parser.add_argument("--folder", type=Path, help="to work in (default: a temporary one)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of the results")
    arguments = parser.parse_args()
    if arguments.counts and arguments.photographs is None:
        parser.error("--photographs is required, to make images of")
    with (
        tempfile.TemporaryDirectory(prefix="scale-", ignore_cleanup_errors=True) as temporary,
        exit_on_user_error("scale"),
    ):
        folder = (arguments.folder or Path(temporary)).resolve()
        for count in arguments.counts:
            images = folder / f"images-{count}"
            if not images.exists():
                write_variants(arguments.photographs, images, count)
            project = make_project(folder / f"project-{count}", images)
            record(count, measure(project), arguments.results)
    write_page(arguments.results)


if __name__ == "__main__":
    main()
