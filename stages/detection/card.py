"""Write the detector card: what the detector is, what it was trained on, how good it is and where it fails.

Reads outputs of the other stages; writes Markdown. Every figure in it is read from a file.
"""

import json
from pathlib import Path

import pandas as pd

from facemask.core import cli, params
from facemask.core.files import write_json, write_text
from facemask.core.params import Float, Section, Side
from facemask.core.tables import read_csv
from facemask.evaluation.markdown import table, with_interval
from facemask.evaluation.metrics import INTERVAL

NAMES = {
    "map50": "mAP50, all classes",
    "map50_merged": "mAP50, classes merged",
    "map50_faces": "mAP50, faces of any class",
    "map50_95": "mAP50-95",
    "map50_small": "mAP50, faces below 32 x 32 pixels",
    "map50_medium": "mAP50, below 96 x 96",
    "map50_large": "mAP50, larger",
    "recall_20": "detection recall, faces of at least 20 pixels",
    "right_20": "end-to-end recall, of these",
    "recall_32": "detection recall, faces of at least 32 pixels",
    "right_32": "end-to-end recall, of these",
    "precision": "precision of all boxes shown, end-to-end",
}


class Settings(Section):
    """The parameters that this stage reads; the card shows all of detection/params.yaml."""

    image_size: Side
    model: str
    alpha: Float
    weights: str
    train_from: str


def numbers(scores: pd.DataFrame) -> str:
    """The scores of every test set."""
    cells = {
        (row.test_set, row.score): with_interval(f"{row.value:.4f}", row.low, row.high) for row in scores.itertuples()
    }
    sets = list(scores.test_set.unique())
    rows = [[words, *(cells.get((name, score), "") for name in sets)] for score, words in NAMES.items()]
    return table(["", *sets], rows)


def main(
    parameters: Path,
    raw: Path,
    details: Path,
    threshold: Path,
    scores: Path,
    report: Path,
    comparison: Path,
    machine: Path,
    card: Path,
    made_on: Path,
) -> str:
    settings = params.load(Settings, parameters)
    kind = json.loads(machine.read_text())
    write_json(made_on, kind)
    data, least = json.loads(details.read_text()), json.loads(threshold.read_text())["score"]
    records = {path.stem: json.loads(path.read_text()) for path in sorted(raw.glob("*.json"))}
    splits = sorted(data["scenes"])
    labels = sorted({label for counts in data["faces"].values() for label in counts})
    faces = [
        [split, data["scenes"][split], *(data["faces"][split].get(label, 0) for label in labels)] for split in splits
    ]
    origins = [
        [
            name,
            one["source"],
            one["name"],
            one["licence"] or "not stated",
            f"{one['files']:,}",
            f"`{one['sha256'][:16]}`",
        ]
        for name, one in records.items()
    ]
    classes = [
        [row.test_set, row[2], row.faces, with_interval(f"{row.ap50:.4f}", row.low, row.high), f"{row.ap50_95:.4f}"]
        for row in read_csv(report).itertuples()
    ]
    variants = [
        [f"{one.variant}.tflite", f"{one.map50:.4f}", f"{one.bytes / 1e6:.1f}"]
        for one in read_csv(comparison).itertuples()
    ]
    rejects = ", ".join(f"{count:,} {kind}" for kind, count in data["rejects"].items()) or "none"
    pairs = ", ".join(f"{count:,} {kind}" for kind, count in data["near_duplicates"].items()) or "none"
    write_text(
        card,
        f"""# Detector card

A {settings.model} with width multiplier {settings.alpha:g} for whole photos, letterboxed to {settings.image_size}
pixels: the boxes of faces, and the class of each. Initial weights: {settings.weights};
train_from: {settings.train_from}.

## Evaluation

The {INTERVAL}s are bootstrapped over groups of near-duplicate scenes. Sizes are in pixels of the photo. A box is shown
from a score of {least:.3f} on, where F1 on validation is highest; mAP counts all. End-to-end: detected, and of the
right class.

{numbers(read_csv(scores))}

{table(["test set", "class", "faces", "AP50", "AP50-95"], classes)}

{table(["file", "test mAP50", "MB"], variants)}

## Datasets

{table(["", "source", "name", "licence", "files", "fingerprint"], origins)}

{table(["split", "scenes", *labels], faces)}

- {sum(data["scenes"].values()):,} scenes are {data["groups"]:,} groups; near-duplicates: {pairs}.
- Not used: {rejects}.

![Test scenes](figures/test_scenes.png)

## Limits

- The test split has the same source as the training data; scores on other photos will be lower.
- People who are missing in the data are missing in these scores: they say nothing about a group of people.
- It sees cloth over nose and mouth. It does not know whether a mask protects, and must not decide about a person
  by itself.

## Versions and parameters

{table(["trained with", ""], [list(item) for item in kind.items()])}

```yaml
{parameters.read_text(encoding="utf-8").strip()}
```
""",
    )
    return str(card)


if __name__ == "__main__":
    cli.run(main)
