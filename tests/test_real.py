"""Real photos, the preset as users copy it, the whole pipeline."""

import json

import pandas as pd
import pytest
from conftest import archived, arguments_of, stage, write_params

from facemask.core.tables import read_csv

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_near_duplicates_in_a_real_collection_stay_together_and_other_scenes_are_a_split(shared, tmp_path):
    voc = {"use": "test", "source": "archive", "path": str(shared / "data/face-mask-voc-853.zip")}
    write_params(tmp_path, "archive", datasets=archived(shared / "data/face-mask-3833.zip") | {"voc": voc})
    for name in ("fetch", "survey", "split"):
        done = stage(name, *arguments_of(name))
        assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "metrics/data_details.json").read_text())
    assert data["photos"] == 3832
    assert 3300 < data["groups"] < 3420
    near = data["near_duplicates"]
    assert near["across_splits"]["ungrouped"] > 200
    assert near["across_splits"]["grouped"] == 0
    assert 10 < near["left_out"]["voc"] < 30
    assert all(near["pairs"][kind] > 80 for kind in ("identical", "re-encoded", "mirrored", "turned", "cropped"))
    assert near["remaining"]["high"] < 0.02
    assert sum(data["faces"]["voc"].values()) == 996 + 150 - near["left_out"]["voc"]
    assert data["rejects"] == {"of another class": 123, "too small": 2803}


@pytest.mark.slow
def test_the_archive_preset_makes_a_good_model_from_a_few_photos(trained_on_photos):
    folder = trained_on_photos
    test = json.loads((folder / "metrics/test.json").read_text())
    variants = pd.read_csv(folder / "metrics/variants.csv", index_col="variant")
    assert set(pd.read_csv(folder / "metrics/classification_report.csv")["class"]) == {"with_mask", "without_mask"}
    assert test["accuracy"] >= 0.95
    assert variants.agreement["float32"] == 1
    assert variants.bytes["int8"] < variants.bytes["float16"] < variants.bytes["float32"]


@pytest.mark.slow
def test_pairs_that_another_method_found_are_in_one_split(shared, tmp_path):
    """Neighbours by a network's features, then SIFT and RANSAC: turned, mirrored and cropped photos."""
    known = pd.read_csv(shared / "notes/leaks-found.csv", dtype=str)[["member", "train"]].to_numpy().tolist()
    photos = archived(shared / "data/face-mask-3833.zip")
    write_params(tmp_path, "archive", datasets=photos)
    for name in ("fetch", "survey"):
        done = stage(name, *arguments_of(name))
        assert done.returncode == 0, done.stderr
    assert len(known) == 31
    for seed in (7, 8, 9):
        write_params(tmp_path, "archive", datasets=photos, seed=seed)
        done = stage("split", *arguments_of("split"))
        assert done.returncode == 0, done.stderr
        split = read_csv(tmp_path / "data/manifest.csv").set_index("member").split
        apart = [pair for pair in known if split[pair[0]] != split[pair[1]]]
        assert len(apart) <= 1, apart
