"""Detectors: the published sizes, anchors, assignment and loss on cases counted by hand, one output everywhere."""

from pathlib import Path

import keras
import numpy as np
import pytest

from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow, save_model
from facemask.engines import litert
from facemask.networks import detection, fine_tuning
from facemask.networks.detection import yolo
from facemask.networks.detection.anchors import k_medians
from facemask.networks.detection.assignment import by_anchors, task_aligned
from facemask.networks.detection.cells import decode, grid
from facemask.networks.detection.iou import complete_iou, iou
from facemask.networks.detection.loss import anchor_free
from facemask.networks.fine_tuning import give_weights

PUBLISHED = {"yolov4": 64_363_101, "yolov4_tiny": 6_056_606, "yolov5s": 7_235_389}


@pytest.fixture(scope="module", autouse=True)
def _seeded():
    prepare_tensorflow(7, 2)


def small(model: str = "mobilenet_v2", size: int = 64) -> detection.Detector:
    """A detector of three classes, of random weights."""
    count = detection.anchor_count(model)
    anchors = np.linspace(8, 48, count)[:, None] * np.ones(2) if count else None
    return detection.build(model, 1.0 if count else 0.35, "none", "input", 32, size, 3, anchors)


@pytest.mark.parametrize("model", PUBLISHED)
def test_a_yolo_has_the_published_number_of_parameters(model):
    network, cells = yolo.build(model, 32, 80, np.ones((detection.anchor_count(model), 2)))
    assert sum(np.prod(weight.shape) for weight in network.trainable_variables) == PUBLISHED[model]
    assert network.output_shape == (None, len(cells.centres), 85)


def test_cells_cover_the_photo_map_by_map():
    cells = grid(64, (32, 64), [np.array([[10, 20]]), np.array([[30, 40]])])
    assert cells.centres.tolist() == [[16, 16], [48, 16], [16, 48], [48, 48], [32, 32]]
    assert cells.sides[:, 0].tolist() == [32, 32, 32, 32, 64]
    assert cells.anchors[[0, 4]].tolist() == [[10, 20], [30, 40]]


def test_outputs_of_nothing_are_the_anchor_and_half_of_the_reach():
    anchored = grid(32, (32,), [np.array([[10.0, 20.0]])])
    boxes, scores = decode(np.zeros((1, 1, 7), np.float32), anchored)
    np.testing.assert_allclose(boxes, [[[11, 6, 21, 26]]])
    np.testing.assert_allclose(scores, [[[0.25, 0.25]]])
    boxes, scores = decode(np.zeros((1, 1, 6), np.float32), grid(32, (32,)))
    np.testing.assert_allclose(boxes, [[[16 - 128, 16 - 128, 16 + 128, 16 + 128]]])
    np.testing.assert_allclose(scores, [[[0.5, 0.5]]])


def test_iou_and_complete_iou_of_boxes_counted_by_hand():
    one, half = np.array([0.0, 0, 10, 10], np.float32), np.array([0.0, 0, 10, 5], np.float32)
    apart = np.array([20.0, 0, 30, 10], np.float32)
    assert float(iou(one, half)) == pytest.approx(0.5)
    assert float(complete_iou(one, one)) == pytest.approx(1, abs=1e-5)
    # No overlap; the centres are 20 apart, and the diagonal of what holds both is the root of 30 x 30 + 10 x 10.
    assert float(complete_iou(one, apart)) == pytest.approx(-400 / 1000, abs=1e-5)
    ratio = 4 / np.pi**2 * (np.arctan(1) - np.arctan(2)) ** 2
    expected = 0.5 - 2.5**2 / 200 - ratio**2 / (0.5 + ratio)
    assert float(complete_iou(one, half)) == pytest.approx(expected, abs=1e-5)


