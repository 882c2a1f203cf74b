"""The dataset card: which photos there are, from where, and what is known to be wrong with them.

After T. Gebru et al., "Datasheets for datasets", Communications of the ACM 64, 2021. Every figure is read from a file.
"""

from typing import Any

import pandas as pd

from facemask.evaluation.markdown import table
from facemask.evaluation.metrics import INTERVAL

TELLING = 0.1  # a source that raises the share of guessed classes by this much gives the class away


def origins(records: dict[str, dict[str, Any]]) -> str:
    """Where each dataset is from, under which licence, and the fingerprint of its content."""
    rows = [
        [
            name,
            record["source"],
            record["name"] + (f", version {record['version']}" if record["version"] else ""),
            record["licence"] or "not stated",
            f"{record['files']:,}",
            f"`{record['sha256'][:16]}`",
        ]
        for name, record in records.items()
    ]
    return table(["", "source", "name", "licence", "files", "fingerprint"], rows)


def faces_by(manifest: pd.DataFrame, column: str) -> str:
    """Faces of each class, by dataset or split."""
    counts = pd.crosstab(manifest[column], manifest.label)
    return table([column, *counts], [[name, *(f"{count:,}" for count in row)] for name, *row in counts.itertuples()])


def sizes(manifest: pd.DataFrame) -> str:
    """The shorter side of the faces of each dataset, in pixels."""
    side = manifest[["width", "height"]].min(axis=1).groupby(manifest.dataset)
    rows = [[name, *(f"{value:.0f}" for value in values.quantile([0, 0.25, 0.5, 0.75, 1]))] for name, values in side]
    return table(["shorter side of a face, pixels", "minimum", "25 %", "median", "75 %", "maximum"], rows)


def guessed(labels: pd.Series, known: pd.Series) -> float:
    """The mean recall of the classes, if each face were given the class most frequent, of its share, where it is from.

    Parameters
    ----------
    labels, known : Series
        Class and dataset of each face.

    Returns
    -------
    float
        1 / classes if the dataset says nothing about the class, 1 if it says all.
    """
    shares = pd.crosstab(known, labels, normalize="columns")
    return float(shares.max(axis=1).sum() / shares.shape[1])


def sources(manifest: pd.DataFrame, told_apart: float | None) -> str:
    """Whether a model could learn the source of a face instead of its class.

    Parameters
    ----------
    told_apart : float or None
        Balanced accuracy of a classifier of datasets, of faces it has not seen; None if there is none.
    """
    training = manifest[manifest.split == "train"]
    used, classes = training.dataset.nunique(), training.label.nunique()
    lines = []
    if told_apart is not None:
        count = manifest.dataset.nunique()
        lines.append(
            f"A logistic regression on the features tells the datasets apart with a balanced accuracy of "
            f"{told_apart:.4f} ({1 / count:.4f} by chance), on faces of groups that it has not seen."
        )
    if used > 1:
        best = guessed(training.label, training.dataset)
        lines.append(
            f"Who knows the dataset of a training face alone guesses its class with a balanced accuracy of {best:.4f} "
            f"({1 / classes:.4f} by chance)."
        )
        if best > 1 / classes + TELLING and (told_apart is None or told_apart > 1 / count + TELLING):
            lines.append(
                "**Warning**: so a model can learn where a photo is from instead of the class. Add photos of every "
                "class from every source, and trust the external test sets more than the test split."
            )
    return "\n".join(f"- {line}" for line in lines) or "All faces are from one dataset."


def near_duplicates(details: dict[str, Any], method: str) -> str:
    """Near-duplicates, leakage between splits, and what was left out."""
    near = details["near_duplicates"]
    rejects = ", ".join(f"{count:,} {kind}" for kind, count in details["rejects"].items()) or "none"
    pairs = ", ".join(f"{count:,} {kind}" for kind, count in near["pairs"].items()) or "none"
    divided = "As the archive splits them," if method == "given" else "Split one by one,"
    lines = [
        f"{details['photos']:,} photos are {details['groups']:,} groups of near-duplicates or of one scene; "
        f"{details['groups_across_labels']:,} groups hold more than one label.",
        f"{near['compared']:,} candidate pairs were compared. Near-duplicates: {pairs}.",
        f"{divided} {near['across_splits']['ungrouped']:,} faces would have had a near-duplicate that was found, or "
        f"another face of their scene, in a later split; {near['across_splits']['grouped']:,} have.",
        f"Not used: {rejects}.",
    ]
    if left := near["remaining"]:
        lines.append(
            f"What was not found: of a random sample of {left['sampled']:,} photos, {left['found']:,} have a "
            f"near-duplicate outside their group under looser limits, which pass different photos too: "
            f"{left['low']:.2%} to {left['high']:.2%} of all ({INTERVAL}), or at most "
            f"{left['test_photos_at_most']:g} of the test photos."
        )
    else:
        lines.append("Only identical files were looked for; how many near-duplicates are left was not estimated.")
    for name, count in near["left_out"].items():
        if count:
            lines.append(f"{count:,} faces of {name} are left out: near-duplicates of faces in another split.")
    return "\n".join(f"- {line}" for line in lines)


def doubtful_labels(issues: pd.DataFrame | None, manifest: pd.DataFrame) -> str:
    """How many labels are doubtful, by dataset; None if they were not audited."""
    if issues is None:
        return "The labels were not audited: nothing was frozen."
    corrected = int((manifest.given != manifest.label).sum())
    rows = [
        [name, f"{len(faces):,}", f"{(found := int((issues.dataset == name).sum())):,}", f"{found / len(faces):.2%}"]
        for name, faces in manifest.groupby("dataset")
    ]
    return (
        f"{table(['dataset', 'faces', 'doubtful labels', 'of all'], rows)}\n\nA label is doubtful where a model fitted "
        "on the other groups predicts another class, or a near-duplicate has another label; `metrics/label_issues.png` "
        f"shows the most doubtful. They were used as they are. A person has corrected {corrected:,} labels."
    )


def write(
    records: dict[str, dict[str, Any]],
    manifest: pd.DataFrame,
    details: dict[str, Any],
    issues: pd.DataFrame | None,
    told_apart: float | None,
    method: str,
) -> str:
    """The card, as Markdown.

    Parameters
    ----------
    records : dict
        What `fetch` says of each dataset.
    manifest : DataFrame
        Every face that is used: dataset, split, label, given, width, height.
    details : dict
        What `split` says of near-duplicates and rejects.
    issues : DataFrame or None
        The doubtful labels; None if they were not audited.
    told_apart : float or None
        Balanced accuracy of a classifier of datasets.
    method : str
        `split.method`.
    """
    return f"""# Dataset card

## Where the photos are from

{origins(records)}

## Faces

{faces_by(manifest, "split")}

{faces_by(manifest, "dataset")}

{sizes(manifest)}

## Does the source give the class away?

{sources(manifest, told_apart)}

## Near-duplicates and leakage

{near_duplicates(details, method)}

## Labels

{doubtful_labels(issues, manifest)}
"""
