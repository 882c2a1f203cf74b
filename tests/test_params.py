"""params.yaml: values are read as meant, and errors are one line."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, archived, load_params, write_params

from facemask import networks
from facemask.core import params
from facemask.core.errors import UserError
from facemask.experiments import preset, study
from stages.__main__ import Params, check


@pytest.mark.parametrize("written", ["1e-05", "1e-5", "3e-5", "0.00001", "1.0e-05"])
def test_a_learning_rate_is_a_number_however_it_is_written(tmp_path, written):
    write_params(tmp_path)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace(f"lr: {yaml.safe_load(text)['lr']}", f"lr: {written}"))
    assert load_params().lr == float(written)


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
        ({"datasets__synthetic__source": "kagle"}, "datasets.synthetic.source: 'kagle' is not allowed: give one of"),
        ({"datasets": {"voc": {"use": "split"}}}, "datasets.voc.source is missing"),
        ({"datasets": {"voc": {"use": "split", "source": "archive"}}}, "datasets.voc.path is missing"),
        ({"datasets": {"kaggle": {"use": "split", "source": "kaggle"}}}, "datasets.kaggle.handle is missing"),
        (
            {"datasets": {"voc": {"use": "test", "source": "kaggle", "handle": "masks"}}},
            "datasets.voc.handle: 'masks' is not allowed",
        ),
        ({"datasets__synthetic__images": -5}, "datasets.synthetic.images: -5 is not allowed"),
        ({"datasets__synthetic__use": "tests"}, "datasets.synthetic.use: 'tests' is not allowed"),
        (
            {"datasets": archived("x.zip", pth=1)},
            "datasets.photos.pth is not a parameter; did you mean path?",
        ),
        ({"datasets": {"test": archived("x.zip")["photos"]}}, "datasets: test is the name of a split"),
        ({"datasets": archived("x.zip", "test")}, "datasets: none has use: split"),
        ({"decision__label": "masked"}, "decision.label: masked is none of survey.classes"),
        ({"augment__unmasked": "bare"}, "augment.unmasked: bare is none of survey.classes"),
        ({"head__units": [64]}, "head: units and dropout must have the same length"),
        ({"train_from": "head"}, "would freeze untrained layers"),
        ({"weights": "synthetic", "alpha": 1.0}, "weights: synthetic are of mobilenet_v2 with alpha 0.35"),
        ({"weights": "ImageNet"}, "weights: there is no file "),
        ({"lr_schedule": None}, "lr_schedule: None is not allowed"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(tmp_path, changes, message):
    write_params(tmp_path, **changes)
    with pytest.raises(UserError) as caught:
        load_params()
    assert message in str(caught.value)
    assert str(caught.value).startswith("params.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("alpha", -1.0), ("alpha", 5.0), ("model", "No Such")])
def test_what_the_strictest_stage_refuses_is_refused_before_the_first(tmp_path, name, value):
    write_params(tmp_path, **{name: value})
    with pytest.raises(UserError, match=rf"^params.yaml: {name}: .*{value} ?'? is not allowed"):
        check()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"on": ["mask"], "off": ["Mask"]}, "survey: classes: Mask means both on and off"),
        ({"with_mask": [], "WithMask": []}, "survey: classes: WithMask means both with_mask and WithMask"),
        ({"masqu\u00e9": [], "b": ["masque\u0301"]}, "means both masqu\u00e9 and b"),
        ({"on": [], " ": []}, "survey: classes: ' ' is no name"),
        ({"on": [], "o\nff": []}, "survey: classes: 'o\\nff' is no name"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(tmp_path, classes, message):
    write_params(tmp_path, survey__classes=classes, decision__label=next(iter(classes)))
    with pytest.raises(UserError) as caught:
        load_params()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["lr: " + "[" * 100_000, "lr: " + "[" * 900 + "]" * 900, "lr: {a: " * 50_000, "\n".join([
        "a: &a0 [x, x]", *(f"a{n}: &a{n + 1} [*a{n}, *a{n}, *a{n}, *a{n}]" for n in range(40)), "lr: *a40"])],
    ids=["open", "closed", "mappings", "anchors"],
)  # fmt: skip
def test_a_deeply_nested_file_is_one_short_line(tmp_path, text):
    write_params(tmp_path)
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("lr: 0.003", text, 1))
    with pytest.raises(UserError) as caught:
        load_params()
    assert len(str(caught.value)) < 10_000
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "nested",
    ["[" * 3000, "{a: " * 3000, "[" * 350 + "]" * 350, "[" * 250 + "]" * 250],
    ids=["lists", "mappings", "closed", "less"],
)
def test_a_deeply_nested_file_is_one_line_to_the_commands_that_rewrite_or_add_to_it(tmp_path, nested):
    write_params(tmp_path)
    before = Path("params.yaml").read_text() + f"deep: {nested}\n"
    Path("params.yaml").write_text(before)
    (tmp_path / "presets").mkdir()
    Path("presets/small.yaml").write_text("lr: 0.1\n")
    with pytest.raises(UserError, match=r"^params.yaml is n[^\n]*$"):
        preset.main("small")
    assert Path("params.yaml").read_text() == before
    Path("study.yaml").write_text(before)
    with pytest.raises(UserError, match=r"^study.yaml (is n|must give)[^\n]*$"):
        study.load(Path("study.yaml"))


def test_a_missing_key_and_a_broken_file_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"params.yaml is missing; restore it with: git checkout params.yaml"):
        load_params()
    Path("params.yaml").write_text("lr: [1")
    with pytest.raises(UserError, match="not valid YAML"):
        load_params()
    Path("params.yaml").write_text("lr: 1")
    with pytest.raises(UserError, match=r"params.yaml: seed is missing"):
        load_params()


PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))


COMPLETE = [name for name in PRESETS if name != "photos"]  # the others extend that


def use_preset(name: str) -> str:
    """Write a preset into params.yaml; return the content of the file."""
    preset.main(name)
    load_params()
    return Path("params.yaml").read_text()


def test_presets_do_not_depend_on_the_former_one_and_keep_comments(tmp_path):
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    committed = (ROOT / "params.yaml").read_text()
    alone = {}
    for name in COMPLETE:
        Path("params.yaml").write_text(committed)
        alone[name] = use_preset(name)
        assert re.findall("# .*", alone[name]) == re.findall("# .*", committed)
        assert yaml.safe_load(alone[name]).keys() == yaml.safe_load(committed).keys()
    for name in [*COMPLETE[::-1], *COMPLETE]:
        assert use_preset(name) == alone[name]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_holds_only_what_differs(name):
    content = preset.reader().load(ROOT / "presets" / f"{name}.yaml")
    base = preset.load(content.pop("extends", "photos"), ROOT / "presets") if name != "photos" else {}

    def repeated(tree, beneath) -> list[str]:
        return [
            key for key, value in tree.items()
            if key in beneath and (
                repeated(value, beneath[key])
                if isinstance(value, dict) and key not in preset.NAMED_BY_USERS
                else value == beneath[key]
            )
        ]  # fmt: skip

    assert repeated(content, base) == []


def test_a_missing_preset_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^there is no preset kaggle; give one of: archive, kaggle-12k"):
        preset.load("kaggle", ROOT / "presets")


def test_missing_weights_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"weights: there is no file .*/nowhere.h5; give none, imagenet, synthetic or"):
        networks.weights_file("nowhere.h5")
    Path("here.h5").touch()
    assert networks.weights_file("here.h5") == tmp_path / "here.h5"
    assert [networks.weights_file(name) for name in ("none", "imagenet")] == [None] * 2


def test_the_benchmark_trains_with_valid_parameters(monkeypatch):
    from benchmarks import speed

    monkeypatch.chdir(ROOT)
    content = yaml.safe_load(speed.settings(Path("photos.zip"), networks.SYNTHETIC))
    chosen = params.validate(Params, content)
    assert (chosen.datasets["photos"].path, chosen.augment.copies, chosen.train_from) == ("photos.zip", 0, "head")
