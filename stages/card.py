"""Write the model card, what the model is, how good it is and where it fails, and the card of its datasets.

Reads outputs of the other stages; writes Markdown, after M. Mitchell et al., "Model cards for model reporting",
FAT* 2019, and the kind of machine that trained the model. Every figure is read from a file.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from facemask import networks
from facemask.core import cli, params
from facemask.core.files import write_json, write_text
from facemask.core.params import Float, Section, Side
from facemask.core.tables import read_csv
from facemask.data.faces import Survey
from facemask.data.splits import Split
from facemask.evaluation import dataset_card
from facemask.evaluation.markdown import table, with_interval
from facemask.evaluation.metrics import INTERVAL, SCORES

ERRORS_SHOWN = 5


class Settings(Section):
    """The parameters that this stage reads; the card shows all of params.yaml."""

    image_size: Side
    model: str
    alpha: Float
    weights: str
    train_from: str
    survey: Survey
    split: Split


def network(settings: Settings) -> str:
    """The network, its initial weights and which part of it was trained."""
    trained = {
        "head": "Only the head was trained",
        "input": "The whole network was trained",
    }.get(settings.train_from, f"It was trained from the layer {settings.train_from} on")
    synthetic = networks.synthetic_record()
    pretrained = (
        f"pretrained on {synthetic['faces']:,} other synthetic faces, none with a mask, to predict "
        f"{len(synthetic['r2_by_attribute'])} attributes: pose, hair, colours and which parts of the face a patch "
        f"covers (`make pretrain`, seed {synthetic['seed']}, mean R² "
        f"{synthetic['r2']:.2f} on {synthetic['held_out']:,} held-out faces, sha256 `{synthetic['sha256'][:16]}`)"
    )
    weights = {"none": "random initialisation", "imagenet": "ImageNet", "synthetic": pretrained}.get(
        settings.weights, "from a file"
    )
    return (
        f"A {settings.model} with width multiplier {settings.alpha:g} for photos of {settings.image_size} x "
        f"{settings.image_size} pixels. Classes: {', '.join(sorted(settings.survey.classes))}. "
        f"Initial weights: {weights}. {trained}."
    )


def score_tables(scores: pd.DataFrame, report: pd.DataFrame) -> str:
    """Scores of every test set, then of its classes; empty where one is undefined, such as the ROC AUC of one class."""
    cells = {
        (row.test_set, row.score): with_interval(f"{row.value:.4f}", row.low, row.high) for row in scores.itertuples()
    }
    photos = report.groupby("test_set", sort=False).photos.sum()
    overall = table(
        ["", *photos.index],
        [
            ["photos", *photos],
            *([score.replace("_", " "), *(cells.get((name, score), "") for name in photos.index)] for score in SCORES),
        ],
    )
    classes = table(
        ["test set", "class", "photos", "precision", "recall", "F1"],
        [
            [row.test_set, row[2], row.photos, *(f"{value:.4f}" for value in (row.precision, row.recall, row.f1))]
            for row in report[report.photos > 0].itertuples()
        ],
    )
    return f"{overall}\n\n{classes}"


def robustness(slices: pd.DataFrame, corruptions: pd.DataFrame) -> str:
    """Accuracy by corruption and severity, and the slices with an interval below the rest."""
    grid = corruptions.pivot_table("accuracy", "corruption", "severity", sort=False)
    rows = [
        [name.replace("_", " "), *(f"{value:.3f}" for value in row)]
        for name, row in zip(grid.index, grid.to_numpy(), strict=True)
    ]
    below = [
        f"- {row.test_set}, {row.attribute} {row.slice}: {with_interval(f'{row.accuracy:.4f}', row.low, row.high)} on "
        f"{row.photos:,} faces, {row.rest:.4f} on the rest"
        for row in slices[slices.below_rest == 1].itertuples()
    ]
    found = "Slices whose accuracy lies, with its whole interval, below that of the rest:\n\n" + "\n".join(below)
    none = "No slice by size, aspect, brightness, sharpness, dataset or an attribute of the user's lies below the rest."
    return (
        f"{table(['corruption', *grid.columns], rows)}\n\nBy severity; 0 is the same {corruptions.photos.max():,} test "
        "faces as they are. Patch, hand and scarf are drawn on unmasked faces alone, and compared with those.\n\n"
        f"{found if below else none}"
    )


def decision_rule(rule: dict[str, Any]) -> str:
    """The decision rule, and how the probabilities were calibrated."""
    if rule["threshold"] is None:
        label = "The predicted class is the argmax of the probabilities."
    else:
        label = (
            f"The predicted class is {rule['label']} from a probability of {rule['threshold']:.4f} on, where its "
            f"recall on validation is at least {100 * rule['recall']:g}%; below it, the argmax of the other classes."
        )
    if rule["temperature"] is None:
        return f"{label} The probabilities are not calibrated."
    return f"{label} Temperature scaling: the logits were divided by {rule['temperature']:.3f}, fitted on validation."


def confident_errors(predictions: pd.DataFrame) -> str:
    """The errors on the test split with the highest confidence."""
    wrong = predictions[predictions.label != predictions.predicted]
    wrong = wrong.sort_values("confidence", ascending=False, kind="stable").head(ERRORS_SHOWN)
    if wrong.empty:
        return "No errors on the test split."
    rows = [[f"`{row.member}`", row.label, row.predicted, f"{row.confidence:.4f}"] for row in wrong.itertuples()]
    return table(["photo", "label", "predicted", "confidence"], rows)


def main(
    parameters: Path,
    raw: Path,
    manifest: Path,
    data: Path,
    decision: Path,
    scores: Path,
    report: Path,
    predictions: Path,
    slices: Path,
    corruptions: Path,
    comparison: Path,
    issues: Path,
    sources: Path,
    machine: Path,
    card: Path,
    datasheet: Path,
    made_on: Path,
) -> str:
    settings = params.load(Settings, parameters)
    read = {path: json.loads(path.read_text()) for path in (data, decision, sources, machine)}
    faces = read_csv(manifest, columns=["dataset", "label", "given", "width", "height", "split"])
    doubtful = None if settings.train_from == "input" else read_csv(issues)
    records = {path.stem: json.loads(path.read_text()) for path in sorted(raw.glob("*.json"))}
    variants = table(
        ["file", "test accuracy", "same class as evaluated", "MB"],
        [
            [f"{one.variant}.tflite", f"{one.accuracy:.4f}", f"{one.agreement:.4f}", f"{one.bytes / 1e6:.1f}"]
            for one in read_csv(comparison).itertuples()
        ],
    )
    write_text(
        datasheet,
        dataset_card.write(records, faces, read[data], doubtful, read[sources]["told_apart"], settings.split.method),
    )
    write_json(made_on, read[machine])
    values = yaml.safe_dump(yaml.safe_load(parameters.read_text()), sort_keys=False)
    write_text(
        card,
        f"""# Model card

