"""Cutting a backbone: trunk and top together equal the network at every cut."""

import numpy as np
import pytest
from conftest import build_backbone, load_params, write_params

from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow, save_model
from facemask.networks import fine_tuning


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_params(folder)
    loaded = load_params(folder)
    prepare_tensorflow(loaded.seed, loaded.threads)
    return loaded


@pytest.fixture(scope="module")
def backbone(settings):
    return build_backbone(settings)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("train_from", ["head", "input", "block_13_expand", "block_16_project", "Conv_1", "Conv1"])
def test_trunk_and_top_give_the_output_of_the_backbone(train_from, settings, backbone, pixels):
    trunk, top = fine_tuning.cut(backbone, train_from)
    features = pixels if trunk is None else trunk(pixels)
    vectors = features if top is None else top(features)
    np.testing.assert_allclose(vectors, backbone(pixels), atol=1e-5)
    shape = (32, 32, 3) if trunk is None else trunk.output_shape[1:]
    trainable = fine_tuning.build_trainable(top, shape, "uint8" if trunk is None else "float32", settings.head, 3, True)
    whole = fine_tuning.join(trunk, trainable, 32)
    probabilities = np.asarray(whole(pixels))
    assert probabilities.shape == (4, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_only_layers_after_the_cut_are_trainable(settings, backbone):
    trunk, top = fine_tuning.cut(backbone, "block_13_expand")
    trainable = fine_tuning.build_trainable(top, trunk.output_shape[1:], "float32", settings.head, 3, True)
    names = {weight.path for weight in trainable.trainable_weights}
    assert any("block_13_expand" in name for name in names)
    assert not any("block_12" in name or "BN" in name for name in names)


def test_every_offered_cut_works(backbone):
    names = fine_tuning.cut_names(backbone)
    assert {"Conv1", "block_1_expand", "block_13_expand", "block_16_expand", "Conv_1"} <= set(names)
    for name in names:
        trunk, top = fine_tuning.cut(backbone, name)
        assert trunk.output_shape == top.input_shape


@pytest.mark.parametrize(
    ("name", "message"),
    [("block_99", "has no layer 'block_99'"), ("block_14_depthwise", "cannot start at block_14_depthwise")],
)
def test_an_impossible_cut_is_one_line_with_the_possible_ones(name, message, backbone):
    with pytest.raises(UserError, match=message) as caught:
        fine_tuning.cut(backbone, name)
    assert "block_13_expand" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_saved_model_has_the_same_bytes_and_the_same_outputs(settings, pixels, tmp_path):
    import keras

    first, second = tmp_path / "first.keras", tmp_path / "second.keras"
    for file in (first, second):
        prepare_tensorflow(settings.seed, settings.threads)
        keras.utils.clear_session()
        model = build_backbone(settings)
        save_model(model, file)
    assert first.read_bytes() == second.read_bytes()
    assert np.array_equal(keras.saving.load_model(first)(pixels), model(pixels))


def test_weights_of_another_network_are_one_line(settings, tmp_path):
    import keras

    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    other.save_weights(tmp_path / "other.weights.h5")
    wrong = settings.model_copy(update={"weights": str(tmp_path / "other.weights.h5")})
    with pytest.raises(UserError, match="does not fit mobilenet_v2"):
        build_backbone(wrong)


@pytest.mark.real
def test_imagenet_weights_give_different_features_for_different_photos(settings, shared):
    file = shared / "weights" / "mobilenet_v2_1.0_224_imagenet_no_top.weights.h5"
    pretrained = settings.model_copy(update={"weights": str(file), "alpha": 1.0, "image_size": 224})
    blank = np.zeros((1, 224, 224, 3), np.uint8)
    noise = np.random.default_rng(0).integers(0, 255, blank.shape, np.uint8)
    features = np.asarray(build_backbone(pretrained)(np.concatenate([blank, noise])))
    assert features.shape == (2, 1280)
    assert np.abs(features[0] - features[1]).max() > 0.5
