"""LiteRT: conversion is reproducible, and outputs are the same on any number of cores."""

import os

import numpy as np
import pytest
from conftest import build_backbone, load_params, write_params

from facemask.core.files import prepare_tensorflow
from facemask.engines import litert
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
