"""train: a head is trained, the best epoch is kept, and divergence is an error."""

import numpy as np
import pytest
from conftest import load_params, write_params

from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow
from facemask.core.params import Section
from facemask.networks import fine_tuning
from facemask.networks.fine_tuning import Head
from stages.train import batches, class_weights, fit


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


def head(units: list[int]):
    return fine_tuning.build_trainable(None, (16,), "float32", Head(units=units, dropout=[0.2] * len(units)), 3, True)


@pytest.mark.parametrize("units", [[], [32], [32, 16]])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_a_head_reaches_a_high_accuracy(units, schedule, settings):
    model = head(units)
    history = fit(model, features(600, 1), features(200, 2), settings.model_copy(update={"lr_schedule": schedule}))
    assert history.val_accuracy.max() > 0.95
    assert list(history.columns) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    inputs, labels = features(200, 3)
    assert (model.predict(inputs, verbose=0).argmax(axis=1) == labels).mean() > 0.95


def test_the_best_epoch_is_kept(settings):
    model = head([64])
    validation = features(100, 2, noise=2.0)
    history = fit(model, features(40, 1, noise=2.0), validation, settings.model_copy(update={"lr": 0.3, "epochs": 15}))
    balanced = class_weights(validation[1], settings.class_weights)
    loss, _ = model.evaluate(*validation, sample_weight=balanced, verbose=0)
    assert loss == pytest.approx(history.val_loss.min(), rel=1e-3)
    assert history.val_loss.iloc[-1] > 1.1 * loss


@pytest.mark.parametrize(("near", "far"), [(1e30, 1e30), (1, 1e9)], ids=["not a number", "far worse than guessing"])
def test_a_training_that_diverges_is_one_line_that_names_the_learning_rate(near, far, settings):
    train, validation = features(300, 1), features(100, 2)
    for (inputs, _), scale in ((train, near), (validation, far)):
        inputs *= np.float32(scale)
    # Labels are shifted, so that a trained model is wrong there.
    validation = validation[0], (validation[1] + 1) % 3
    with pytest.raises(
        UserError, match=r"^training diverged: the validation loss was .* lr is 1, try a smaller .*=0.1$"
    ):
        fit(head([64, 64]), train, validation, settings.model_copy(update={"lr": 1.0}))


def test_the_same_seed_gives_the_same_weights(settings):
    weights = []
    for _ in range(2):
        prepare_tensorflow(settings.seed, settings.threads)
        model = head([8])
        fit(model, features(200, 1), features(50, 2), settings)
        weights.append(b"".join(w.tobytes() for w in model.get_weights()))
    assert weights[0] == weights[1]


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
