"""The demo's accuracy comes from its labels: trained on shuffled ones, it falls to chance."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, arguments_of, stage, write_params


def run(name: str, folder) -> None:
    done = stage(name, *arguments_of(name), folder=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_shuffled_labels_fall_to_chance(tmp_path):
    accuracies = {}
    committed = yaml.safe_load((ROOT / "params.yaml").read_text())
    learning = ("image_size", "alpha", "weights", "train_from", "lr", "epochs", "patience", "batch_size")
    datasets = {"synthetic": {"use": "split", "source": "synthetic", "images": 1200, "size": 64}}
    for labels in ("true", "shuffled"):
        folder = tmp_path / labels
        folder.mkdir()
        write_params(folder, datasets=datasets, **{name: committed[name] for name in learning})
        for name in ("fetch", "survey", "split"):
            run(name, folder)
        if labels == "shuffled":
            manifest = pd.read_csv(folder / "data/manifest.csv")
            trained_on = manifest.split != "test"
            manifest.loc[trained_on, "label"] = np.random.default_rng(0).permutation(manifest.label[trained_on])
            manifest.to_csv(folder / "data/manifest.csv", index=False)
        for name in ("augment", "features", "train", "evaluate"):
            run(name, folder)
        accuracies[labels] = json.loads((folder / "metrics/test.json").read_text())["accuracy"]
    assert accuracies["true"] > 0.85 > 0.45 > accuracies["shuffled"], accuracies
