"""train: a head or more is trained, the best epoch is kept, and divergence is an error."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, load_params, write_params

from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow
from facemask.core.params import Section
from facemask.networks.fine_tuning import Tuned, build_trainable
from facemask.networks.head import DenseHead, Head
from facemask.networks.training import COLUMNS, batches, check_convergence, class_weights

ENGINES = ["NumPy", "Keras"]
OLD_PROCESSOR = {
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
}


@pytest.fixture
def settings(tmp_path) -> Section:
    write_params(tmp_path, epochs=12, patience=4, batch_size=32, lr=0.01, lr_schedule="constant")
    loaded = load_params()
    prepare_tensorflow(loaded.seed, loaded.threads)
    return loaded


def features(count: int, seed: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of points in 16 dimensions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count).astype(np.int32)
    centres = np.random.default_rng(99).normal(size=(3, 16))
    return (centres[labels] + rng.normal(0, noise, (count, 16))).astype(np.float32), labels


def network(engine: str, units: list[int], dropout: float = 0.2, seed: int = 7) -> DenseHead | Tuned:
    head = Head(units=units, dropout=[dropout] * len(units))
    if engine == "NumPy":
        return DenseHead(head, 16, 3, seed)
    return Tuned(build_trainable(None, (16,), "float32", head, 3, True), 32)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("schedule", "units"), [("constant", []), ("cosine", [32, 16]), ("plateau", [])])
def test_a_head_reaches_a_high_accuracy(engine, units, schedule, settings):
    model = network(engine, units)
    training, reports = settings.model_copy(update={"lr_schedule": schedule}), []
    history = model.fit(features(600, 1), features(200, 2), training, reports.append)
    assert history.val_accuracy.max() > 0.95
    assert all(report.equals(history.head(epoch)) for epoch, report in enumerate(reports, start=1))
    assert len(reports) == len(history)
    assert list(history.columns) == COLUMNS
    inputs, labels = features(200, 3)
    assert (model.predict(inputs).argmax(axis=1) == labels).mean() > 0.95


@pytest.mark.parametrize(("schedule", "units"), [("cosine", []), ("constant", [8]), ("cosine", [16, 8])])
def test_numpy_and_keras_train_the_same_head(units, schedule, settings):
    # One batch an epoch, so that the order of the photos does not matter, and no dropout.
    changes = {"batch_size": 300, "epochs": 40, "patience": 40, "lr_schedule": schedule, "class_weights": True}
    alone, keras = network("NumPy", units, dropout=0.0), network("Keras", units, dropout=0.0)
    keras.model.set_weights(alone.weights)
    training = settings.model_copy(update=changes)
    train = tuple(part[:280] for part in features(300, 1, noise=2.0))
    histories = [one.fit(train, features(100, 2, noise=2.0), training) for one in (alone, keras)]
    np.testing.assert_allclose(*histories, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(alone.weights, keras.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_learning_rate_falls_on_a_plateau(engine, settings):
    changes = {"lr_schedule": "plateau", "patience": 4, "epochs": 12, "lr": 0.2}
    training = settings.model_copy(update=changes)
    history = network(engine, [32]).fit(features(40, 1, noise=3.0), features(100, 2, noise=3.0), training)
    assert history.learning_rate.iloc[0] == pytest.approx(0.2)
    assert history.learning_rate.iloc[-1] <= 0.2 * 0.3 * 1.001


@pytest.mark.parametrize("engine", ENGINES)
def test_the_best_epoch_is_kept_and_training_stops_when_patience_ends(engine, settings):
    model = network(engine, [64])
    inputs, labels = features(100, 2, noise=2.0)
    training = settings.model_copy(update={"lr": 0.3, "epochs": 15})
    history = model.fit(features(40, 1, noise=2.0), (inputs, labels), training)
    losses = -np.log(model.predict(inputs)[np.arange(100), labels]) * class_weights(labels, settings.class_weights)
    assert losses.mean() == pytest.approx(history.val_loss.min(), rel=1e-3)
    assert history.val_loss.iloc[-1] > 1.1 * losses.mean()
    assert len(history) == history.val_loss.argmin() + 1 + settings.patience


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("near", "far"), [(1e30, 1e30), (1, 1e9)], ids=["not a number", "far worse than guessing"])
def test_a_training_that_diverges_is_one_line_that_names_the_learning_rate(engine, near, far, settings):
    train, validation = features(300, 1), features(100, 2)
    for (inputs, _), scale in ((train, near), (validation, far)):
        inputs *= np.float32(scale)
    # Labels are shifted, so that a trained model is wrong there.
    validation = validation[0], (validation[1] + 1) % 3
    history = network(engine, [64, 64]).fit(train, validation, settings.model_copy(update={"lr": 1.0}))
    with pytest.raises(
        UserError, match=r"^training diverged: the validation loss was .* lr is 1, try a smaller .*=0.1$"
    ):
        check_convergence(history, 3, 1.0)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_seed_gives_the_same_weights(engine, settings):
    weights = []
    for seed in (settings.seed, settings.seed, settings.seed + 1):
        prepare_tensorflow(seed, settings.threads)
        model = network(engine, [8], seed=seed)
        model.fit(features(200, 1), features(50, 2), settings.model_copy(update={"seed": seed}))
        weights.append(b"".join(array.tobytes() for array in model.weights))
    assert weights[0] == weights[1] != weights[2]


def test_a_head_has_the_same_weights_on_another_kind_of_processor(settings):
    code = """if True:
        import hashlib
        from conftest import load_params
        from test_train import features, network
        head = network("NumPy", [32, 16])
        head.fit(features(2000, 1), features(100, 2), load_params().model_copy(update={"patience": 12}))
        head.divide_logits(1.2345)
        print(hashlib.sha256(b"".join(array.tobytes() for array in head.weights)).hexdigest())"""
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    digests = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | path | processor, capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        for processor in ({}, OLD_PROCESSOR)
    ]
    assert digests[0] == digests[1]


def test_balanced_classes_have_the_same_total_weight():
    labels = np.array([0] * 90 + [1] * 10, np.int32)
    weights = class_weights(labels, True)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    assert (class_weights(labels, False) == 1).all()


def test_batches_are_shuffled_by_the_seed_and_complete():
    inputs, labels = np.arange(50, dtype=np.float32)[:, None], np.arange(50, dtype=np.int32)
    weights = np.ones(50, np.float32)

    def order(seed) -> list[int]:
        return np.concatenate([y for _, y, _ in batches(inputs, labels, weights, 8, seed)]).tolist()

    assert order(None) == list(range(50))
    assert sorted(order(1)) == list(range(50))
    assert order(1) == order(1) != order(2)
    for x, y, _ in batches(inputs, labels, weights, 8, 1):
        assert x.numpy()[:, 0].tolist() == y.numpy().tolist()
