"""Training a detector: it learns, to the bit the same, and goes on after a kill; its exported file predicts."""

import contextlib
import functools
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, facemask
from PIL import Image

from facemask.core import params
from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow
from facemask.data.boxes import Box
from facemask.data.detections import boxes_of
from facemask.data.letterbox import letterbox
from facemask.data.sources import synthetic_scenes
from facemask.engines import litert
from facemask.evaluation.average_precision import EDGES
from facemask.evaluation.detection import answers
from facemask.inference.detectors import DETECTORS, WeightsError
from facemask.networks import detection
from facemask.networks.detection.training import Training, fit, key_of
from stages.detection import train

CLASSES = sorted(synthetic_scenes.FRACTIONS)
SIZE = 96


def settings(**changes) -> train.Settings:
    """The committed parameters, changed."""
    tree = params.read(ROOT / "detection/params.yaml") | {"image_size": SIZE, "weights": "none"}
    for key, value in changes.items():
        section, _, name = key.partition("__")
        tree[section] = tree[section] | {name: value} if name else value
    return params.validate(train.Settings, {name: tree[name] for name in train.Settings.model_fields})


@pytest.fixture(scope="module")
def scenes() -> tuple[np.ndarray, list[np.ndarray]]:
    """Four drawn scenes with faces, squared."""
    squares, faces = [], []
    for number in range(20):
        scene, marks = synthetic_scenes.draw_scene(1, number, SIZE)
        if marks and min(mark.box.shorter_side for mark in marks) > 14 and len(squares) < 4:
            squares.append(letterbox(scene, SIZE)[0])
            faces.append(np.array([(CLASSES.index(mark.label), *mark.box) for mark in marks], np.float32))
    return np.stack(squares), faces


def trained(scenes, training: Training, key: str = "", stop_after: int | None = None):
    """A detector, trained from its seed, and its history; stopped as by a kill after so many epochs."""
    prepare_tensorflow(7, 2)
    one = settings(training__epochs=training.epochs, training__batch_size=2)
    detector = detection.build("mobilenet_v2", 0.35, "none", "input", 16, SIZE, 3, None)
    make = functools.partial(train.batches, squares=scenes[0], faces=scenes[1], settings=one)

    def batches(epoch: int):
        if epoch == stop_after:
            raise KeyboardInterrupt
        return make(epoch)

    def score(network) -> dict[str, float]:
        return {"map50": float(network.predict_on_batch(scenes[0])[..., 4:].max())}

    reported: list[int] = []
    report = lambda rows: reported.append(len(rows))  # noqa: E731
    rows = fit(detector, batches, 2, score, training, Path("checkpoint.partial"), key, report)
    assert reported == list(range(len(rows) - len(reported) + 1, len(rows) + 1))
    return detector.network.get_weights(), rows


SHORT = Training(lr=0.001, trunk_lr=1.0, warm_up=1.0, weight_decay=0.01, epochs=3, patience=3, batch_size=2)


