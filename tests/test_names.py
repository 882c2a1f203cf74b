"""Classes and photos may have any name, also one that looks like a number or a formula, or is in another script."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import archived, checkout, shell
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image as pictures

from facemask.core.errors import UserError
from facemask.core.tables import TEXT, read_csv, write_csv
from facemask.core.terminal import silenced
from facemask.data import shards
from facemask.data.archive import write_archive
from facemask.data.boxes import Box
from facemask.data.sources import synthetic
from facemask.evaluation import figures, metrics
from facemask.experiments import tracking
from facemask.experiments.mlflow_store import LOGGERS
from facemask.inference.drawing import draw
from stages.card import table

ODD = ["0", "1e5", "None", "NA", "true", 'a, "b" (worn) $x$ | +', "戴口罩"]
NAMES = st.sampled_from([*ODD, "01", "1.50", "nan", "null", "inf", "-", "+", " x ", "#"]) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1
)


@given(st.lists(st.tuples(NAMES, NAMES, st.floats(0, 1)), min_size=1))
def test_a_table_preserves_names(rows):
    written = pd.DataFrame(rows, columns=["label", "member", "confidence"]).assign(left=range(len(rows)))
    write_csv(Path("table.csv"), written)
    found = read_csv(Path("table.csv"))
    assert found[["label", "member", "left"]].to_dict("records") == written[["label", "member", "left"]].to_dict(
        "records"
    )
    assert np.abs(found.confidence - written.confidence).max() < 1e-6


def test_every_column_of_names_is_read_as_text(reproduced):
    for file in ("data/faces.csv", "data/rejects.csv", "data/manifest.csv", "metrics/predictions.csv",
                 "metrics/external.csv", "data/shards/train.csv", "data/pairs.csv", "metrics/scores.csv",
                 "metrics/variants.csv", "metrics/classification_report.csv"):  # fmt: skip
        names = read_csv(reproduced / file, rows=1).select_dtypes(exclude="number").columns
        assert set(names) <= set(TEXT), file


@pytest.mark.parametrize("lines", ["a\nb\na\n", "a\n\nb\n", ""])
def test_invalid_labels_are_refused(lines):
    Path("labels.txt").write_text(lines)
    with pytest.raises(UserError, match=r"labels.txt names a class twice, or has an empty line"):
        shards.read_labels(Path("labels.txt"))


def test_a_name_in_a_figure_has_only_characters_of_its_font():
    assert figures.legible("戴口罩") == "Dai Kou Zhao"
    assert figures.legible("маска é 5") == "маска é 5"
    assert figures.legible("\U0001f637") != ""
    assert {ord(letter) for name in ODD for letter in figures.legible(name)} <= figures.glyphs()


@pytest.mark.filterwarnings("error:.*missing from font")
def test_figures_accept_any_name():
    labels, probabilities = np.arange(len(ODD) * 2) % len(ODD), np.random.default_rng(0).dirichlet(np.ones(7), 14)
    areas = dict.fromkeys(ODD, 0.5)
    figures.confusion_matrix(metrics.confusion_matrix(labels, labels, ODD), "戴", Path("confusion.png"))
    figures.roc(metrics.roc(labels, probabilities, ODD), areas, "戴", Path("roc.png"))
    figures.precision_recall(metrics.precision_recall(labels, probabilities, ODD), areas, "戴", Path("pr.png"))
    photos = np.zeros((7, 8, 8, 3), np.uint8)
    figures.predictions_grid(photos, ODD, ODD[::-1], np.ones(7), "photos of 戴", Path("grid.png"))
    figures.groups([("2 photos", photos[:2], ODD[-2:])], Path("groups.png"))
    assert all(pictures.imread(path).std() > 0 for path in Path().glob("*.png"))


def test_metrics_of_classes_with_any_name_are_recorded(tmp_path):
    names = [*ODD, "a/b", "a//b", "../x", "/", ".", "a "]
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    with silenced(*LOGGERS), mlflow.start_run(experiment_id="0") as run:
        mlflow.log_metrics(tracking.flatten({"test": {name: {"f1": 0.5} for name in names}}))
        mlflow.log_params(tracking.flatten({"survey": {"classes": {name: [] for name in names}}}))
    found = mlflow.get_run(run.info.run_id).data
    assert len(found.metrics) == len(found.params) == len(names)


def test_metrics_whose_names_become_equal_are_all_kept():
    named = {"(a)": {"f1": 1}, "[a]": {"f1": 2}, "_a_": 3, "mask (worn)": 4}
    assert tracking.flatten(named) == {"_a_.f1": 1, "_a__.f1": 2, "_a___": 3, "mask _worn_": 4}


def test_a_table_of_the_model_card_keeps_its_columns():
    assert table(["a|b", "c"], [["|", "d"]]).splitlines()[2] == r"| \| | d |"


@pytest.mark.slow
def test_a_pipeline_runs_with_classes_of_any_name(tmp_path):
    members = []
    for number, label in enumerate(ODD * 20):
        file = io.BytesIO()
        synthetic.draw_face(np.random.default_rng(number), synthetic.CLASSES[number % 3], 40).save(file, "PNG")
        members.append((f"photos/{label}/{number}.png", file.getvalue()))
    write_archive(tmp_path / "odd.zip", members)
    folder = checkout(
        tmp_path / "100% mine? #1", datasets=archived(tmp_path / "odd.zip"),
        survey__classes={name: [] for name in ODD}, survey__near_duplicates=1, decision__label="None", epochs=1,
    )  # fmt: skip
    written = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(
        written.replace("\n    1e5:", '\n    "1e5":')
    )  # a number to YAML 1.2, so to DVC
    output = shell("dvc", "repro", cwd=folder)
    assert "warning" not in output
    assert set((folder / "models/labels.txt").read_text().splitlines()) == set(ODD)
    assert set(read_csv(folder / "metrics/classification_report.csv")["class"]) == set(ODD)
    assert set(json.loads((folder / "metrics/data_details.json").read_text())["faces"]["train"]) == set(ODD)
    assert yaml.safe_load((folder / "dvc.lock").read_text())["stages"]["export"]
    assert (folder / "mlflow.db").is_file()


def test_the_label_of_a_face_is_written_in_latin_letters_on_photos():
    def drawn(label: str) -> np.ndarray:
        pixels = np.zeros((300, 400, 3), np.uint8)
        draw(pixels, [SimpleNamespace(box=Box(50, 80, 200, 250), label=label, probability=0.9)], [label])
        return pixels

    assert np.array_equal(drawn("\u53e3\u7f69"), drawn("Kou Zhao"))
    assert np.array_equal(drawn("masqu\u00e9"), drawn("masque"))
    assert not np.array_equal(drawn("masque"), drawn("?asque"))
