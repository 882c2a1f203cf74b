"""Doubtful labels are found, and corrections are applied by content."""

import io
import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SURVEY, archived, arguments_of, stage, write_params

from facemask.core.errors import UserError
from facemask.data.archive import write_archive
from facemask.data.sources import synthetic
from facemask.evaluation.label_audit import out_of_fold, suggested
from stages import audit

AUDIT = audit.Audit(folds=5, fitted=1000)
HEADER = "sha256,left,top,right,bottom,correct\n"


def test_a_class_is_suggested_from_its_mean_probability_on():
    labels = np.array([0, 0, 0, 1, 1, 1])
    first = np.array([0.9, 0.8, 0.1, 0.1, 0.2, 0.45])  # thresholds: 0.6 of class 0, 0.75 of class 1
    probabilities = np.stack([first, 1 - first], axis=1)
    assert suggested(probabilities, labels).tolist() == [0, 0, 1, 1, 1, 1]
    probabilities[5] = 0.7, 0.3
    assert suggested(probabilities, labels).tolist() == [0, 0, 1, 1, 1, 0]


def test_probabilities_are_of_models_that_have_not_seen_the_group():
    """Of random features nothing can be learnt, except by who has seen the same rows under another number."""
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(size=(100, 200)), 5, axis=0)
    labels = np.repeat(rng.integers(0, 2, 100), 5)
    groups, alone = np.repeat(np.arange(100), 5), np.arange(500)

    def accuracy(groups: np.ndarray) -> float:
        return (out_of_fold(features.__getitem__, labels, groups, 5, 500, 7).argmax(axis=1) == labels).mean()

    assert accuracy(alone) > 0.75
    assert accuracy(groups) < 0.65


def test_where_a_fold_is_fitted_on_one_class_that_is_what_it_knows():
    features, labels = np.random.default_rng(0).normal(size=(40, 3)), np.repeat([0, 1], [36, 4])
    groups = np.where(labels == 1, 99, np.arange(40))  # all faces of a class in one fold
    probabilities = out_of_fold(features.__getitem__, labels, groups, 4, 500, 7)
    assert probabilities[labels == 1].tolist() == [[1, 0]] * 4
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_more_folds_than_faces_are_one_line():
    with pytest.raises(UserError, match=r"^audit\.folds is 9, and no class has more than 5 faces; choose fewer folds$"):
        out_of_fold(np.eye(8).__getitem__, np.repeat([0, 1], [5, 3]), np.arange(8), 9, 500, 7)


def test_no_more_faces_are_read_at_once_than_a_model_is_fitted_on():
    rng, read = np.random.default_rng(0), []
    labels = rng.integers(0, 2, 9000)
    features = rng.normal(size=(9000, 4)) + 4 * labels[:, None]

    def reading(rows: np.ndarray) -> np.ndarray:
        read.append(len(rows))
        assert (np.diff(rows) > 0).all()
        return features[rows]

    probabilities = out_of_fold(reading, labels, np.arange(9000), 2, 300, 7)
    assert max(read) == 4096
    assert read.count(300) == 2  # one of each fold
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.95


@pytest.fixture
def faces() -> tuple[pd.DataFrame, np.ndarray]:
    """Two hundred faces of two classes whose features tell them apart."""
    rng = np.random.default_rng(1)
    labels = np.array(["mask", "none"])[np.arange(200) % 2]
    table = pd.DataFrame({
        "dataset": "photos", "member": [f"{n}.jpg" for n in range(200)], "sha256": [f"{n:064x}" for n in range(200)],
        "left": 0, "top": 0, "right": 0, "bottom": 0, "split": "train", "label": labels,
        "group": [f"{n}" for n in range(200)], "row": range(200),
    })  # fmt: skip
    return table, rng.normal(size=(200, 8)) + 6 * (labels == "mask")[:, None]


NO_PAIRS = pd.DataFrame(columns=["step", "kind", "left_dataset", "left_member", "right_dataset", "right_member"])


def test_labels_that_were_changed_are_doubtful_and_no_others(faces):
    table, vectors = faces
    assert audit.find(table, vectors.__getitem__, NO_PAIRS, AUDIT, 7).empty
    changed = table.assign(label=table.label.where(~table.index.isin([3, 50]), ["mask", "none"][0]))
    changed.loc[50, "label"] = "none"
    found = audit.find(changed, vectors.__getitem__, NO_PAIRS, AUDIT, 7)
    assert sorted(found.index) == [3, 50]
    assert found.loc[[3, 50], "suggested"].tolist() == ["none", "mask"]
    assert set(found.reason) == {"prediction"}
    assert (found.probability < 0.5).all()


def test_near_duplicates_with_different_labels_are_doubtful(faces):
    table, vectors = faces
    pairs = pd.DataFrame(
        [
            ("search", "cropped", "photos", "4.jpg", "photos", "9.jpg"),  # of different labels
            ("search", "cropped", "photos", "4.jpg", "photos", "8.jpg"),
            ("search", "", "photos", "10.jpg", "photos", "11.jpg"),  # no near-duplicates
            ("sample", "cropped", "photos", "12.jpg", "photos", "13.jpg"),
        ],
        columns=NO_PAIRS.columns,
    )
    found = audit.find(table, vectors.__getitem__, pairs, AUDIT, 7).sort_index()
    assert found.member.tolist() == ["4.jpg", "9.jpg"]
    assert found.suggested.tolist() == ["none", "mask"]
    assert set(found.reason) == {"near-duplicate"}


