"""features: both engines give the output of the trunk."""

import numpy as np
import pytest
from conftest import build_backbone, load_params, write_params

from facemask.core.files import prepare_tensorflow
from facemask.engines import keras, litert
from facemask.networks.fine_tuning import cut


@pytest.mark.parametrize("train_from", ["head", "block_13_expand"])
def test_both_engines_agree_with_the_network(train_from, tmp_path):
    write_params(tmp_path)
    settings = load_params()
    prepare_tensorflow(settings.seed, settings.threads)
    trunk, _ = cut(build_backbone(settings), train_from)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 32, 32, 3), np.uint8)
    expected = trunk.predict(pixels, verbose=0)
    converted = litert.convert(trunk)
    for features in (litert.run(converted, pixels, "test"), keras.run(trunk, pixels, "test")):
        np.testing.assert_allclose(np.concatenate(list(features)), expected, atol=1e-5)
