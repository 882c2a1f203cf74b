"""Let `dvc plots` show charts offline: python -m facemask.experiments.plots_page.

DVC's page loads Vega from a CDN. This writes a template into .dvc/tmp with Vega inlined from the package vl-convert,
and sets it in .dvc/config.local; neither file is committed.
"""

import json
from pathlib import Path

from facemask.core import cli
from facemask.core.files import write_text
from facemask.evaluation.figures import COLOURS
from facemask.experiments.dvc import dvc

PAGE = Path(".dvc/tmp/plots.html")
VEGA_LITE = "5.20"  # the major version of DVC's templates
CONFIG = {
    "view": {"stroke": None},
    "range": {"category": COLOURS},
    "axis": {"gridColor": "#e8e8e8", "domainColor": "#999999", "titleFontWeight": "normal"},
    "title": {"fontSize": 15, "offset": 10},
    "legend": {"orient": "bottom", "symbolStrokeWidth": 2},
    "header": {"labelFontSize": 12, "labelFontWeight": "bold"},
    "font": "system-ui, sans-serif",
}
HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>DVC plots</title>
<style>
body { margin: 16px; background: #f4f5f7; color: #222; font: 14px/1.4 system-ui, sans-serif; }
main { display: flex; flex-wrap: wrap; gap: 12px; align-items: stretch; }
main > div { flex-grow: 1; padding: 12px 16px; background: #fff; border-radius: 6px; }
main > div { border: 1px solid #e0e0e0 !important; }
main > div:has(img) { flex-basis: 100%; text-align: left !important; white-space: normal !important; }
main > div > div { border: none !important; vertical-align: top; }
main p { margin: 0 0 6px; font-weight: 600; }
main img { max-width: 45vw; }
</style>
<script>BUNDLE</script>
</head>
<body><main>
{plot_divs}
</main></body>
</html>
"""


def page() -> str:
    """The template that DVC fills in, with Vega and the theme of the project's figures."""
    from vl_convert import javascript_bundle

    theme = json.dumps({"config": CONFIG, "actions": {"source": False, "compiled": False, "editor": False}})
    bundle = javascript_bundle(f"window.vegaEmbed = (element, spec) => vegaEmbed(element, spec, {theme});", VEGA_LITE)
    # </script would end the script element.
    return HTML.replace("BUNDLE", bundle.replace("</script", r"<\/script"))


def main() -> None:
    write_text(PAGE, page())
    dvc("config", "--local", "plots.html_template", PAGE.relative_to(".dvc").as_posix())


if __name__ == "__main__":
    cli.run(main)
