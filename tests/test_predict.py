"""facemask predict: labels for photos in three formats, and errors in one line."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, draw_photos, facemask, with_rule
from PIL import Image

from facemask.core.errors import UserError
from facemask.data.archive import write_archive
from facemask.data.boxes import Box
from facemask.data.images import decode, resize
from facemask.engines import litert
from facemask.engines.variants import VARIANTS
from facemask.inference.classifier import Classifier
from facemask.inference.commands import main
from facemask.inference.commands.predict import MARK
from facemask.inference.detectors import Face
from facemask.inference.recognition import Recognizer

HEAVY = ("tensorflow", "dvc", "mlflow", "pandas", "sklearn")


def lines(done: subprocess.CompletedProcess) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def whole(*args, model: Path) -> subprocess.CompletedProcess:
    """Predict without a detector: every photo is a face."""
    return facemask("predict", "--model", model, "--detector", "none", *args)


def test_prediction_preprocesses_photos_as_the_pipeline_does(exported):
    [photo] = draw_photos(Path("photos"), 1)
    file = exported / "float32.tflite"
    [expected] = litert.Runner(file.read_bytes())(resize(decode(photo.read_bytes()), 32)[None])
    [result] = lines(whole(photo, "--format", "json", model=file))
    [face] = result["faces"]
    classes = (exported / "labels.txt").read_text().splitlines()
    assert face["probabilities"] == {name: round(float(p), 4) for name, p in zip(classes, expected, strict=True)}
    assert face["label"] == classes[expected.argmax()]
    assert face["box"] == [0, 0, 60, 60]


def test_the_command_can_be_called_where_its_output_is_captured(monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(sys, "argv", ["facemask", "--help"])
    with contextlib.redirect_stdout(io.StringIO()) as captured, pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "label the faces in photos" in captured.getvalue()


def test_folders_zips_and_patterns_are_searched_and_broken_photos_are_skipped(exported):
    photos = draw_photos(Path("some/photos"))
    Path("some/photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
    Path("some/notes.txt").write_text("no photo")
    with zipfile.ZipFile("more.zip", "w") as archive:
        archive.write(photos[0], "inside/0.png")
    done = whole("some", "more.zip", "some/photos/[12].png", "--format", "json", model=exported)
    assert done.returncode == 3
    assert [result["photo"] for result in lines(done)] == [
        *(f"some/photos/{number}.png" for number in range(4)), "some/photos/broken.jpg", "more.zip/inside/0.png",
        "some/photos/1.png", "some/photos/2.png",
    ]  # fmt: skip
    assert [result["photo"] for result in lines(done) if "error" in result] == ["some/photos/broken.jpg"]
    assert re.search(r"some/photos/broken.jpg: .+; skipped", done.stderr)


def test_the_three_formats_agree(exported):
    photos = draw_photos(Path("photos"))
    text, as_json, as_csv = (whole("photos", "--format", kind, model=exported) for kind in ("text", "json", "csv"))
    rows = list(csv.DictReader(io.StringIO(as_csv.stdout)))
    assert len(rows) == len(photos)
    for line, result, row in zip(text.stdout.splitlines(), lines(as_json), rows, strict=True):
        [face] = result["faces"]
        assert line == f"{result['photo']}: {face['label']} {face['probability']:.2f}"
        assert (row["photo"], row["label"]) == (result["photo"], face["label"])
        assert {name: float(row[f"p_{name}"]) for name in face["probabilities"]} == face["probabilities"]


def test_the_decision_rule_is_applied(exported, tmp_path):
    draw_photos(Path("photos"))
    for threshold, wanted in ((0.0, {True}), (1.0, {False})):
        model = with_rule(exported, tmp_path / str(threshold), label="without_mask", threshold=threshold)
        results = lines(whole("photos", "--format", "json", model=model))
        assert {result["faces"][0]["label"] == "without_mask" for result in results} == wanted


def test_a_face_that_is_too_small_gets_no_label(exported):
    pixels, box = np.zeros((200, 200, 3), np.uint8), Box(10, 10, 41, 100)
    classifier = Classifier(exported)
    for min_size, labelled in ((None, False), (32, False), (31, True)):
        [face] = Recognizer([(lambda _: [Face(box, 0.9)], classifier)], min_size)(pixels)
        assert (face.box, face.score) == (box, 0.9)
        assert (face.label is not None, face.probabilities != {}) == (labelled, labelled)
    small = Classifier(with_rule(exported, Path("of small faces"), min_size=31))
    [face] = Recognizer([(lambda _: [Face(box, 0.9)], small)])(pixels)
    assert face.label


def test_a_whole_photo_of_any_size_is_labelled_as_in_training(exported):
    Image.new("RGB", (31, 20)).save("small.png")
    [result] = lines(whole("small.png", "--format", "json", model=exported))
    assert [(face["label"] is None, face["box"]) for face in result["faces"]] == [(False, [0, 0, 31, 20])]


def test_a_name_that_is_not_utf_8_is_printed_and_can_be_recovered(exported):
    [photo] = draw_photos(Path("photos"), 1)
    name = os.fsdecode(b"photos/caf\xe9.png")
    photo.rename(name)
    for kind in ("text", "json", "csv"):
        done = whole("photos", "--format", kind, "--output", "copies", model=exported)
        assert (done.returncode, done.stderr) == (0, "")
        assert "caf\\udce9.png" in done.stdout
    [result] = lines(whole("photos", "--format", "json", model=exported))
    assert result["photo"] == name
    assert Path(os.fsdecode(b"copies/caf\xe9.png")).is_file()


def test_an_annotated_copy_that_cannot_be_written_is_an_error_of_that_photo(exported):
    Image.new("RGB", (17_000, 10)).save("wide.png")
    Path("photos").mkdir()
    Path("wide.png").rename("photos/0.webp")
    draw_photos(Path("photos/more"), 2)
    done = whole("photos", "--output", "copies", model=exported)
    assert done.returncode == 3
    assert re.fullmatch(
        r"facemask predict: photos/0.webp: a copy of 17000 x 10 pixels cannot be written as WEBP: .+; skipped\n",
        done.stderr,
    )
    assert len(done.stdout.splitlines()) == 2
    assert sorted(path.name for path in Path("copies").rglob("*.png")) == ["0.png", "1.png"]


def test_a_copy_whose_folder_is_a_file_is_an_error_of_that_photo(exported):
    draw_photos(Path("photos/one"), 1)
    draw_photos(Path("photos/two"), 1)
    Path("copies").mkdir()
    Path("copies", MARK).touch()
    Path("copies/one").write_text("in the way")
    done = whole("photos", "--output", "copies", model=exported)
    assert done.returncode == 3
    reason = "copies/one/0.png cannot be written: File exists"
    assert done.stderr == f"facemask predict: photos/one/0.png: {reason}; skipped\n"
    assert len(done.stdout.splitlines()) == 1
    assert Path("copies/two/0.png").is_file()


def test_more_zips_than_files_can_be_open_are_read(exported):
    draw_photos(Path("photos"), 1)
    for number in range(90):
        write_archive(Path(f"zips/{number}.zip"), [("0.png", Path("photos/0.png").read_bytes())])
    command = f"{sys.executable} -m facemask predict 'zips/*.zip' --detector none --model {exported}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n 80; exec {command}"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 90), done.stderr


def test_pipes_and_devices_are_not_read(exported):
    os.mkfifo("pipe.png")
    Path("endless.png").symlink_to("/dev/zero")
    done = subprocess.run(
        ["bash", "-c", f"ulimit -v 8000000; exec {sys.executable} -m facemask predict pipe.png endless.png /dev/zero "
         f"--detector none --model {exported}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        f"facemask predict: {name}: not a file; skipped" for name in ("pipe.png", "endless.png", "/dev/zero")
    ]


def test_annotated_copies_overwrite_no_file(exported):
    first, second = draw_photos(Path("a"), 1)[0], draw_photos(Path("b"), 1)[0]
    before = first.read_bytes()
    done = whole(second, "--output", "a", model=exported)
    assert done.returncode == 1
    reason = "a holds other files, which copies could overwrite; name a new folder"
    assert done.stderr == f"facemask predict: --output: {reason}\n"
    assert list(Path("a").iterdir()) == [first]
    assert first.read_bytes() == before
    for _ in range(2):
        assert whole(first, second, "--output", "copies", model=exported).returncode == 0
        assert sorted(path.name for path in Path("copies").iterdir()) == [MARK, "0-2.png", "0.png"]
    copy = np.asarray(Image.open("copies/0.png"))
    assert copy.shape == (60, 60, 3)
    assert (copy != np.asarray(Image.open(first))).any()


def test_no_photo_of_a_folder_or_a_zip_is_left_out_silently(exported):
    [photo] = draw_photos(Path("photos"), 1)
    Path("photos/phone.HEIC").write_bytes(b"no matter")
    Path("elsewhere").mkdir()
    shutil.copy(photo, "elsewhere/linked.png")
    Path("photos/folder").symlink_to(Path("elsewhere").absolute())
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for path in (photo, Path("photos/phone.HEIC")):
            archive.write(path)
    for named, read in (("photos", 2), ("photos.zip", 1)):
        done = whole(named, model=exported)
        assert (done.returncode, len(done.stdout.splitlines())) == (3, read)
        assert re.fullmatch(r"facemask predict: photos\S*/phone.HEIC: not an image; skipped\n", done.stderr)
    Path("photos/gone.jpg").symlink_to("nowhere")
    done = whole("photos", model=exported)
    assert done.returncode == 1
    assert done.stderr == "facemask predict: photos/gone.jpg is not a file, or a broken link; remove it\n"


def test_copies_inside_the_folder_are_not_photos_of_the_next_run(exported):
    draw_photos(Path("photos"), 2)
    runs = [whole("photos", "--output", "photos/labelled", model=exported).stdout for _ in range(2)]
    assert runs[0] == runs[1]
    assert sorted(path.name for path in Path("photos/labelled").iterdir()) == [MARK, "0.png", "1.png"]


def test_a_closed_pipe_is_no_error(exported):
    draw_photos(Path("photos"), 40)
    with subprocess.Popen(
        [sys.executable, "-m", "facemask", "predict", "photos", "--detector", "none", "--model", str(exported)],
        env={"PYTHONPATH": str(ROOT), "PATH": ""}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline().startswith("photos/0.png: ")
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait() == 0


def test_a_photo_of_a_hundred_megapixels_is_refused(exported):
    Image.new("1", (10_000, 10_000)).save("huge.png")
    done = whole("huge.png", model=exported)
    assert done.returncode == 3
    assert "huge.png: 10000 x 10000 pixels; 50,000,000 are allowed; skipped" in done.stderr


def test_nothing_heavy_is_imported(exported):
    draw_photos(Path("photos"), 1)
    command = ["-m", "facemask", "predict", "photos", "--detector=none", f"--model={exported}"]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "cv2" in imported
    assert not imported & {*HEAVY, "keras", "scipy", "matplotlib", "pydantic"}


RULES = {
    "not a number": ({"margin": float("nan")}, "margin cannot be nan"),
    "infinite": ({"threshold": float("inf")}, "threshold cannot be inf"),
    "negative": ({"min_size": -1}, "min_size cannot be -1"),
    "more than certain": ({"threshold": 1.5}, "threshold cannot be 1.5"),
    "a margin of everything": ({"margin": 1e9}, "margin cannot be 1000000000.0"),
    "a fraction of a pixel": ({"min_size": 0.5}, "min_size cannot be 0.5"),
    "true": ({"margin": True}, "margin cannot be True"),
    "text": ({"threshold": "0.5"}, "threshold cannot be '0.5'"),
    "no such class": ({"label": "mask", "threshold": 0.5}, "label 'mask' is not in labels.txt"),
    "an invalid label": ({"label": ["with_mask"]}, r"label cannot be \['with_mask'\]"),
    "a number of many digits": ({"min_size": 10**4000}, "min_size cannot be 10000"),
}


@pytest.mark.parametrize("name", RULES)
def test_an_impossible_decision_rule_is_refused(name, exported, tmp_path):
    changes, message = RULES[name]
    with pytest.raises(UserError, match=rf"(decision|faces).json: {message}.*; run dvc repro export$"):
        Classifier(with_rule(exported, tmp_path, **changes))


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "[]", "null", "1" * 5000, "{", ""])
@pytest.mark.parametrize("name", ["decision.json", "faces.json"])
def test_an_invalid_decision_rule_is_refused(name, content, exported, tmp_path):
    model = with_rule(exported, tmp_path)
    (model / name).write_text(content)
    with pytest.raises(UserError, match=rf"{name} is not the JSON that belongs there; run dvc repro export$"):
        Classifier(model)


@pytest.mark.parametrize("variant", VARIANTS)
def test_labels_must_be_those_that_the_model_was_exported_with(variant, exported, tmp_path):
    model = with_rule(exported, tmp_path)
    labels = (model / "labels.txt").read_text()
    first, second, third = labels.splitlines()
    for wrong in (
        f"{second}\n{first}\n{third}\n",
        f"{first}\n{first}\n{third}\n",
        f"\ufeff{labels}",
        "mask\nno mask\n",
    ):
        (model / "labels.txt").write_text(wrong)
        with pytest.raises(UserError, match=rf"labels.txt does not hold the labels that {variant}.tflite was exported"):
            Classifier(model / f"{variant}.tflite")
    (model / "labels.txt").write_text(labels.replace("\n", "\r\n"))
    assert Classifier(model / f"{variant}.tflite").classes == [first, second, third]


def test_a_zip_program_finds_the_labels_in_a_model(exported):
    with zipfile.ZipFile(exported / "int8.tflite") as archive:
        assert archive.read("labels.txt") == (exported / "labels.txt").read_bytes()


FAULTS = {
    "no model": (["--model", "nowhere"], "there is no model nowhere/int8.tflite; .*dvc repro export"),
    "an invalid model": (["--model", "wrong/int8.tflite"], "int8.tflite is not a .tflite model"),
    "a model without labels": (["--model", "alone/int8.tflite"], "there is no labels.txt beside the model"),
    "labels of another model": (["--model", "other"], "does not hold the labels that int8.tflite was exported with"),
    "a model without its labels": (
        ["--model", "unlabelled"],
        "int8.tflite has no labels inside.*; run dvc repro export",
    ),
    "an old export": (["--model", "old"], "faces.json has no 'margin'; run dvc repro export"),
    "no such photo": (["missing.jpg"], "there is no file or folder missing.jpg"),
    "a folder without photos": (["empty"], "there are no photos in"),
    "a link to nothing": (["gone.jpg"], "there is no file or folder gone.jpg"),
    "a log that is a photo": (["--log", "wrong/int8.tflite"], "wrong/int8.tflite is not a log of faces; name another"),
    "an output that is a file": (["--output", "taken"], "File exists"),
    "photos in the output": (
        ["photos", "--output", "photos"],
        "photos is in photos, which is for annotated copies.+ photos/annotated$",
    ),
    "photos below the output": (
        ["photos", "--output", "."],
        "photos is in ., which is for annotated copies",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(fault, exported, tmp_path):
    args, message = FAULTS[fault]
    [photo] = draw_photos(Path("photos"), 1)
    Path("empty").mkdir()
    Path("taken").touch()
    Path("gone.jpg").symlink_to("nowhere")
    for name in ("wrong", "alone", "other", "unlabelled", "old"):
        shutil.copytree(exported, name, copy_function=shutil.copyfile)
    Path("wrong/int8.tflite").write_bytes(photo.read_bytes())
    Path("alone/labels.txt").unlink()
    model = Path("unlabelled/int8.tflite").read_bytes()
    Path("unlabelled/int8.tflite").write_bytes(model[: model.index(b"PK\x03\x04")])
    Path("other/labels.txt").write_text("with_mask\nwithout_mask\n")
    Path("old/faces.json").write_text('{"min_size": 32}')
    defaults = [] if args[0] == "--model" else ["--model", exported]
    named = args if args[0] in ("missing.jpg", "gone.jpg", "empty", "photos") else [photo, *args]
    done = facemask("predict", "--detector", "none", *defaults, *named)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("facemask predict: ")
    assert re.search(message, line)


def test_a_failed_download_of_the_detector_names_the_options(exported):
    [photo] = draw_photos(Path("photos"), 1)
    offline = {"XDG_CACHE_HOME": str(Path("cache").absolute()), "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    done = facemask("predict", photo, "--model", exported, **offline)
    assert done.returncode == 1
    assert re.search(
        r"the face detector cannot be fetched from https://.+--detector-weights FILE", done.stderr.splitlines()[-1]
    )


def test_invalid_weights_of_a_detector_are_named(exported):
    [photo] = draw_photos(Path("photos"), 1)
    for file in (photo, exported / "int8.tflite"):  # of which OpenCV's parser for TFLite ends the process
        done = facemask("predict", photo, "--model", exported, "--detector-weights", file)
        assert done.returncode == 1
        assert f"{file.name} is not YuNet" in done.stderr


@pytest.mark.real
def test_faces_are_detected_and_a_photo_without_faces_is_no_error(exported, shared):
    import cv2

    video = cv2.VideoCapture(str(shared / "data/four_people_masking.mp4"))
    cv2.imwrite("people.png", video.read()[1])
    Image.new("RGB", (400, 300), "grey").save("wall.png")
    detector = shared / "weights/face_detection_yunet_2023mar.onnx"
    done = facemask(
        "predict", "people.png", "wall.png", "--model", exported, "--detector-weights", detector, "--format", "json",
        "--min-size", 50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    people, wall = lines(done)
    assert sum(face["label"] is not None for face in people["faces"]) == 4
    assert wall == {"photo": "wall.png", "faces": []}


@pytest.mark.slow
def test_the_smallest_installation_predicts_a_photo(exported, tmp_path):
    [photo] = draw_photos(Path("photos"), 1)
    for name in ("facemask", "stages"):
        shutil.copytree(ROOT / name, tmp_path / "source" / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "source")
    venv.create("empty", with_pip=True)
    python = Path("empty/bin/python").absolute()
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{tmp_path / 'source'}[predict]"], check=True)
    done = subprocess.run(
        [python.with_name("facemask"), "predict", photo, "--detector", "none", "--model", exported],
        env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("photos/0.png: ")
    for name in HEAVY:
        assert subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 1, name
