"""The networks that `model` names: published architectures and preprocessing, and all steps of the pipeline."""

import sys

import keras
import numpy as np
import pytest
from conftest import build_backbone, load_params, write_params

from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow, save_model
from facemask.core.params import Section
from facemask.engines import litert
from facemask.networks import applications, fine_tuning

slow = pytest.mark.slow
PARAMETERS = [  # of keras.applications without their tops, as documented there
    ("mobilenet_v3_small", 939_120),
    ("efficientnet_b0", 4_049_571),
    pytest.param("mobilenet_v2", 2_257_984, marks=slow),
    pytest.param("mobilenet_v3_large", 2_996_352, marks=slow),
    pytest.param("resnet50", 23_587_712, marks=slow),
    pytest.param("inception_v3", 21_802_784, marks=slow),
    pytest.param("densenet121", 7_037_504, marks=slow),
    pytest.param("xception", 20_861_480, marks=slow),
    pytest.param("vgg16", 14_714_688, marks=slow),
]
EVERY_KIND = [
    ("cnn", 32),
    pytest.param("mobilenet_v3_small", 32, marks=slow),
    pytest.param("alexnet", 67, marks=slow),
    pytest.param("efficientnet_b0", 32, marks=slow),
    pytest.param("resnet50", 32, marks=slow),
    pytest.param("inception_v3", 75, marks=slow),
    pytest.param("convnext_tiny", 32, marks=slow),
]


@pytest.fixture
def settings(tmp_path):
    """Parameters of any network, by name and further changes."""

    def of(name: str, **changes) -> Section:
        write_params(tmp_path, model=name, **{"alpha": 1.0, "image_size": 75} | changes)
        loaded = load_params()
        prepare_tensorflow(loaded.seed, loaded.threads)
        return loaded

    return of


@pytest.mark.parametrize(("name", "published"), PARAMETERS)
def test_a_network_has_as_many_weights_as_the_published_one(name, published, settings):
    assert build_backbone(settings(name)).count_params() == published


@pytest.mark.parametrize(
    ("name", "size", "weights"),
    [("cnn", 64, 1_142_210), ("cnn", 224, 12_938_690), pytest.param("alexnet", 150, 29_983_490, marks=slow)],
)
def test_our_own_networks_have_as_many_weights_as_documented(name, size, weights, settings):
    backbone = build_backbone(settings(name, image_size=size))
    assert backbone.count_params() + 2 * (backbone.output_shape[-1] + 1) == weights


def test_preprocessing_equals_that_of_each_network(settings):
    settings("mobilenet_v2")
    photos = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), np.uint8)
    for name, function in applications.networks().items():
        pixels = keras.Input((8, 8, 3), dtype="uint8")
        layers = keras.Model(pixels, applications.preprocess(pixels, function, "imagenet"))
        expected = sys.modules[function.__module__].preprocess_input(photos.astype(np.float32))
        np.testing.assert_allclose(np.asarray(layers(photos)).astype(np.float32), expected, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_efficientnet_weights_from_a_file_give_the_outputs_of_downloaded_ones(settings, tmp_path, monkeypatch):
    from keras.src.applications import efficientnet

    chosen = settings("efficientnet_b0", weights="imagenet", train_from="head")
    published = keras.applications.EfficientNetB0(weights=None, include_top=False)
    [normalization] = [layer for layer in published.layers if isinstance(layer, keras.layers.Normalization)]
    statistics = [applications.IMAGENET_MEAN, applications.IMAGENET_DEVIATION**2, np.int32(0)]
    normalization.set_weights(statistics[: len(normalization.weights)])
    file = tmp_path / "published.weights.h5"
    published.save_weights(file)
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *_, **__: str(file))
    downloaded = build_backbone(chosen)
    read = build_backbone(settings("efficientnet_b0", weights=str(file), train_from="head"))
    photos = np.random.default_rng(0).integers(0, 255, (2, 75, 75, 3), np.uint8)
    expected = np.asarray(downloaded(photos))
    np.testing.assert_allclose(read(photos), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(("name", "size"), EVERY_KIND)
def test_a_network_is_cut_trained_saved_and_converted(name, size, settings, tmp_path):
    chosen = settings(name, image_size=size)
    photos = np.random.default_rng(0).integers(0, 255, (4, size, size, 3), np.uint8)
    backbone = build_backbone(chosen)
    cuts = fine_tuning.cut_names(backbone)
    trunk, top = fine_tuning.cut(backbone, cuts[len(cuts) // 2])
    vectors = np.asarray(backbone(photos))
    np.testing.assert_allclose(top(trunk(photos)), vectors, atol=1e-5 * max(1, np.abs(vectors).max()))

    trainable = fine_tuning.build_trainable(backbone, (size, size, 3), "uint8", chosen.head, 2, pretrained=False)
    before = [weight.numpy() for weight in trainable.trainable_weights]
    trainable.compile("sgd", "sparse_categorical_crossentropy")
    trainable.fit(photos, np.array([0, 1, 0, 1]), epochs=1, verbose=0)
    assert any((old != weight.numpy()).any() for old, weight in zip(before, trainable.trainable_weights, strict=True))

    model = fine_tuning.join(None, trainable, size)
    save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = fine_tuning.predict(loaded, photos, 4)
    np.testing.assert_allclose(fine_tuning.predict(model, photos, 4), expected, atol=1e-6)
    converted = litert.convert(loaded)
    np.testing.assert_allclose(litert.Runner(converted)(photos), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("resnet_50", {}, "model: there is no resnet_50; give one of: alexnet, cnn, .*mobilenet_v2.*resnet50,"),
        ("cnn", {"alpha": 0.5}, "alpha: cnn has no width multiplier; set alpha to 1.0"),
        ("resnet50", {"alpha": 0.5}, "alpha: resnet50 has no width multiplier; set alpha to 1.0"),
        ("inception_v3", {"image_size": 64}, "inception_v3 cannot be built with .*image_size 64: .*at least 75x75"),
        ("alexnet", {"image_size": 64}, "image_size: alexnet needs 67 pixels or more; there are 64"),
        ("alexnet", {"weights": "imagenet"}, "weights: there are no ImageNet weights for alexnet"),
    ],
)
def test_an_impossible_network_is_one_line(name, changes, message, settings):
    with pytest.raises(UserError, match=message):
        build_backbone(settings(name, **changes))


@pytest.mark.parametrize("proxy", ["http:me:hush@127.0.0.1:9", "http://me:hush/quiet@127.0.0.1:9",
                                   "http://me:hush@127.0.0.1:9"])  # fmt: skip
def test_weights_that_cannot_be_downloaded_do_not_show_the_password_of_the_proxy(proxy, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    with pytest.raises(UserError, match="weights: imagenet could not be downloaded") as caught:
        applications.build("mobilenet_v2", 0.35, "imagenet", 96)
    assert "hush" not in str(caught.value)
