"""Real photos, the preset as users copy it, the whole pipeline."""

import json
import shutil
import zipfile

import pytest
from conftest import ROOT, checkout, commit, shell

pytestmark = pytest.mark.real


@pytest.fixture
def photos(shared, tmp_path):
    """Four hundred photos, every ninth or so of the archive, with its odd names and formats."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(shared / "data/face-mask-3833.zip") as source, zipfile.ZipFile(path, "w") as target:
        members = [name for name in source.namelist() if not name.endswith("/")]
        for name in members[:: len(members) // 400][:400]:
            target.writestr(name, source.read(name))
    return path


def test_the_archive_preset_makes_a_good_model_from_a_few_photos(photos, shared, tmp_path):
    folder = checkout(tmp_path / "real")
    shutil.copy(ROOT / "presets/archive.yaml", folder / "params.yaml")
    commit(folder, "archive preset")
    weights = shared / "weights/mobilenet_v2_1.0_224_imagenet_no_top.weights.h5"
    settings = [f"dataset.path={photos}", f"weights={weights}", "export.max_accuracy_drop=0.05", "epochs=2"]
    shell("dvc", "exp", "run", *(word for setting in settings for word in ("--set-param", setting)), cwd=folder)
    test = json.loads((folder / "metrics/test.json").read_text())
    export = json.loads((folder / "metrics/export.json").read_text())
    assert set(test["per_class"]) == {"with_mask", "without_mask"}
    assert test["accuracy"] >= 0.95
    assert export["float32"]["agreement"] == 1
    assert export["int8"]["bytes"] < export["float16"]["bytes"] < export["float32"]["bytes"]