def test_the_audit_of_the_pipeline_lists_faces_of_the_manifest(reproduced):
    issues = pd.read_csv(reproduced / "metrics/label_issues.csv")
    manifest = pd.read_csv(reproduced / "data/manifest.csv")
    assert list(issues) == audit.ISSUE
    joined = issues.merge(manifest, on=["dataset", "member", "sha256", "left", "top", "right", "bottom"])
    assert len(joined) == len(issues) > 0  # of the tiny network's random weights
    assert (joined.label_x == joined.label_y).all()
    assert (joined.split_x == joined.split_y).all()


def test_a_network_of_which_nothing_is_frozen_is_not_audited(copy):
    write_params(copy)
    done = stage("audit", *arguments_of("audit"), folder=copy)
    assert done.returncode == 0, done.stderr
    assert "not audited: with train_from: input there are no features" in done.stdout
    assert pd.read_csv(copy / "metrics/label_issues.csv").empty
    assert json.loads((copy / "metrics/sources.json").read_text()) == {"told_apart": None}


def test_sources_that_look_different_are_told_apart_and_others_are_not(faces):
    table, vectors = faces
    half = np.arange(200) // 2 % 2
    two = table.assign(dataset=np.array(["one", "other"])[half])
    shifted = vectors + 6 * half[:, None] * (np.arange(8) == 0)
    assert 0.35 < audit.told_apart(two, vectors.__getitem__, AUDIT, 7) < 0.65
    assert audit.told_apart(two, shifted.__getitem__, AUDIT, 7) > 0.95
    assert audit.told_apart(table, vectors.__getitem__, AUDIT, 7) is None


# --- corrections


def draw(seed: int) -> bytes:
    file = io.BytesIO()
    synthetic.draw_face(np.random.default_rng(seed), "with_mask", 60).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def members() -> list[tuple[str, bytes]]:
    """Six photos, one of them twice."""
    photos = [(f"{('with_mask', 'without_mask')[number % 2]}/{number}.png", draw(number)) for number in range(6)]
    return [*photos, ("with_mask/again.png", photos[1][1])]


def survey(members: list[tuple[str, bytes]], corrections: str = "") -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Faces and rejects, and what survey says of an error."""
    write_archive(Path("raw/photos.zip"), members)
    write_params(Path(), datasets=archived("photos.zip"))
    Path("corrections.csv").write_text(HEADER + corrections)
    done = stage("survey", *SURVEY)
    if done.returncode:
        return pd.DataFrame(), pd.DataFrame(), done.stderr
    return pd.read_csv("faces.csv").set_index("member"), pd.read_csv("rejects.csv"), ""


def test_corrections_are_applied_by_content_and_survive_another_packing(members):
    before, _, _ = survey(members)
    chosen, unwanted = before.sha256["without_mask/1.png"], before.sha256["without_mask/3.png"]
    lines = f"{chosen},0,0,0,0,With Mask\n{unwanted},0,0,0,0,drop\n"
    after, rejects, _ = survey(members, lines)
    assert after.label["without_mask/1.png"] == after.label["with_mask/again.png"] == "with_mask"
    assert "without_mask/3.png" not in after.index
    assert rejects.query("kind == 'dropped'").member.tolist() == ["without_mask/3.png"]
    untouched = after.index.difference(["without_mask/1.png"])
    assert after.label[untouched].equals(before.label[untouched])

    random.Random(0).shuffle(members)
    moved = [(f"deeper/{name}", content) for name, content in members]
    again, _, _ = survey(moved, lines)
    assert again.label["deeper/without_mask/1.png"] == "with_mask"
    assert len(again) == len(after)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            f"{'0' * 64},0,0,0,0,drop",
            "corrections.csv, line 2: no face has this sha256 and this box; take the line out",
        ),
        ("{sha256},1,2,3,4,drop", "corrections.csv, line 2: no face has this sha256 and this box"),
        ("{sha256},0,0,0,0,scarf", "corrections.csv, line 2: 'scarf' is no class of survey.classes, nor drop"),
        ("{sha256},0,0,0,0,drop\n{sha256},0,0,0,0,with_mask", "line 3: line 2 corrects this face already"),
        ("{sha256}", "corrections.csv, line 2: '' is no class of survey.classes, nor drop"),
    ],
)
def test_a_correction_that_cannot_be_applied_is_one_line(line, message, members):
    before, _, _ = survey(members)
    _, _, error = survey(members, line.format(sha256=before.sha256["with_mask/0.png"]) + "\n")
    assert "Traceback" not in error
    assert message in error.splitlines()[-1]


def test_a_table_of_corrections_without_a_column_is_one_line(members):
    survey(members)
    Path("corrections.csv").write_text("sha256,label\n")
    done = stage("survey", *SURVEY)
    assert done.returncode == 1
    assert done.stderr.startswith("survey: corrections.csv has no column left; it needs sha256, left, top, ")


def test_rows_of_the_audit_are_corrections_with_one_more_column(members):
    before, _, _ = survey(members)
    row = before.loc["with_mask/0.png"]
    Path("corrections.csv").write_text(
        "dataset,member,sha256,left,top,right,bottom,split,label,suggested,probability,reason,correct\n"
        f'photos,with_mask/0.png,{row.sha256},0,0,0,0,train,with_mask,without_mask,0.01,"prediction, x",without_mask\n'
    )
    done = stage("survey", *SURVEY)
    assert done.returncode == 0, done.stderr
    assert pd.read_csv("faces.csv").set_index("member").label["with_mask/0.png"] == "without_mask"
