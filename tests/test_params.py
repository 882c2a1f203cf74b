"""params.yaml: what is written is what is meant, or one line says why not."""

from pathlib import Path

import pytest
import yaml
from conftest import ROOT, write_params

from facemask.core import params
from facemask.core.errors import UserError


@pytest.mark.parametrize("written", ["1e-05", "1e-5", "3e-5", "0.00001", "1.0e-05"])
def test_a_learning_rate_is_a_number_however_it_is_written(tmp_path, written):
    write_params(tmp_path)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace(f"lr: {yaml.safe_load(text)['lr']}", f"lr: {written}"))
    assert params.load().lr == float(written)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.1}, "learning_rate is not a parameter"),
        ({"augment__rotatoin": 1}, "augment.rotatoin is not a parameter; did you mean rotation?"),
        ({"lr": "fast"}, "lr: 'fast' is not allowed"),
        ({"lr": 0.0}, "lr: 0.0 is not allowed: input should be greater than 0"),
        ({"lr": float("nan")}, "lr: nan is not allowed"),
        ({"epochs": "ten"}, "epochs: 'ten' is not allowed: input should be a valid integer"),
        ({"epochs": True}, "epochs: True is not allowed"),
        ({"split__train": 0.9}, "split: train, validation and test add up to 1.1"),
        ({"survey__classes": {"mask": []}}, "fewer than two classes"),
        ({"dataset__source": "kagle"}, "dataset.source: 'kagle' is not allowed"),
        ({"dataset__source": "archive"}, "dataset: source archive needs path"),
        ({"dataset__source": "kaggle"}, "dataset: source kaggle needs handle"),
        ({"others": {"voc": {"use": "test", "source": "archive"}}}, "others.voc: source archive needs path"),
        ({"others": {"voc": {"use": "test", "source": "kaggle", "handle": "masks"}}}, "others.voc.handle: 'masks'"),
        ({"others": {"voc": {"use": "test", "source": "demo", "images": -5}}}, "others.voc.images: -5 is not allowed"),
        (
            {"others": {"voc": {"use": "test", "source": "demo", "pth": 1}}},
            "pth is not a parameter; did you mean path?",
        ),
        ({"others": {"test": {"use": "test", "source": "demo"}}}, "others: test is the name of a split"),
        ({"decision__label": "masked"}, "decision.label: masked is none of survey.classes"),
        ({"head__units": [64]}, "head: units and dropout must have the same length"),
        ({"train_from": "head"}, "would freeze untrained layers"),
        ({"lr_schedule": None}, "lr_schedule: None is not allowed"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(tmp_path, changes, message):
    write_params(tmp_path, **changes)
    with pytest.raises(UserError) as caught:
        params.load()
    assert message in str(caught.value)
    assert str(caught.value).startswith("params.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_missing_key_and_a_broken_file_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"params.yaml is missing; restore it with: git checkout params.yaml"):
        params.load()
    Path("params.yaml").write_text("lr: [1")
    with pytest.raises(UserError, match="not valid YAML"):
        params.load()
    Path("params.yaml").write_text("lr: 1")
    with pytest.raises(UserError, match=r"params.yaml: seed is missing"):
        params.load()


NAMED_BY_USERS = ("classes", "others")


def leaves(tree: dict, prefix: str = "") -> set[str]:
    nested = (
        leaves(v, f"{prefix}{k}.") if isinstance(v, dict) and k not in NAMED_BY_USERS else {prefix + k}
        for k, v in tree.items()
    )
    return set().union(*nested)


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_is_a_complete_params_file(preset):
    committed = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert leaves(yaml.safe_load(preset.read_text())) == leaves(committed)
    params.load(preset)


def test_weights_that_are_not_there_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"weights: there is no file .*/nowhere.h5; give none, imagenet or"):
        params.weights_file("nowhere.h5")
    Path("here.h5").touch()
    assert params.weights_file("here.h5") == tmp_path / "here.h5"
    assert params.weights_file("none") is None
