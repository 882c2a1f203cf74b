"""Look at every scene, decide in which split it is, and make all of them equal squares.

Reads the datasets; writes the shards with the tables of their faces, a manifest with a row a face, what cannot be used
and why, and what the data amounts to. Near-duplicate scenes form a group, and a group never spans two splits.
"""

import functools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from facemask.core import cli, parallel, params
from facemask.core.errors import UserError
from facemask.core.files import replacing, write_json
from facemask.core.params import Section, Seed, Side
from facemask.core.tables import write_csv
from facemask.data import images, pascal_voc, shards
from facemask.data.archive import Files
from facemask.data.boxes import Box, to_columns
from facemask.data.faces import aliases_of
from facemask.data.letterbox import letterbox
from facemask.data.near_duplicates import features
from facemask.data.near_duplicates.search import names, search
from facemask.data.raw import by_dataset
from facemask.data.scenes import Scenes, examine, write_faces
from facemask.data.sources import Dataset, Datasets
from facemask.data.splits import SPLITS, Fractions, assign, with_other_datasets

SCENES_A_TASK = 32
SCENES_AT_HAND = 4096  # in grey, for the pairs to come
NOBODY = "no face"  # the label, in the manifest, of a scene without one
MANIFEST = ["dataset", "member", "label", "group", "sha256", "split", "width", "height", *Box._fields]
REJECT = ["dataset", "member", "kind", "reason"]


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    datasets: Datasets
    scenes: Scenes
    split: Fractions
    image_size: Side


def read(dataset: str, archive: Files, classes: dict[str, list[str]]) -> tuple[list[dict], list[tuple]]:
    """Scenes and rejects of a whole archive: every file is in one of them, or marks one that is."""
    scenes, rejects = [], []
    photos, strays = pascal_voc.paired(archive.names)
    examined = functools.partial(examine, archive, aliases=aliases_of(classes))
    for seen, refused in parallel.apply(examined, photos, SCENES_A_TASK, f"read {dataset}", "files"):
        scenes += [{"dataset": dataset, **scene} for scene in seen]
        rejects += [(dataset, *reject) for reject in refused]
    return scenes, rejects + [(dataset, name, "no photo", "marks no photo of its name") for name in strays]


def check(scenes: int, rejects: pd.DataFrame, allowed: float) -> None:
    """Stop where too much of the data is of no use.

    Raises
    ------
    UserError
        With the first reasons.
    """
    lost = rejects[rejects.kind != "no photo"]
    if scenes == 0 or len(lost) > allowed * (scenes + len(lost)):
        shown = lost if scenes else rejects
        first = "; ".join(f"{row.member}: {row.reason}" for row in shown.head(10).itertuples())
        raise UserError(
            f"{scenes} scenes with PASCAL VOC annotations; {len(lost)} photos rejected, scenes.max_rejected allows "
            f"{allowed:.1%}; the first: {first or 'none'}"
        )


def grouped(scenes: pd.DataFrame, archives: dict[str, Files], correlation: float) -> tuple[pd.Series, pd.DataFrame]:
    """The group of near-duplicates of every scene, and the pairs that were compared."""
    ordered = scenes.sort_values(["sha256", "dataset", "member"])

    @functools.lru_cache(SCENES_AT_HAND)
    def read_grey(row: int) -> np.ndarray:
        scene = ordered.iloc[row]
        return features.grey(images.decode(archives[scene.dataset].read(scene.member)))

    # As photos that are one face each, which have no box.
    photos = ordered.drop(columns="features").assign(**to_columns(None)).reset_index(drop=True)
    described = features.Described.one_by_one(np.concatenate(list(ordered.features)), map(len, ordered.features))
    groups, pairs = search(photos, np.arange(len(photos)), described, read_grey, correlation)
    return pd.Series(names(photos, groups), ordered.index).sort_index(), pairs


def place(faces: pd.DataFrame, datasets: dict[str, Dataset], fractions: Fractions, seed: int) -> pd.DataFrame:
    """The rows of the manifest with their split, without those that are left out, in their order."""
    uses: dict[str, str] = {name: dataset.use for name, dataset in datasets.items()}
    own = faces[faces.dataset.map(uses) == "split"]
    splits = with_other_datasets(assign(own, fractions.fractions, seed), faces, uses)
    return faces.assign(split=splits).dropna(subset="split")


