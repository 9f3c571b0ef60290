"""The page of DVC's plots: offline, its charts below headings by task, and with what the baseline is."""

from collections.abc import Mapping
from pathlib import Path

_TEMPLATES = Path(__file__).parent / "templates"
_VEGA_LITE = "5.20"  # the last release of the major version that DVC's templates are written for


def plot_page(baselines: Mapping[str, str]) -> str:
    """Return the template of DVC's plot page.

    DVC puts its charts in the place of `{plot_divs}`; its own page would load Vega from a public server.
    A script moves each chart below the heading of its task, by the path that its id is made of.

    Args:
        baselines: for each task, the method that the revision `baseline` shows.
    """
    import vl_convert
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    bundle: str = vl_convert.javascript_bundle(vl_version=_VEGA_LITE)  # type: ignore[call-arg]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("plots.html.j2").render(
        baselines=baselines,
        # The end of the script element must not be in the script.
        vega=bundle.replace("</script", "<\\/script"),
    )
