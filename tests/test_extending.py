"""What docs/extending.md says: each change in a copy of the code, in the files that it names and no other."""

# ruff: noqa: E501

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TINY, changed
from ruamel.yaml import YAML

PAGE = (ROOT / "docs/extending.md").read_text()

SOURCE = '''
"""Photos of one colour."""

from typing import Literal

from facemask.data.archive import write_archive
from facemask.data.sources.dataset import Dataset


class Blank(Dataset):
    """How many photos."""

    source: Literal["blank"]
    images: int


def fetch(dataset, destination):
    """Write them."""
    write_archive(destination, [(f"mask/{number}.txt", b"blank") for number in range(dataset.images)])
    return {"name": "blank", "version": None, "licence": None}
'''

NETWORK = '''
"""The mean colour."""


def build(image_size):
    """One pooling layer."""
    import keras

    pixels = keras.Input((image_size, image_size, 3), dtype="uint8")
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels)))
'''

DETECTOR = '''
"""One face in the middle."""

from facemask.data.boxes import Box
from facemask.inference.detectors import Face


class Middle:
    """Takes no weights."""

    def __call__(self, pixels):
        height, width = pixels.shape[:2]
        return [Face(Box(width // 4, height // 4, 3 * width // 4, 3 * height // 4), 1.0)]
'''

METRICS = """
import numpy as np
from facemask.evaluation import metrics
labels = np.arange(40) % 2
found = metrics.score(labels, np.eye(2)[labels], np.where(np.arange(40) < 8, 0, labels), np.arange(40), ["a", "b"], 0)
table = metrics.scores_table({"test": found}).set_index("score")
"""

