"""Training in several processes: the same result as in one, also with ragged batches and after a worker was killed."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import HEAD_ONLY, ROOT, arguments_of, duplicate, free_port, stage, wait_until, write_params

from facemask.core.errors import UserError
from facemask.core.files import prepare_tensorflow
from facemask.core.params import validate
from facemask.data import shards
from facemask.engines import litert
from facemask.networks import fine_tuning, training
from facemask.networks.distributed import launch, worker
from facemask.networks.distributed.launch import Replicas
from facemask.networks.head import Head
from facemask.networks.training import Photos, Training, class_weights

SIDE = 24
# Neither the 45 photos to train on nor the 27 to validate are whole batches, and the rests are odd.
TRAIN, VALIDATION = 45, 27
SETTINGS = Training(
    seed=7, lr=0.01, lr_schedule="plateau", epochs=30, patience=6, batch_size=16, class_weights=True
)  # fmt: skip


class Trained(NamedTuple):
    """What a training gives: weights, history, and probabilities of the validation photos."""

    weights: list[np.ndarray]
    history: pd.DataFrame
    probabilities: np.ndarray


def photos(folder: Path, count: int, seed: int, wrong: int = 0) -> Photos:
    """Noise whose red differs a little by class, in a memory map, and labels of which the first may be wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=[0.5, 0.3, 0.2]).astype(np.int32)
    pixels = rng.integers(0, 200, (count, SIDE, SIDE, 3)).astype(np.uint8)
    pixels[..., 0] += (labels * 8).astype(np.uint8)[:, None, None]
    labels[:wrong] = (labels[:wrong] + 1) % 3
    np.save(folder / f"{seed}.npy", pixels)
    return np.load(folder / f"{seed}.npy", mmap_mode="r"), labels


def splits(folder: Path) -> tuple[Photos, Photos]:
    """Photos to train on, and to validate: of these some labels are wrong, so that the loss rises again."""
    return photos(folder, TRAIN, 1), photos(folder, VALIDATION, 2, wrong=14)


def network(dropout: float = 0.2):
    """Convolutions, batch normalisation that is trained, and dropout."""
    import keras

    prepare_tensorflow(SETTINGS.seed, 2)
    keras.utils.clear_session()  # layers have the same names every time, as in a process of their own
    pixels = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    maps = keras.layers.Rescaling(1 / 255)(pixels)
    for width in (4, 8):
        maps = keras.layers.Conv2D(width, 3, strides=2, use_bias=False)(maps)
        # Smooth: the slope of a ReLU jumps where the last digit of a sum decides, and Adam makes that large.
        maps = keras.layers.Activation("silu")(keras.layers.BatchNormalization(momentum=0.8)(maps))
    top = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(maps))
    head = Head(units=[8], dropout=[dropout])
    return fine_tuning.build_trainable(top, (SIDE, SIDE, 3), "uint8", head, 3, pretrained=False)


def train(folder: Path, replicas: int, settings: Training = SETTINGS, dropout: float = 0.2) -> Trained:
    model = network(dropout)
    train_on, validation = splits(folder)
    reports: list[pd.DataFrame] = []
    history = launch.fit(model, train_on, validation, settings, replicas, 2, folder / "job.partial", reports.append)
    assert reports  # while it trained, unless every epoch ended between two looks
    assert all(report.equals(history.head(len(report))) for report in reports)
    return Trained(model.get_weights(), history, fine_tuning.predict(model, validation[0], 32))