@pytest.mark.slow
def test_a_training_is_the_same_to_the_bit_also_after_a_kill(scenes):
    weights, rows = trained(scenes, SHORT)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert not Path("checkpoint.partial").exists()
    with pytest.raises(KeyboardInterrupt):
        trained(scenes, SHORT, stop_after=2)
    assert Path("checkpoint.partial").is_file()
    resumed, again = trained(scenes, SHORT)
    assert again == rows
    for one, other in zip(weights, resumed, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_another_training_does_not_go_on_from_a_checkpoint_and_a_broken_one_is_as_none(scenes):
    with pytest.raises(KeyboardInterrupt):
        trained(scenes, SHORT, key="one", stop_after=1)
    _, rows = trained(scenes, SHORT, key="other")
    assert len(rows) == 3
    np.save("array.npy", np.zeros(3))
    for spoilt in (b"PK spoilt", b"", Path("array.npy").read_bytes()):
        Path("checkpoint.partial").write_bytes(spoilt)
        _, again = trained(scenes, SHORT, key="other")
        assert again == rows


@pytest.mark.slow
def test_a_training_that_diverges_says_so(scenes):
    prepare_tensorflow(7, 2)
    detector = detection.build("yolov4_tiny", 1.0, "none", "input", 16, SIZE, 3, np.full((6, 2), 20.0))
    detector.network.weights[0].assign(np.full(detector.network.weights[0].shape, np.nan))
    batch = scenes[0], train.padded(scenes[1])
    with pytest.raises(UserError, match=r"training diverged in epoch 1: the loss is no number; try a smaller lr"):
        fit(detector, lambda _: [batch], 1, lambda _: {"map50": 0.0}, SHORT, Path("c.partial"), "")


@pytest.mark.slow
def test_a_pretrained_trunk_learns_at_its_fraction_of_the_rate(scenes):
    prepare_tensorflow(7, 2)
    batch = scenes[0], train.padded(scenes[1])
    detector = detection.build("mobilenet_v2", 0.35, "synthetic", "input", 16, SIZE, 3, None)
    first = detector.network.get_weights()
    before = [weight.numpy() for weight in detector.network.trainable_variables]
    steps = []
    for trunk_lr in (1.0, 0.25):
        detector.network.set_weights(first)
        once = SHORT.model_copy(update={"epochs": 1, "trunk_lr": trunk_lr, "warm_up": 0.0, "weight_decay": 0.0})
        fit(detector, lambda _: [batch], 1, lambda _: {"map50": 0.0}, once, Path("c.partial"), "")
        steps.append([w.numpy() - old for w, old in zip(detector.network.trainable_variables, before, strict=True)])
    trunk = [any(weight is other for other in detector.pretrained) for weight in detector.network.trainable_variables]
    assert 0 < sum(trunk) < len(trunk)
    for full, slow, pretrained in zip(*steps, trunk, strict=True):
        np.testing.assert_allclose(slow, full * (0.25 if pretrained else 1.0), rtol=0.01, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mobilenet_v2", "yolov4_tiny"])
def test_four_scenes_are_learnt_by_heart(model, scenes):
    prepare_tensorflow(7, 2)
    squares, faces = scenes
    count = detection.anchor_count(model)
    anchors = np.linspace(12, 72, count)[:, None] * np.ones(2) if count else None
    width, weights = (1.0, "none") if count else (0.35, "synthetic")
    detector = detection.build(model, width, weights, "input", 32, SIZE, 3, anchors)
    batch, epochs = (squares, train.padded(faces)), iter(range(100))
    training = Training(lr=0.002, trunk_lr=1.0, warm_up=0.2, weight_decay=0.0, epochs=5, patience=5, batch_size=4)
    fit(detector, lambda _: [batch] * 50, 50, lambda _: {"map50": next(epochs)}, training, Path("c.partial"), "")
    found = boxes_of(detection.decoded(detector).predict_on_batch(squares), np.ones(len(squares)), SIZE, CLASSES, 0.3)
    truth = pd.concat(
        pd.DataFrame(own[:, 1:], columns=EDGES).assign(scene=number, label=[CLASSES[int(kind)] for kind in own[:, 0]])
        for number, own in enumerate(faces)
    ).reset_index(drop=True)  # fmt: skip
    assert answers(truth, found, CLASSES, 0.3).right_class.all()


def test_batches_depend_on_seed_and_epoch_alone_and_hold_every_scene(scenes):
    squares, faces = scenes
    one = settings(training__batch_size=3)
    first, again, later = (list(train.batches(epoch, squares, faces, one)) for epoch in (0, 0, 1))
    assert [pixels.shape for pixels, _ in first] == [(3, SIZE, SIZE, 3)]
    for (pixels, found), (same, same_found) in zip(first, again, strict=True):
        np.testing.assert_array_equal(pixels, same)
        np.testing.assert_array_equal(found, same_found)
    assert not np.array_equal(first[0][0], later[0][0])


def test_the_key_of_a_training_is_of_its_settings_and_files():
    Path("a").write_text("1")
    one = key_of("x", Path("a"))
    assert key_of("x", Path("a")) == one != key_of("y", Path("a"))
    Path("a").write_text("2")
    assert key_of("x", Path("a")) != one


def test_a_detector_labels_what_it_finds_in_a_photo_of_any_shape(exported_detector):
    find = DETECTORS["mask-detector"](exported_detector, [320])
    assert find.classes == CLASSES
    scene = np.asarray(synthetic_scenes.draw_scene(0, 3, 200)[0])
    faces = find(scene)
    assert faces
    for face in faces:
        assert face.box == face.box.within(scene.shape[1], scene.shape[0])
        assert isinstance(face.box, Box)
        assert sum(face.probabilities) == pytest.approx(1)
        assert find.min_score <= face.score <= 1
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)


def test_predict_uses_the_detector_without_a_classifier(exported_detector):
    scene, _ = synthetic_scenes.draw_scene(0, 3, 200)
    scene.save("scene.png")
    Image.new("RGB", (8, 8)).save("tiny.png")
    done = facemask(
        "predict", "*.png", "--detector", "mask-detector", "--detector-weights", exported_detector, "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    first, _ = map(json.loads, done.stdout.splitlines())
    assert set(first["faces"][0]["probabilities"]) == set(CLASSES)
    assert first["faces"][0]["label"] in CLASSES
    small = facemask(
        "predict", "scene.png", "--detector", "mask-detector", "--detector-weights", exported_detector,
        "--min-size", "500",
    )  # fmt: skip
    assert "too small" in small.stdout


def test_a_detector_with_no_labels_inside_is_one_line(exported_detector):
    with zipfile.ZipFile(exported_detector) as inside:
        model = exported_detector.read_bytes()[: inside.infolist()[0].header_offset]
    unlabelled = litert.with_file(litert.with_labels(model, b""), "detector.json", b'{"score": 0.5}')
    Path("unlabelled.tflite").write_bytes(unlabelled)
    with pytest.raises(WeightsError, match="is no detector that `make detect` exported"):
        DETECTORS["mask-detector"](Path("unlabelled.tflite"), [320])


def test_a_detector_damaged_anywhere_is_one_line_or_still_one(exported_detector):
    content, rng = exported_detector.read_bytes(), np.random.default_rng(0)
    with zipfile.ZipFile(exported_detector) as inside:
        start = inside.infolist()[0].header_offset
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(start, len(content), 3):
            damaged[place] = rng.integers(256)
        Path("damaged.tflite").write_bytes(damaged)
        with contextlib.suppress(WeightsError):
            DETECTORS["mask-detector"](Path("damaged.tflite"), [320])


@pytest.mark.parametrize(("name", "content"), [("absent.tflite", None), ("text.tflite", b"text")])
def test_what_is_no_detector_is_one_line(name, content):
    if content:
        Path(name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"there is no detector|is no detector that `make detect` exported"):
        DETECTORS["mask-detector"](Path(name), [320])
    done = facemask("predict", ".", "--detector", "mask-detector", "--detector-weights", name)
    assert done.returncode == 1