def test_anchors_are_the_middles_of_the_clusters_whatever_their_order():
    rng = np.random.default_rng(0)
    middles = np.array([[10, 10], [30, 60], [100, 90]])
    shapes = np.concatenate([middle * rng.uniform(0.95, 1.05, (50, 2)) for middle in middles])
    for seed in range(3):
        np.testing.assert_allclose(k_medians(rng.permutation(shapes), 3, seed), middles, rtol=0.04)
    assert len(k_medians(shapes[:2], 6, 0)) == 6


def test_a_yolo_row_is_assigned_by_cell_and_shape():
    cells = grid(64, (32,), [np.array([[20.0, 20.0], [60.0, 60.0], [5.0, 5.0]])])
    face = [1, 35, 5, 57, 27]  # 22 x 22 pixels, its centre in the second of four cells
    absent = [-1, 0, 0, 0, 0]
    faces = np.array([[face, absent], [absent, absent]], np.float32)
    assigned = by_anchors(faces, cells)
    weights = np.asarray(assigned.weight)
    # IoU of shapes: 400 / 484 with the first anchor, 484 / 3600 and 25 / 484 with the others.
    assert np.flatnonzero(weights[0]).tolist() == [3]
    assert not weights[1].any()
    assert int(assigned.face[0, 3]) == 0


def test_the_best_anchor_is_taken_however_badly_it_fits():
    cells = grid(32, (32,), [np.array([[200.0, 200.0], [300.0, 300.0], [400.0, 400.0]])])
    assigned = by_anchors(np.array([[[0, 10, 10, 20, 20]]], np.float32), cells)
    assert np.asarray(assigned.weight).tolist() == [[1, 0, 0]]


def test_task_alignment_takes_the_rows_that_find_a_face_best():
    cells = grid(64, (32,))
    face = np.array([[[1, 2, 2, 62, 30], [-1, 0, 0, 0, 0]]], np.float32)
    boxes = np.array([[[2, 2, 62, 30], [2, 2, 32, 30], [2, 2, 62, 30], [0, 0, 1, 1]]], np.float32)
    scores = np.full((1, 4, 2), 0.5, np.float32)
    assigned = task_aligned(face, boxes, scores, cells)
    # The first two cells' centres lie in the face. The first box has IoU 1; the second half of that, and 0.5 ** 6.
    np.testing.assert_allclose(assigned.weight, [[1, 0.5**6, 0, 0]], rtol=1e-4)


def test_a_face_smaller_than_a_cell_has_candidates_too():
    cells = grid(64, (8, 16, 32))
    face = np.array([[[0, 17, 17, 19, 19]]], np.float32)
    boxes = np.tile(np.array([16, 16, 20, 20], np.float32), (1, len(cells.centres), 1))
    assigned = task_aligned(face, boxes, np.full((1, len(cells.centres), 1), 0.5, np.float32), cells)
    chosen = cells.centres[np.asarray(assigned.weight)[0] > 0]
    assert len(chosen) > 0
    assert (np.abs(chosen - 18) < 8).all()


def test_the_loss_of_what_is_right_is_less_than_that_of_what_is_wrong():
    cells = grid(64, (8, 16, 32))
    faces = np.array([[[1, 8, 8, 40, 40]]], np.float32)
    reach = np.concatenate([cells.centres - faces[0, 0, 1:3], faces[0, 0, 3:] - cells.centres], axis=1)
    fraction = np.clip(reach / (8 * cells.sides), 0.001, 0.999)
    inside = (reach.min(axis=1) > 0)[:, None]
    edges = np.log(fraction / (1 - fraction))
    right = np.concatenate([edges, np.where(inside, [[-6, 6]], -6.0)], axis=1)[None].astype(np.float32)
    wrong = np.concatenate([edges, np.where(inside, [[6, -6]], -6.0)], axis=1)[None].astype(np.float32)
    nothing = np.full((1, 1, 5), -1, np.float32)
    assert float(anchor_free(faces, right, cells)) < 0.2 * float(anchor_free(faces, wrong, cells))
    assert float(anchor_free(nothing, right, cells)) > float(anchor_free(nothing, np.full_like(right, -6), cells))