@pytest.fixture(scope="module", autouse=True)
def found() -> Iterator[None]:
    """Workers find the code from any folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        yield


@pytest.fixture(scope="module")
def by_one(tmp_path_factory) -> Trained:
    return train(tmp_path_factory.mktemp("one"), 1)


@pytest.fixture(scope="module")
def by_two(tmp_path_factory) -> Trained:
    return train(tmp_path_factory.mktemp("two"), 2)


def assert_same(one: Trained, other: Trained, tolerance: float) -> None:
    assert one.history.shape == other.history.shape
    np.testing.assert_allclose(one.history, other.history, atol=tolerance)
    for ours, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


@pytest.mark.slow
def test_two_processes_train_as_one_does(by_one, by_two):
    assert_same(by_one, by_two, 1e-5)


@pytest.mark.slow
def test_the_same_seed_and_number_of_processes_give_the_same_bits(by_two, tmp_path):
    again = train(tmp_path, 2)
    assert [array.tobytes() for array in again.weights] == [array.tobytes() for array in by_two.weights]
    assert again.history.equals(by_two.history)
    assert list(tmp_path.glob("job*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["by_one", "by_two"])
def test_losses_are_of_the_true_photos_and_the_best_epoch_is_kept(trained, request, tmp_path):
    """Computed anew with TensorFlow, from the weights that training leaves."""
    _, history, probabilities = request.getfixturevalue(trained)
    _, (_, labels) = splits(tmp_path)
    weights = class_weights(labels, SETTINGS.class_weights)
    losses = -np.log(probabilities[np.arange(VALIDATION), labels])
    best = history.loc[history.val_loss.idxmin()]
    assert best.val_loss == pytest.approx((weights * losses).mean(), abs=1e-5)
    right = probabilities.argmax(axis=1) == labels
    assert best.val_accuracy == pytest.approx((weights * right).sum() / weights.sum(), abs=1e-5)
    assert len(history) == best.epoch + SETTINGS.patience < SETTINGS.epochs
    assert history.learning_rate.iloc[-1] < history.learning_rate.iloc[0]


@pytest.mark.slow
def test_jax_trains_as_tensorflow_does(tmp_path):
    """With one batch an epoch, so that the order of the photos does not matter, and no dropout."""
    settings = SETTINGS.model_copy(update={"batch_size": 64, "epochs": 10, "lr_schedule": "cosine"})
    found = train(tmp_path, 1, settings, dropout=0.0)
    model = network(dropout=0.0)
    expected = training.fit(model, *splits(tmp_path), settings)
    np.testing.assert_allclose(found.history, expected, atol=1e-4)
    for ours, theirs in zip(found.weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Path, str]:
    """The folder that a training leaves whose second worker was killed after an epoch, and the error."""
    folder = tmp_path_factory.mktemp("killed")
    checkpoint = folder / "job.partial" / worker.CHECKPOINT

    def kill_second() -> None:
        wait_until(checkpoint.exists, "an epoch has ended")
        [second] = [one for one in psutil.Process().children() if one.cmdline()[-1:] == ["rank=1"]]
        second.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill_second)
    killer.start()
    with pytest.raises(UserError) as caught:
        train(folder, 2)
    killer.join()
    return folder / "job.partial", str(caught.value)


@pytest.mark.slow
def test_a_killed_worker_is_one_line_and_ends_the_others(killed):
    _, message = killed
    assert message.startswith(
        "training stopped: worker 2 of 2 ended with SIGKILL; dvc repro goes on after the last whole"
    )
    assert "\n" not in message
    assert [one for one in psutil.Process().children(recursive=True) if "rank=0" in one.cmdline()] == []


@pytest.mark.slow
def test_the_next_start_goes_on_to_the_same_end(killed, by_two, tmp_path, capfd):
    shutil.copytree(killed[0], tmp_path / "job.partial")
    resumed = train(tmp_path, 2)
    assert "epoch 1 of" not in capfd.readouterr().out
    assert_same(resumed, by_two, 1e-5)


@pytest.mark.slow
def test_the_best_epoch_may_lie_before_a_restart(killed, tmp_path):
    checkpoint = Path(shutil.copytree(killed[0], tmp_path / "job.partial")) / worker.CHECKPOINT
    with np.load(checkpoint) as saved:
        state = [saved[f"arr_{number}"] for number in range(len(saved.files) - 1)]
        key = str(saved["key"])
    done, history = state[:2]
    history[done - 1, worker.VAL_LOSS] = 0
    worker.save(checkpoint, key, state)
    resumed = train(tmp_path, 2)
    assert len(resumed.history) == min(done + SETTINGS.patience, SETTINGS.epochs)
    best = state[-len(resumed.weights) :]
    assert [array.tobytes() for array in resumed.weights] == [array.tobytes() for array in best]


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"PK spoilt", None])
def test_a_broken_checkpoint_is_as_none(content, tmp_path):
    file, own = tmp_path / "checkpoint", [np.ones(3)]
    if content is None:
        np.save(tmp_path / "array.npy", np.zeros(3))
        content = (tmp_path / "array.npy").read_bytes()
    file.write_bytes(content)
    assert worker.restored(file, "key", own) is own


def test_a_checkpoint_of_another_training_is_not_read(by_two, tmp_path, capfd):
    settings = SETTINGS.model_copy(update={"epochs": 2})
    (tmp_path / "job.partial").mkdir()
    worker.save(tmp_path / "job.partial" / worker.CHECKPOINT, "another", [np.int32(1)])
    assert len(train(tmp_path, 1, settings).history) == 2
    assert "epoch 1 of 2: loss" in capfd.readouterr().out


def test_without_jax_it_is_one_line_that_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(UserError, match=r"^training.engine: jax is not installed; pip install '\.\[jax\]'$"):
        train(tmp_path, 1)


def test_the_environment_must_name_as_many_processes_as_the_parameters(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "3")
    with pytest.raises(UserError, match=r"^JAX_NUM_PROCESSES is 3, training.replicas 2; set both to the same number$"):
        train(tmp_path, 2)


def test_tensorflow_has_one_process():
    with pytest.raises(UserError, match=r"replicas: 2 needs engine: jax; tensorflow trains in one process$"):
        validate(Replicas, {"engine": "tensorflow", "replicas": 2})


def test_a_worker_that_fails_is_one_line_with_its_last_words(tmp_path):
    with pytest.raises(UserError, match=r"^training stopped: worker 1 of 1 ended with worker: .*job.json\); dvc repro"):
        launch.run(tmp_path, launch.environments_of(1, 2))


def by_hand(folders: list[Path]) -> list[subprocess.CompletedProcess]:
    """Start the stage in each folder, as a process a machine, and wait for all."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "stages.train", *arguments_of("train")]
    started = []
    for number, folder in enumerate(folders):
        given = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(number)}
        started.append(
            subprocess.Popen(command, cwd=folder, env=os.environ | given, stderr=subprocess.PIPE, text=True)
        )  # fmt: skip
    return [
        subprocess.CompletedProcess(command, one.returncode, stderr=said)
        for one, (_, said) in [(one, one.communicate(timeout=300)) for one in started]
    ]


