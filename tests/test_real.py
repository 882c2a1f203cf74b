"""Real photos, the preset as users copy it, the whole pipeline."""

import json

import pytest
from conftest import archived, arguments_of, stage, train_on_photos, write_params

pytestmark = pytest.mark.real


def test_copies_in_a_real_collection_stay_together_and_other_scenes_are_a_split(shared, tmp_path):
    voc = {"use": "test", "source": "archive", "path": str(shared / "data/face-mask-voc-853.zip")}
    write_params(tmp_path, "archive", datasets=archived(shared / "data/face-mask-3833.zip") | {"voc": voc})
    for name in ("fetch", "survey", "split"):
        done = stage(name, *arguments_of(name))
        assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "metrics/data.json").read_text())
    assert data["photos"] == 3832
    assert 3400 < data["groups"] < 3600
    assert data["leaks"]["ungrouped"] > 100
    assert data["leaks"]["left"] == data["groups_across_labels"] == data["copies_of_training"]["voc"] == 0
    assert data["faces"]["voc"] == {"with_mask": 996, "without_mask": 150}
    assert data["rejects"] == {"of another class": 123, "too small": 2803}


def test_the_archive_preset_makes_a_good_model_from_a_few_photos(photos, shared, tmp_path):
    folder = train_on_photos(tmp_path / "real", photos, shared)
    test = json.loads((folder / "metrics/test.json").read_text())
    export = json.loads((folder / "metrics/export.json").read_text())
    assert set(test["per_class"]) == {"with_mask", "without_mask"}
    assert test["accuracy"] >= 0.95
    assert export["float32"]["agreement"] == 1
    assert export["int8"]["bytes"] < export["float16"]["bytes"] < export["float32"]["bytes"]