def write_shard(
    folder: Path, split: str, scenes: pd.DataFrame, faces: pd.DataFrame, archives: dict[str, Files], size: int
) -> None:
    """A split's squares, the table of its scenes and that of its faces."""

    def squares(part: pd.DataFrame) -> np.ndarray:
        read = (images.decode(archives[one.dataset].read(one.member)) for one in part.itertuples())
        return np.stack([letterbox(image, size)[0] for image in read])

    parts = parallel.apply(squares, scenes, SCENES_A_TASK, split, "scenes")
    shards.fill(folder, split, (len(scenes), size, size, 3), np.uint8, parts)
    table = scenes[["dataset", "member", "group", "width", "height"]]
    shards.write_rows(folder, split, table.assign(scale=size / table[["width", "height"]].max(axis=1)))
    numbers = pd.Series(range(len(scenes)), scenes.index)
    write_faces(folder, split, faces.assign(scene=faces.number.map(numbers)))


def amounts(manifest: pd.DataFrame, rejects: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
    """Scenes and faces of every split, rejects by kind, near-duplicates by kind."""
    scenes = manifest.drop_duplicates(["dataset", "member"])
    near = pairs[(pairs.step == "search") & (pairs.kind != "")]
    return {
        "scenes": scenes.split.value_counts().to_dict(),
        "faces": {split: part.label.value_counts().to_dict() for split, part in manifest.groupby("split")},
        "groups": int(scenes.group.nunique()),
        "near_duplicates": near.kind.value_counts().to_dict(),
        "rejects": rejects.kind.value_counts().to_dict(),
    }


def main(
    parameters: Path, raw: Path, pixels: Path, manifest: Path, rejects: Path, headlines: Path, details: Path
) -> str:
    cv2.setNumThreads(1)  # every thread has its own photo
    settings = params.load(Settings, parameters)
    found, refused = [], []
    with by_dataset(raw) as archives:
        for name, archive in archives.items():
            seen, unusable = read(name, archive, settings.scenes.classes)
            found += seen
            refused += unusable
        refusals = pd.DataFrame(refused, columns=REJECT)
        check(len(found), refusals, settings.scenes.max_rejected)
        scenes = pd.DataFrame(found)
        scenes["group"], pairs = grouped(scenes, archives, settings.scenes.near_duplicates)
        scenes["number"] = scenes.index
        rows = scenes.drop(columns="features").assign(faces=scenes.faces.map(lambda one: one or [(NOBODY, None)]))
        rows = rows.explode("faces", ignore_index=True)
        faces = rows.assign(label=rows.faces.str[0]).join(pd.DataFrame([to_columns(box) for _, box in rows.faces]))
        faces = place(faces, settings.datasets, settings.split, settings.seed)
        scenes["split"] = scenes.number.map(faces.drop_duplicates("number").set_index("number").split)
        missing = [label for label in settings.scenes.classes if set(SPLITS) - set(faces.split[faces.label == label])]
        if missing:
            raise UserError(
                f"class {missing[0]} is missing in a split; give more scenes, or take it out of scenes.classes"
            )
        marked = faces[faces.label != NOBODY]
        with replacing(pixels) as partial:
            for split in [*SPLITS, *shards.external(faces.split)]:
                own = scenes[scenes.split == split]
                write_shard(partial, split, own, marked[marked.split == split], archives, settings.image_size)
    write_csv(manifest, faces[MANIFEST])
    write_csv(rejects, refusals)
    write_json(details, amounts(faces, refusals, pairs))
    write_json(headlines, {"scenes": int(scenes.split.notna().sum()), "faces": len(marked), "rejects": len(refusals)})
    amount = f"{len(scenes):,} scenes in {scenes.group.nunique():,} groups"
    return f"{amount}, {len(marked):,} faces; {len(refusals):,} rejected"


if __name__ == "__main__":
    cli.run(main)
