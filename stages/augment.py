"""Crop and resize every face, and add augmented samples of the training faces.

Reads the datasets and the manifest; writes the arrays and the table of each split, uint8, and a contact sheet. The
random generator of a sample is seeded by (seed, face, number of the sample): order and number of workers do not matter.
What is of a zip that is as it was, with its faces in the same splits, is not made again.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from facemask.core import cli, params, parts
from facemask.core.engine import Task
from facemask.core.errors import UserError
from facemask.core.params import Section, Seed, Side
from facemask.core.parts import Part
from facemask.core.tables import pieces, read_csv
from facemask.data import images, preparation, shards
from facemask.data.augmentation import Augment
from facemask.data.preparation import READ, prepare, prepare_zip, samples_in
from facemask.data.raw import Zip, by_dataset, zips
from facemask.evaluation import figures

SHEET_FACES, SHEET_SAMPLES = 5, 6


class Settings(Section):
    """The parameters that this stage reads."""

    seed: Seed
    image_size: Side
    augment: Augment


def planned(raw: Path, faces: pd.DataFrame, settings: Settings) -> tuple[list[Part], list[str]]:
    """A part a zip with faces, and the paths of the arrays in the order of the manifest."""
    found = zips(raw)
    numbers = {(one.dataset, one.shard): number for number, one in enumerate(found)}
    sharded = {one.dataset for one in found if one.shard}
    homes = [
        numbers[dataset, member.partition("/")[0] if dataset in sharded else ""]
        for dataset, member in zip(faces.dataset, faces.member, strict=True)
    ]
    files = shards.part_files((split, found[home].name) for split, home in zip(faces.split, homes, strict=True))
    size, augment, seed = settings.image_size, settings.augment, settings.seed
    version = parts.code([preparation], images.PACKAGES)

    def preparing(zipped: Zip, rows: np.ndarray) -> Part:
        own = faces.take(rows)
        places = {split: files[split, zipped.name] for split in own.split.unique()}
        key = parts.key(zipped.sha256, own.to_csv(index=False), places, size, augment.model_dump(), seed, version)

        def arguments() -> tuple:
            return zipped, faces.take(rows), places, size, augment, seed

        return Part(Task(zipped.name, arguments, here=not zipped.shard), key)

    plan = [preparing(found[number], rows) for number, rows in faces.groupby(homes).indices.items()]
    return plan, list(files.values())


def write_table(folder: Path, manifest: Path, split: str, samples: int) -> None:
    """Write the table of a split: a row for each face and each of its augmented samples."""

    def repeated(faces: pd.DataFrame) -> pd.DataFrame:
        own = np.flatnonzero(faces.split == split)
        table = faces.take(own.repeat(1 + samples)).drop(columns="split")
        return table.assign(copy=np.tile(np.arange(1 + samples), len(own)))

    shards.write_rows(folder, split, map(repeated, pieces(manifest)))


def draw_sheet(raw: Path, faces: pd.DataFrame, settings: Settings, sheet: Path) -> None:
    """Draw a contact sheet of a few training faces, classes in turn, with augmented samples."""
    labels = faces.label[faces.split == "train"]
    turn = labels.groupby(labels).cumcount()
    first = faces.loc[turn.index[turn < SHEET_FACES]].assign(turn=turn)
    chosen = first.sort_values(["turn", "label"], kind="stable").head(SHEET_FACES)
    with by_dataset(raw) as archives:
        pixels = prepare(chosen, archives, settings.image_size, settings.augment, settings.seed, SHEET_SAMPLES)
    pixels = pixels.reshape(len(chosen), 1 + SHEET_SAMPLES, *pixels.shape[1:])
    figures.contact_sheet(pixels[:, 0], pixels[:, 1:], sheet)


def main(raw: Path, manifest: Path, pixels: Path, record: Path, sheet: Path) -> str:
    settings = params.load(Settings)
    faces = read_csv(manifest, columns=READ)
    if settings.augment.occlude and settings.augment.unmasked not in set(faces.label):
        known = ", ".join(sorted(set(faces.label)))
        raise UserError(f"augment.unmasked: no face is {settings.augment.unmasked}; the classes are {known}")
    plan, files = planned(raw, faces, settings)
    made = parts.make(pixels, record, plan, prepare_zip, "augment")
    splits = [*shards.SPLITS, *shards.external(faces.split)]
    for split in splits:
        write_table(pixels, manifest, split, samples_in(split, settings.augment))
    shards.write_order(pixels, {file: made[file] for file in files})
    parts.keep(pixels, [*files, shards.ORDER, *(f"{split}.csv" for split in splits)])
    draw_sheet(raw, faces, settings, sheet)
    added = settings.augment.copies * int((faces.split == "train").sum())
    return f"{len(faces):,} faces of {settings.image_size} pixels and {added:,} augmented samples"


if __name__ == "__main__":
    cli.run(main)
