"""Tell whoever is handed the detector what it is, what it was taught, how good it is and where it fails.

Reads what the other stages wrote down; writes the model card as Markdown.
"""

import json
from pathlib import Path

import pandas as pd

from facemask.core import cli, params
from facemask.core.files import read_csv, write_text
from facemask.core.params import Float, Section, Side
from facemask.evaluation.markdown import table, with_interval
from facemask.evaluation.metrics import INTERVAL

WORDS = {
    "map50": "mAP50, all classes",
    "map50_merged": "mAP50, classes merged",
    "map50_faces": "mAP50, faces of any class",
    "map50_95": "mAP50-95",
    "map50_small": "mAP50, faces below 32 x 32 pixels",
    "map50_medium": "mAP50, below 96 x 96",
    "map50_large": "mAP50, larger",
    "recall_20": "found, of faces of at least 20 pixels",
    "right_20": "found and called right, of these",
    "recall_32": "found, of faces of at least 32 pixels",
    "right_32": "found and called right, of these",
    "precision": "right, of all boxes shown",
}


class Settings(Section):
    """The parameters that the sentences speak of; the card shows all of them."""

    image_size: Side
    model: str
    alpha: Float
    weights: str
    train_from: str


def numbers(scores: pd.DataFrame) -> str:
    """The scores of every test set."""
    cells = {
        (row.test_set, row.score): with_interval(f"{row.value:.4f}", row.low, row.high)
        for row in scores.itertuples()
        if not pd.isna(row.value)
    }
    sets = list(scores.test_set.unique())
    rows = [[words, *(cells.get((name, score), "") for name in sets)] for score, words in WORDS.items()]
    return table(["", *sets], rows)


def main(
    parameters: Path,
    raw: Path,
    details: Path,
    threshold: Path,
    scores: Path,
    report: Path,
    comparison: Path,
    card: Path,
) -> str:
    settings = params.load(Settings, parameters)
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
        if row.faces
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

A {settings.model} of width {settings.alpha:g} that looks at a whole photo in a square of {settings.image_size} pixels
and says where faces are and of which class. It began with weights: {settings.weights}; train_from:
{settings.train_from}.

## How good it is

The {INTERVAL}s are bootstrapped over scenes, near-duplicates drawn together. Sizes are in pixels of the photo. Boxes
are shown from a score of {least:.3f} on, where F1 on validation is best; mAP counts all.

{numbers(read_csv(scores))}

{table(["test set", "class", "faces", "AP50", "AP50-95"], classes)}

{table(["file", "test mAP50", "MB"], variants)}

## What it was taught

{table(["", "source", "name", "licence", "files", "fingerprint"], origins)}

{table(["split", "scenes", *labels], faces)}

- {sum(data["scenes"].values()):,} scenes are {data["groups"]:,} groups; near-duplicates: {pairs}.
- Not used: {rejects}.

![Test scenes](figures/test_scenes.png)

## Limits

- What is scored comes from the same source as what was trained on; other photos will give less.
- Whoever is missing in the data is missing in these figures: they say nothing about a group of people.
- It sees cloth over nose and mouth. It does not know whether a mask protects, and must not decide about a person
  by itself.

```yaml
{parameters.read_text(encoding="utf-8").strip()}
```
""",
    )
    return str(card)


if __name__ == "__main__":
    cli.run(main)
