"""LiteRT: conversion is reproducible, models can be put together, and outputs are the same on any number of cores."""

import itertools
import os

import numpy as np
import pytest
from conftest import build_backbone, load_params, write_params

from facemask.core.files import prepare_tensorflow
from facemask.engines import litert, tflite
from facemask.engines.variants import VARIANTS, quantise


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tflite")
    write_params(folder)
    settings = load_params(folder)
    prepare_tensorflow(settings.seed, settings.threads)
    return build_backbone(settings)


@pytest.fixture(scope="module")
def converted(backbone):
    return litert.convert(backbone)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 255, (70, 32, 32, 3), np.uint8)


def test_workers_and_batching_do_not_change_a_bit(converted, pixels, monkeypatch):
    results = []
    for workers in ("1", "3"):
        monkeypatch.setitem(os.environ, "LOKY_MAX_CPU_COUNT", workers)
        results.append(np.concatenate(list(litert.run(converted, pixels, "test"))))
    alone = litert.Runner(converted)(pixels[50:51])
    assert results[0].tobytes() == results[1].tobytes()
    assert alone.tobytes() == results[0][50:51].tobytes()


def test_conversion_has_the_same_bytes_every_time(backbone, converted):
    assert litert.convert(backbone) == converted


@pytest.mark.parametrize("variant", VARIANTS)
def test_quantisation_has_the_same_bytes_every_time(variant, converted, pixels):
    assert quantise(converted, variant, pixels[:8]) == quantise(converted, variant, pixels[:8])


def test_the_smaller_variants_are_smaller(converted, pixels):
    sizes = [len(quantise(converted, variant, pixels[:8])) for variant in VARIANTS]
    float32, float16, int8 = sizes
    assert float32 > 1.6 * float16
    assert float16 > 1.2 * int8


def probabilities(layers: list[tuple[np.ndarray, np.ndarray]], rows: np.ndarray) -> np.ndarray:
    """Dense layers with ReLU and a softmax, in NumPy."""
    for weights, bias in layers[:-1]:
        rows = np.maximum(rows @ weights + bias, 0)
    powers = np.exp(rows @ layers[-1][0] + layers[-1][1])
    return powers / powers.sum(axis=1, keepdims=True)


def layers_of(*sizes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (rng.normal(0, 0.2, (inputs, outputs)).astype(np.float32), rng.normal(size=outputs).astype(np.float32))
        for inputs, outputs in itertools.pairwise(sizes)
    ]


@pytest.mark.parametrize("hidden", [[], [8], [16, 8]])
@pytest.mark.parametrize("classes", [2, 3])
def test_dense_layers_give_what_numpy_gives(hidden, classes):
    layers = layers_of(20, *hidden, classes)
    model = litert.Runner(tflite.dense(layers))
    rows = np.random.default_rng(1).normal(size=(30, 20)).astype(np.float32)
    assert (model.takes, model.gives) == (((1, 20), np.float32), ((1, classes), np.float32))
    np.testing.assert_allclose(model(rows), probabilities(layers, rows), atol=1e-6)
    assert tflite.dense(layers) == tflite.dense(layers)


def test_a_chain_gives_what_its_parts_give(converted, pixels):
    vectors = litert.Runner(converted)(pixels)
    head = tflite.dense(layers_of(vectors.shape[1], 8, 3))
    whole = tflite.chain(converted, head)
    assert litert.Runner(whole)(pixels).tobytes() == litert.Runner(head)(vectors).tobytes()
    assert tflite.chain(converted, head) == whole
    for variant, tolerance in (("float16", 0.01), ("int8", 0.2)):
        difference = np.abs(litert.Runner(quantise(whole, variant, pixels))(pixels) - litert.Runner(whole)(pixels))
        assert 0 < difference.max() < tolerance, variant


def test_a_chain_of_converted_models_is_the_converted_whole(backbone, pixels):
    import keras

    rest = keras.Sequential([keras.Input(backbone.output_shape[1:]), keras.layers.Dense(3, "softmax")])
    whole = keras.Sequential([keras.Input((32, 32, 3), dtype="uint8"), backbone, rest])
    chained = tflite.chain(litert.convert(backbone), litert.convert(rest))
    np.testing.assert_allclose(litert.Runner(chained)(pixels), whole.predict(pixels, verbose=0), atol=1e-5)