@pytest.mark.parametrize(
    "model", ["mobilenet_v2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("yolov4_tiny", "yolov5s"))]
)
def test_a_detector_says_the_same_saved_and_as_tflite(model):
    whole = detection.decoded(small(model))
    photos = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8)
    said = whole.predict_on_batch(photos)
    assert said.min() >= 0
    assert said.max() <= 1
    save_model(whole, Path("model.keras"))
    again = fine_tuning.load(Path("model.keras"))
    np.testing.assert_array_equal(again.predict_on_batch(photos), said)
    exported = litert.Runner(litert.convert(again))
    np.testing.assert_allclose(exported(photos), said, atol=1e-4)


def test_what_lies_before_train_from_is_frozen():
    whole = small().network
    part = detection.build("mobilenet_v2", 0.35, "none", "block_13_expand", 16, 64, 2, None).network
    head = detection.build("mobilenet_v2", 0.35, "none", "head", 16, 64, 2, None).network
    counts = [len(one.trainable_variables) for one in (whole, part, head)]
    assert counts[0] > counts[1] > counts[2] > 0
    assert not part.get_layer("block_12_project").trainable
    assert part.get_layer("block_13_expand").trainable


def test_a_trained_detector_is_trained_further_on_photos_of_another_size():
    first = small()
    save_model(detection.decoded(first), Path("trained.keras"))
    weights = Path("trained.keras").resolve()
    network = detection.build("mobilenet_v2", 0.35, str(weights), "input", 32, 96, 3, None).network
    assert network.input_shape == (None, 96, 96, 3)
    for one, other in zip(network.get_weights(), first.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not network.get_layer("bn_Conv1").trainable
    with pytest.raises(UserError, match=f"weights: {weights} is not a trained mobilenet_v2 with these parameters: "):
        detection.build("mobilenet_v2", 0.35, str(weights), "input", 32, 96, 2, None)


def test_given_weights_are_also_those_that_a_layer_computes_with():
    """Keras' Normalization keeps its mean and variance in another form beside its weights."""
    known = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Normalization(mean=[1.0, 3.0], variance=[4.0, 9.0])]
    )
    adapted = keras.Sequential([keras.layers.Input((2,)), keras.layers.Normalization()])
    adapted.layers[0].adapt(np.array([[-1.0, 0.0], [3.0, 6.0]]))
    copy = keras.models.clone_model(adapted)
    give_weights(copy, adapted.get_weights())
    inputs = np.array([[5.0, 9.0]], np.float32)
    np.testing.assert_allclose(copy.predict(inputs, verbose=0), known.predict(inputs, verbose=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": "yolov9"}, "model: there is no yolov9; give one of: yolov4, yolov4_tiny, yolov5s, "),
        ({"image_size": 100}, "image_size: 100 is no multiple of 32"),
        ({"model": "yolov5s", "weights": "imagenet"}, "model: yolov5s begins untrained"),
        ({"model": "yolov5s", "weights": "trained.keras"}, "model: yolov5s begins untrained"),
        ({"weights": "none.keras"}, "weights: there is no file "),
        ({"train_from": "block_99"}, "train_from: mobilenet_v2 has no layer 'block_99'"),
    ],
)
def test_a_detector_that_cannot_be_built_is_one_line(changes, line):
    Path("trained.keras").touch()
    known = {"model": "mobilenet_v2", "alpha": 0.35, "weights": "none", "train_from": "input", "neck": 16}
    with pytest.raises(UserError, match=line):
        detection.build(**(known | {"image_size": 64, "classes": 2, "anchors": None} | changes))


def test_a_yolo_without_anchors_is_refused():
    with pytest.raises(ValueError, match="yolov5s needs anchors"):
        detection.build("yolov5s", 1.0, "none", "input", 16, 64, 2, None)
