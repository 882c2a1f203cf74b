"""Comparison of experiments: tables that fit a terminal, charts in order, a concise log."""

import json
import re

import pytest
import vl_convert
import yaml
from conftest import PIPELINE, ROOT, duplicate, shell

HEADLINES = {
    "accuracy", "balanced_accuracy", "f1", "roc_auc", "loss", "calibration_error", "corruption_accuracy",
    "int8_accuracy", "int8_mb", "faces", "groups", "rejects",
}  # fmt: skip
CHARTS = [next(iter(plot)) for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]]


def rows(table: str) -> list[list[str]]:
    """The cells of a table that rich prints: its head and its rows."""
    lines = [line for line in table.splitlines() if line.strip() and "─" not in line.replace("──", "", 1)]
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


def test_the_table_of_experiments_has_a_column_for_each_headline_and_no_more(experimented):
    [head, *_] = rows(shell("dvc", "exp", "show", cwd=experimented, COLUMNS="120"))
    metrics = head[: head.index("seed")]
    assert set(metrics) == {"Experiment", "Created", "scenes", *HEADLINES}


def test_compare_fits_a_terminal_and_shows_what_differs_with_names_and_values(experimented, tmp_path):
    """Even where two parameters, and with them all metrics, differ."""
    folder = duplicate(experimented, tmp_path / "compared")
    test = {name: value * 0.9876543 for name, value in json.loads((folder / "metrics/test.json").read_text()).items()}
    export = {"int8_accuracy": 0.54321, "int8_mb": 1.23456}
    for name, values in (("test", test), ("export", export), ("external", {"scenes": 0.87654})):
        (folder / f"metrics/{name}.json").write_text(json.dumps(values))
    for parameter, value in (("lr", "0.0005"), ("epochs", "4")):
        text = (folder / "params.yaml").read_text()
        (folder / "params.yaml").write_text(re.sub(rf"^{parameter}: .*", f"{parameter}: {value}", text, flags=re.M))
    shell("dvc", "exp", "save", "--force", "--name", "wide", cwd=folder)
    shell("mkdir", "-p", ".venv", cwd=folder)
    shell("touch", ".venv/requirements.lock", cwd=folder)
    table = shell("make", "--old-file=.venv/requirements.lock", "compare", cwd=folder, COLUMNS="120")
    assert max(map(len, table.splitlines())) <= 120
    assert "…" not in table
    head, base, *others = rows(table)
    assert set(head) == {"Experiment", "accuracy", "f1", "loss", "roc_auc", "scenes", *export, "lr", "epochs"}
    wide, tried = sorted(others, key=lambda row: "[try]" in row[0])
    assert base[0] == "main"
    assert "[wide]" in wide[0]
    assert [row[-2:] for row in (base, wide, tried)] == [["0.003", "2"], ["0.0005", "4"], ["1e-05", "2"]]
    for name, value in {**test, **export, "scenes": 0.87654}.items():
        if name in head:
            assert float(wide[head.index(name)]) == pytest.approx(value, rel=1e-4), name


def test_the_difference_of_two_experiments_fits_a_screen(experimented):
    lines = shell("dvc", "metrics", "diff", "HEAD", "try", cwd=experimented).splitlines()
    assert 1 < len(lines) < 24
    assert max(map(len, lines)) <= 80


def test_an_experiment_that_was_run_before_is_restored_from_the_cache(experimented, tmp_path):
    folder = duplicate(experimented, tmp_path / "again")
    output = shell("dvc", "exp", "run", "--set-param", "lr=0.003", cwd=folder)
    for name in ("train", "evaluate", "export"):
        assert f"Stage '{name}' is cached - skipping run" in output
    assert json.loads((folder / "metrics/test.json").read_text()) == json.loads(
        shell("git", "show", "HEAD:metrics/test.json", cwd=folder)
    )


@pytest.fixture(scope="module")
def charts(experimented, tmp_path_factory) -> dict[str, list[dict]]:
    """What dvc plots shows of two revisions, by its title or file, in order."""
    folder = tmp_path_factory.mktemp("charts")
    shown = json.loads(shell("dvc", "plots", "diff", "--json", "--out", folder, "HEAD", "try", cwd=experimented))
    assert not shown.get("errors")
    return shown["data"]


def test_charts_come_in_the_order_of_dvc_yaml_and_show_both_revisions(charts):
    assert [name.removeprefix("dvc.yaml::") for name in charts][: len(CHARTS)] == CHARTS
    tables = {name: plot for name, [plot, *_] in charts.items() if plot["type"] == "vega"}
    for name, plot in tables.items():
        assert plot["revisions"] == ["HEAD", "try"], name


def test_outputs_that_two_experiments_have_in_common_are_no_plots(charts):
    assert not {name for name in charts if "augmentation" in name or "groups" in name}
    pictures = [name for name, [plot, *_] in charts.items() if plot["type"] == "image"]
    assert "metrics/figures/test_photos.png" in pictures


def test_every_chart_draws_both_revisions(charts):
    """Rendered by Vega, as in a browser."""
    for name, [plot, *_] in charts.items():
        if plot["type"] == "vega":
            svg = vl_convert.vegalite_to_svg(plot["content"], vl_version="5.20")
            assert svg.count(">HEAD<") == svg.count(">try<") > 0, name


def test_the_page_of_charts_works_offline(experimented, tmp_path):
    folder = duplicate(experimented, tmp_path / "page")
    shell("python", "-m", "facemask.experiments.plots_page", cwd=folder)
    shell("dvc", "plots", "diff", "HEAD", "try", cwd=folder)
    page = (folder / "dvc_plots/index.html").read_text()
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)", page)
    assert page.count("vegaEmbed('#") >= len(CHARTS)
    assert page.index("window.vegaEmbed") < page.index("vegaEmbed('#")
    assert "plots.html" not in shell("git", "status", "--porcelain", "--untracked-files", cwd=folder)


def test_a_log_has_no_progress_bars_and_a_line_for_every_stage(reproduced):
    log = reproduced.with_suffix(".log").read_text()
    assert "\r" not in log
    assert "\x1b" not in log
    for name in PIPELINE:
        [line] = re.findall(rf"^{name}: (.+) \(\d+\.\d s\)$", log, re.MULTILINE)
        assert line
    assert re.search(r"^test: 6 photos$", log, re.MULTILINE)


def test_the_confidence_level_is_defined_once():
    packages = ("facemask/evaluation", "facemask/experiments", "stages")
    files = [ROOT / "dvc.yaml", *(file for package in packages for file in (ROOT / package).glob("*.py"))]
    written = {file.name for file in files if re.search(r"\b95 ?%|\b0\.95\b|0\.975|0\.025", file.read_text())}
    assert written == {"metrics.py"}
