"""features: both engines give what the trunk gives."""

import numpy as np
import pytest
from conftest import write_params

from facemask import networks
from facemask.core import params
from facemask.core.files import prepare_tensorflow
from stages.features import on_gpu, on_processors


@pytest.mark.parametrize("engine", [on_gpu, on_processors])
@pytest.mark.parametrize("train_from", ["head", "block_13_expand"])
def test_both_engines_agree_with_keras(engine, train_from, tmp_path):
    write_params(tmp_path)
    settings = params.load()
    prepare_tensorflow(settings.seed, settings.threads)
    trunk, _ = networks.cut(networks.build_backbone(settings), train_from)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 32, 32, 3), np.uint8)
    features = np.concatenate(list(engine(trunk)(pixels, "test")))
    np.testing.assert_allclose(features, trunk(pixels), atol=1e-4)