@pytest.mark.slow
def test_the_stage_trains_in_two_processes_and_as_one_of_two_that_are_started_by_hand(copy, tmp_path):
    machines = [copy, tmp_path / "other"]
    changes = {**HEAD_ONLY, "train_from": "block_16_expand", "epochs": 3, "training__engine": "jax"}
    write_params(copy, **changes, training__replicas=2)
    assert stage("features", *arguments_of("features"), folder=copy).returncode == 0
    duplicate(copy, machines[1])
    done = stage("train", *arguments_of("train"), folder=copy)
    assert done.returncode == 0, done.stderr
    assert "epoch 3 of 3: loss" in done.stdout
    assert not (copy / "models/training.partial").exists()
    trained = {name: (copy / name).read_bytes() for name in ("models/trained.npz", "models/classifier.tflite")}

    probabilities = litert.Runner(trained["models/classifier.tflite"])(shards.array(copy / "data/shards", "test"))
    for name in ("corrupt", "evaluate", "export"):
        done = stage(name, *arguments_of(name), folder=copy)
        assert done.returncode == 0, done.stderr
    evaluated = pd.read_csv(copy / "metrics/predictions.csv").filter(like="p_")
    np.testing.assert_allclose(probabilities, evaluated, atol=1e-5)
    assert pd.read_csv(copy / "metrics/variants.csv", index_col="variant").agreement["float32"] == 1

    for folder in machines:
        write_params(folder, **changes, training__replicas=2, threads=1)  # as each of the two above had
    assert [done.returncode for done in by_hand(machines)] == [0, 0]
    for folder in machines:
        assert {name: (folder / name).read_bytes() for name in trained} == trained

    write_params(machines[1], **changes, training__replicas=2, threads=1, seed=8)
    for done in by_hand(machines):
        assert done.returncode == 1
        assert "the processes have different data or parameters; start all from the same commit" in done.stderr
