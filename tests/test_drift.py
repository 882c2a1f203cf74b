"""Drift: the log of labelled faces, and its comparison with the faces that a model was tested on."""

import csv
import datetime
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import draw_photos, facemask
from PIL import Image
from scipy.stats import entropy
from test_serve import serving
from test_watch import write_video

from facemask.core.errors import UserError
from facemask.core.tables import read_csv
from facemask.data.boxes import Box
from facemask.data.quality import Quality, measure
from facemask.data.sources.synthetic import draw_member
from facemask.inference.drift import compare, psi, read_faces
from facemask.inference.log import COLUMNS, Log
from facemask.inference.recognition import LabelledFace

FACE = LabelledFace(
    Box(1, 2, 61, 52), 0.9, "with_mask", {"with_mask": 0.75, "without_mask": 0.25}, Quality(99.5, 12.25)
)
FACES = 60


def predict(folder: Path, log: str, model: Path) -> subprocess.CompletedProcess:
    """Label whole photos, and log them."""
    return facemask("predict", folder, "--model", model, "--detector", "none", "--log", log)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Synthetic faces as they are, in `plain`, and in bad light and blurred, in `dark`."""
    folder = tmp_path_factory.mktemp("drawn")
    for name in ("plain", "dark"):
        (folder / name).mkdir()
    for number in range(FACES):
        content = draw_member(number, 96)[1]
        (folder / f"plain/{number}.jpg").write_bytes(content)
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        cv2.imwrite(str(folder / f"dark/{number}.jpg"), (cv2.GaussianBlur(pixels, (0, 0), 3) * 0.3).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def model(drawn, exported, tmp_path_factory) -> Path:
    """An exported model that was tested on the plain faces."""
    folder = Path(shutil.copytree(exported, tmp_path_factory.mktemp("model") / "tflite", copy_function=shutil.copyfile))
    log = folder.parent / "log.csv"
    assert predict(drawn / "plain", log, folder).returncode == 0
    rows = [line.partition(",")[2] for line in log.read_text().splitlines()]
    (folder / "reference.csv").write_text("\n".join([*rows, ""]))
    return folder


def test_a_log_of_the_int8_model_is_compared_with_a_reference_of_float32(drawn, exported, model):
    """Probabilities of int8 are multiples of 1/256, at most 255/256; those of a sure float32 model lie above."""
    reference = read_faces(model / "reference.csv")
    sure = {"confidence": np.where(np.arange(FACES) % 2, 0.99999, 0.9983), "label": reference["label"]}
    logged = {"confidence": np.full(FACES, 0.9961), "label": reference["label"]}
    found = {one.attribute: one for one in compare(reference | sure, reference | logged)}
    assert found["confidence"].psi < found["confidence"].chance
    lower = {"confidence": np.full(FACES, 0.9), "label": reference["label"]}
    found = {one.attribute: one for one in compare(reference | sure, reference | lower)}
    assert found["confidence"].psi > 1


def test_a_log_has_a_line_a_labelled_face_and_no_more():
    log = Log(Path("log.csv"))
    log([FACE, FACE._replace(label=None), FACE])
    log([])
    Log(Path("log.csv"))([FACE])
    head, *rows = csv.reader(Path("log.csv").read_text().splitlines())
    assert tuple(head) == COLUMNS
    assert [row[1:] for row in rows] == [["50", "99.50", "12.25", "0.7500", "with_mask"]] * 3
    now = datetime.datetime.now(datetime.UTC)
    assert all(abs((now - datetime.datetime.fromisoformat(row[0])).total_seconds()) < 60 for row in rows)


def test_threads_write_whole_lines():
    log = Log(Path("log.csv"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(log, [[FACE] * 5] * 200))
    assert {tuple(row[1:]) for row in csv.reader(Path("log.csv").read_text().splitlines())} == {
        COLUMNS[1:], ("50", "99.50", "12.25", "0.7500", "with_mask"),
    }  # fmt: skip
    assert len(Path("log.csv").read_text().splitlines()) == 1001


def test_a_log_goes_on_after_a_line_that_was_cut_off():
    Log(Path("log.csv"))([FACE] * 40)
    Path("log.csv").write_bytes(Path("log.csv").read_bytes()[:-20])
    assert len(read_faces(Path("log.csv"))["label"]) == 39
    Log(Path("log.csv"))([FACE])
    assert Path("log.csv").read_text().splitlines()[-1].endswith(",0.7500,with_mask")
    assert set(read_faces(Path("log.csv"))["label"]) == {"with_mask"}
    assert len(read_faces(Path("log.csv"))["label"]) == 40


def test_another_file_is_not_appended_to(exported):
    draw_photos(Path("photos"), 1)
    Path("notes.csv").write_text("my,notes\n1,2\n")
    done = predict(Path("photos"), "notes.csv", exported)
    assert (done.returncode, done.stderr) == (
        1, "facemask predict: --log: notes.csv is not a log of faces; name another file\n",
    )  # fmt: skip
    assert Path("notes.csv").read_text() == "my,notes\n1,2\n"


def test_predict_watch_and_serve_log_what_they_label(exported):
    [photo] = draw_photos(Path("photos"), 1)
    assert predict(Path("photos"), "log.csv", exported).returncode == 0
    write_video("film.avi", [np.asarray(Image.open(photo).convert("RGB").resize((64, 64)))] * 5)
    done = facemask("watch", "film.avi", "--model", exported, "--detector", "none", "--log", "log.csv")
    assert done.returncode == 0, done.stderr
    with serving("--model", exported, "--detector", "none", "--log", "log.csv") as server:
        answer = server.predict(photo.read_bytes()).json()
    rows = list(csv.DictReader(Path("log.csv").read_text().splitlines()))
    assert [row["size"] for row in rows] == ["60", *["64"] * 5, "60"]
    assert rows[0] | {"time": ""} == rows[-1] | {"time": ""}
    assert float(rows[-1]["confidence"]) == answer["faces"][0]["probability"]
    assert rows[-1]["label"] == answer["faces"][0]["label"]


def test_the_same_faces_have_not_drifted_and_dark_ones_have(drawn, model):
    for folder, status in (("plain", 0), ("dark", 3)):
        assert predict(drawn / folder, f"{folder}.csv", model).returncode == 0
        done = facemask("drift", f"{folder}.csv", "--model", model, "--output", f"{folder}.png")
        assert (done.returncode, done.stderr) == (status, "")
        assert Image.open(f"{folder}.png").width > 1000
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[2:]}
    assert rows["brightness"].endswith("drifted")
    assert rows["sharpness"].endswith("drifted")
    assert not rows["size"].endswith("drifted")
    assert facemask("drift", "dark.csv", "--model", model, "--limit", "99").returncode == 0


def test_the_index_is_the_symmetric_divergence_and_chance_what_samples_of_one_distribution_give():
    rng = np.random.default_rng(7)
    one, other = np.array([500, 300, 200]), np.array([400, 400, 200])
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (one, other))
    assert psi(one, other)[0] == pytest.approx(entropy(p, q) + entropy(q, p))
    drawn = [psi(rng.multinomial(800, p), rng.multinomial(200, p)) for _ in range(2000)]
    assert np.mean(drawn, axis=0)[0] == pytest.approx(drawn[0][1], rel=0.1)


def test_numbers_of_one_distribution_have_an_index_of_about_chance():
    rng = np.random.default_rng(7)

    def sample() -> dict[str, np.ndarray]:
        numbers = {name: rng.normal(size=500) for name in COLUMNS[1:-1]}
        return numbers | {"label": rng.choice(["a", "b"], 500)}

    for one in compare(sample(), sample()):
        assert one.psi < 3 * one.chance + 0.01
        assert one.p is None or one.p > 0.001


def test_a_picture_does_not_replace_the_log(exported):
    Log(Path("log.csv"))([FACE] * 40)
    before = Path("log.csv").read_bytes()
    done = facemask("drift", "log.csv", "--model", exported, "--output", "log.csv")
    assert done.returncode == 1
    assert done.stderr == "facemask drift: --output: log.csv is a picture, and its name ends in .png\n"
    assert Path("log.csv").read_bytes() == before


def test_a_change_from_one_value_is_seen_in_either_direction():
    labels = np.array(["a"] * 100)
    same = {name: np.full(100, 96.0) for name in COLUMNS[1:-1]} | {"label": labels}
    for size in (50.0, 1200.0):
        [size, *others] = compare(same, same | {"size": np.full(100, size)})
        assert size.psi > 1
        assert max(one.psi for one in others) == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "log.csv has no column size; `facemask predict --log log.csv` and others write one"),
        (",".join(COLUMNS) + "\n", "log.csv has 0 faces; at least 30 are needed to compare"),
        (
            ",".join(COLUMNS) + "\nnow,9,9,many,1,a\n",
            "log.csv, line 2: not a face as --log writes it; take the line out",
        ),
        (",".join(COLUMNS) + "\nnow,9,9,nan,1,a\n", "log.csv, line 2: not a face"),
        (",".join(COLUMNS) + "\nnow,9\n", "log.csv, line 2: not a face"),
        (f'{",".join(COLUMNS)}\n"{"x" * 200_000}\n', "log.csv is no table of faces: field larger than field limit"),
    ],
)
def test_a_log_that_cannot_be_compared_is_one_line(text, line):
    Path("log.csv").write_text(text)
    with pytest.raises(UserError, match=line):
        read_faces(Path("log.csv"))


def test_errors_of_drift_are_one_line(exported, tmp_path):
    Path("log.csv").write_text("")
    older = Path(shutil.copytree(exported, tmp_path / "older", copy_function=shutil.copyfile))
    (older / "reference.csv").unlink()
    for args, line in (
        (("log.csv", "--model", exported), "log.csv has no column size"),
        (("none.csv", "--model", exported), "none.csv"),
        (
            ("log.csv", "--model", older),
            f"there is no reference.csv in {older}; name the folder that `dvc repro export`",
        ),
    ):
        done = facemask("drift", *args)
        assert done.returncode == 1
        assert line in done.stderr
        assert len(done.stderr.splitlines()) == 1
    done = facemask("predict", *draw_photos(Path("photos"), 1), "--detector", "mask-detector", "--log", "log.csv")
    assert (done.returncode, done.stderr) == (
        1,
        "facemask predict: --log is of what a classifier sees, and --detector mask-detector needs none; "
        "leave one out\n",
    )


def test_export_writes_what_the_test_faces_are_like(reproduced):
    reference = read_csv(reproduced / "models/tflite/reference.csv")
    rows = read_csv(reproduced / "data/shards/test.csv")
    predictions = read_csv(reproduced / "metrics/predictions.csv")
    squares = np.load(reproduced / "data/shards/test.npy")
    assert reference.columns.tolist() == list(COLUMNS[1:])
    assert reference["size"].tolist() == rows[["width", "height"]].min(axis=1).tolist()
    assert reference.label.tolist() == predictions.predicted.tolist()
    np.testing.assert_allclose(reference.confidence, predictions.confidence, atol=1e-4)
    expected = [measure(square) for square in squares]
    np.testing.assert_allclose(reference[["brightness", "sharpness"]], expected, atol=0.01)
