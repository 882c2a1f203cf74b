"""The demo's pretrained weights: those in Git match their record, and were trained without labels or masks."""

import hashlib
import re

import numpy as np
import pytest
from conftest import ROOT, arguments_of, build_backbone, load_params, shell, stage, write_params

from facemask import networks
from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow
from facemask.data.sources import synthetic
from facemask.data.sources.drawing import portrait
from facemask.experiments import pretrain
from facemask.networks import fine_tuning


@pytest.fixture
def settings(tmp_path):
    write_params(tmp_path, weights="synthetic", train_from="head")
    loaded = load_params()
    prepare_tensorflow(loaded.seed, loaded.threads)
    return loaded


def test_the_committed_weights_are_small_and_match_their_record():
    content = networks.SYNTHETIC.read_bytes()
    assert len(content) < 2_000_000
    assert hashlib.sha256(content).hexdigest() == networks.synthetic_record()["sha256"]


def test_pretraining_uses_other_faces_than_the_demo_and_is_reproducible():
    assert pretrain.SEED not in range(len(synthetic.CLASSES))
    once, again, other = (pretrain.draw(number) for number in (4, 4, 5))
    assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(once, again, strict=True))
    assert (once[0] != other[0]).any()
    assert once[0].shape == (64, 64, 3)
    assert once[1].shape == (len(pretrain.ATTRIBUTES),)


def test_pretraining_sees_no_mask(monkeypatch):
    monkeypatch.setattr(portrait, "draw_mask", lambda *_: pytest.fail("a mask was drawn"))
    for number in range(6):
        pretrain.draw(number)
    assert not [name for name in pretrain.ATTRIBUTES if "mask" in name]


def test_features_of_the_synthetic_weights_predict_an_attribute(settings):
    """Ridge regression on 200 faces predicts the yaw of others; on random features it is much worse."""
    pixels, descriptions = map(np.stack, zip(*map(pretrain.draw, range(10**6, 10**6 + 300)), strict=True))
    yaw = descriptions[:, pretrain.ATTRIBUTES.index("yaw")]
    explained = {}
    for weights in ("none", "synthetic"):
        chosen = settings.model_copy(update={"weights": weights, "image_size": 64})
        vectors = fine_tuning.predict(build_backbone(chosen), pixels, 100)
        vectors = (vectors - vectors[:200].mean(axis=0)) / (vectors[:200].std(axis=0) + 1e-6)
        gram = vectors @ vectors[:200].T / vectors.shape[1]
        predicted = (
            gram @ np.linalg.solve(gram[:200] + 0.1 * np.eye(200), yaw[:200] - yaw[:200].mean()) + yaw[:200].mean()
        )
        explained[weights] = 1 - ((predicted - yaw)[200:] ** 2).mean() / yaw[200:].var()
    assert explained["synthetic"] > 0.5 > 0.2 > explained["none"], explained


def test_another_width_multiplier_is_one_line(settings):
    with pytest.raises(UserError, match=r"weights: .*synthetic.weights.h5 does not fit mobilenet_v2, alpha 0.75"):
        build_backbone(settings.model_copy(update={"alpha": 0.75}))


def test_the_model_card_says_where_the_weights_are_from(copy):
    write_params(copy, weights="synthetic", train_from="head")
    done = stage("card", *arguments_of("card"), folder=copy)
    assert done.returncode == 0, done.stderr
    record = networks.synthetic_record()
    card = (copy / "metrics/model_card.md").read_text()
    assert f"Initial weights: pretrained on {record['faces']:,} other synthetic faces, none with a mask" in card
    assert f"seed {record['seed']}" in card
    assert record["sha256"][:16] in card


@pytest.mark.slow
def test_the_command_in_the_docs_trains_from_scratch(copy):
    page = (ROOT / "docs/experiments.md").read_text()
    [settings] = re.findall(r"^dvc exp run (-S weights=none .*)$", page, re.MULTILINE)
    shell("dvc", "exp", "run", *settings.split(), cwd=copy)
    card = (copy / "metrics/model_card.md").read_text()
    assert "Initial weights: random initialisation. The whole network was trained." in card