{network(settings)}

## Evaluation

The {INTERVAL}s are bootstrapped over groups of near-duplicates: they cover the choice of test photos, not the seed.

{score_tables(read_csv(scores), read_csv(report))}

{decision_rule(read[decision])}

{variants}

## Slices and corruptions

{robustness(read_csv(slices), read_csv(corruptions))}

## Datasets

{dataset_card.faces_by(faces, "split")}

From {", ".join(records)}. Origin, licences, near-duplicates and doubtful labels: [dataset card]({datasheet.name}).

## Most confident errors

{confident_errors(read_csv(predictions))}

![The most confident errors](figures/test_mistakes.png)

## Limits

- It is for faces that fill the photo: crop them first, {settings.survey.margin:.0%} wider than the face on every side.
  It was not evaluated on marked faces below {settings.survey.min_size} pixels.
- The test split has the same source as the training data. Scores on an external test set are closer to those on your
  own photos.
- Near-duplicates with hardly any texture, and some that are largely covered, are not recognised: such photos may be in
  train and test.
- People who are missing in the data are missing in these scores: they say nothing about a group of people.
- It sees cloth over nose and mouth. It does not know whether a mask protects, and must not decide about a person
  by itself.

## Versions and parameters

Made by `dvc repro` at the commit that holds this card.

{table(["trained with", ""], [list(item) for item in read[machine].items()])}

```yaml
{values.strip()}
```
""",
    )
    return str(card)


if __name__ == "__main__":
    cli.run(main)