# What to change: (file, text, what stands for it), or (file, its content); then a program that uses it.
CHANGES = {
    "a dataset source": (
        [
            ("facemask/data/sources/blank.py", SOURCE),
            ("facemask/data/sources/__init__.py", "import kaggle,", "import blank, kaggle,"),
            ("facemask/data/sources/__init__.py", '"kaggle": kaggle', '"kaggle": kaggle, "blank": blank'),
            ("facemask/data/sources/__init__.py", "| kaggle.Kaggle", "| kaggle.Kaggle | blank.Blank"),
            ("params.yaml", {"datasets": {"mine": {"use": "split", "source": "blank", "images": 3}}}),
        ],
        "import subprocess, sys; print(subprocess.check_output([sys.executable, '-m', 'stages.fetch', 'raw=raw']))",
        "mine: 3 files",
    ),
    "a network": (
        [
            ("facemask/networks/mean.py", NETWORK),
            ("facemask/networks/__init__.py", "import alexnet,", "import mean, alexnet,"),
            ("facemask/networks/__init__.py", '"cnn": cnn.build', '"cnn": cnn.build, "mean": mean.build'),
        ],
        "from facemask import networks; print(networks.build_backbone('mean', 1.0, 'none', 32).output_shape)",
        "(None, 3)",
    ),
    "a metric": (
        [
            ("facemask/evaluation/metrics.py", '"accuracy", "balanced_accuracy", "precision"', '"accuracy", "error", "balanced_accuracy", "precision"'),
            ("facemask/evaluation/metrics.py", 'return {"accuracy": accuracy}', 'return {"accuracy": accuracy, "error": 1 - accuracy}'),
        ],
        METRICS + "print([round(float(end), 3) for end in table.loc['error'].tolist()[1:]])",
        "[0.1, 0.025, 0.2]",
    ),
    "an augmentation": (
        [
            ("facemask/data/augmentation.py", "    erase: Probability\n", "    erase: Probability\n    invert: Probability\n"),
            ("facemask/data/augmentation.py", "    size = len(pixels)\n    if rng.random() < augment.low", "    size = len(pixels)\n    pixels = 255 - pixels if rng.random() < augment.invert else pixels\n    if rng.random() < augment.low"),
            ("params.yaml", {"augment.invert": 1.0, "augment.brightness": 0.0, "augment.jpeg": 0.0}),
        ],
        "import numpy as np\nfrom facemask.core import params\nfrom facemask.data.augmentation import alter\n"
        "from stages.augment import Settings\naugment = params.load(Settings).augment\n"
        "print(alter(np.full((8, 8, 3), 250, np.uint8), augment, np.random.default_rng(0)).max())",
        "5",
    ),
    "a face detector": (
        [
            ("facemask/inference/detectors/middle.py", DETECTOR),
            ("facemask/inference/detectors/__init__.py", "DETECTORS = {", "def open_middle(weights, sizes):\n    from facemask.inference.detectors.middle import Middle\n\n    return Middle()\n\n\nDETECTORS = {\"middle\": open_middle, "),
        ],
        "import numpy as np\nfrom facemask.inference.detectors import DETECTORS\n"
        "print(DETECTORS['middle'](None, [320])(np.zeros((40, 80, 3), np.uint8))[0].box)",
        "Box(left=20, top=10, right=60, bottom=30)",
    ),
    "an export format": (
        [
            ("facemask/engines/variants.py", '"float16", "int8")', '"float16", "int8", "int4")'),
            ("facemask/engines/variants.py", 'if variant == "int8":', 'if variant == "int4":\n        steps.add_weight_only_config(**everywhere, num_bits=4)\n    if variant == "int8":'),
        ],
        "from facemask.engines import litert, variants\n"
        "import keras\nmodel = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])\n"
        "sizes = [len(variants.quantise(litert.convert(model), name, None)) for name in ('float32', variants.VARIANTS[-1])]\n"
        "print(sizes[1] < sizes[0] / 2)",
        "True",
    ),
    "a column of the manifest": (
        [
            ("facemask/data/examination.py", 'found = {"member": member,', 'found = {"bytes": len(content), "member": member,'),
            ("facemask/data/examination.py", 'FOUND = ["dataset",', 'FOUND = ["dataset", "bytes",'),
            ("stages/survey.py", 'FACE = ["dataset",', 'FACE = ["dataset", "bytes",'),
        ],
        "import subprocess, sys\nfrom pathlib import Path\nfrom conftest import arguments_of\nimport pandas as pd\n"
        "for name in ('fetch', 'survey', 'split'):\n"
        "    subprocess.check_output([sys.executable, '-m', f'stages.{name}', *arguments_of(name)])\n"
        "print((pd.read_csv('data/manifest.csv').bytes > 500).all())",
        "True",
    ),
    "the confidence level of all intervals": (
        [("facemask/evaluation/metrics.py", "CONFIDENCE = 0.95", "CONFIDENCE = 0.5")],
        METRICS + "print(metrics.INTERVAL, [float(end) for end in table.loc['accuracy'].tolist()[1:]])",
        "50 % interval [0.9, 0.875, 0.925]",
    ),
}  # fmt: skip


def files_of(change: str) -> set[str]:
    """The files that the page names for a change, NAME.py as *.py."""
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| {change} |")]
    return {file.replace("NAME", "*") for file in re.findall(r"`([\w./]+\.(?:py|yaml))`", row)}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_touches_the_files_that_the_page_names(change, tmp_path):
    for folder in ("facemask", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    yaml = YAML()
    params = changed(yaml.load(ROOT / "params.yaml"), TINY)
    edits, program, expected = CHANGES[change]
    for name, *edit in edits:
        file = tmp_path / name
        if name == "params.yaml":
            params = changed(params, edit[0])
        elif len(edit) == 1:
            assert not file.exists()
            file.write_text(edit[0].lstrip())
        else:
            text, replacement = edit
            assert file.read_text().count(text) == 1, f"{text!r} in {name}"
            file.write_text(file.read_text().replace(text, replacement))
        pages = files_of(change) | {"params.yaml"}  # a dataset is named there, whatever its source
        assert any(Path(name).match(page) for page in pages), name
    yaml.dump(params, tmp_path / "params.yaml")
    shutil.copy(ROOT / "corrections.csv", tmp_path)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert expected in done.stdout, done.stdout + done.stderr


def test_every_file_that_the_page_names_is_there():
    for file in re.findall(r"`((?:facemask|stages)/[\w./]+\.py|dvc\.yaml|params\.yaml)`", PAGE):
        assert (ROOT / file.replace("NAME.py", "__init__.py")).is_file(), file
