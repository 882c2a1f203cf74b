"""Time and memory of every stage by the number of photos: python -m benchmarks.growth PICTURE.png [PHOTOS ...]

Runs the whole pipeline with a head on the demo's frozen network, for each number from an empty cache; prints Markdown
and draws a figure. Photos lie in shards of 10,000. The first shard is drawn; the others repeat it, each photo with
other bytes behind its end, so that no two files are the same.
"""

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import yaml
from matplotlib.figure import Figure

from benchmarks import measure
from benchmarks.measure import Cost
from facemask.data.archive import Archive, write_archive
from facemask.data.sources import synthetic
from facemask.data.sources.synthetic import Synthetic

SIZES = (10_000, 100_000, 1_000_000)
SHARD = 10_000
SIDE = 64
STAGES = ("fetch", "survey", "split", "augment", "features", "audit", "train", "evaluate", "export", "card", "record")


def settings(folder: Path) -> str:
    """The committed parameters with these shards, no search for near-duplicates, and no augmented samples."""
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["datasets"] = {"photos": {"use": "split", "source": "shards", "path": str(folder)}}
    content["survey"]["near_duplicates"] = 1
    content["split"]["method"] = "hashed"
    content["augment"]["copies"] = 0
    content |= {"epochs": 3, "patience": 3}
    content["export"]["max_accuracy_drop"] = 0.9
    return yaml.safe_dump(content, sort_keys=False)


def repeat(shard: Path, photos: int, folder: Path) -> None:
    """Write so many photos as shards."""
    folder.mkdir()
    with Archive(shard) as archive:
        for number in range(-(-photos // SHARD)):
            count = min(SHARD, photos - number * SHARD)
            names = [archive.names[place] for place in np.linspace(0, SHARD - 1, count).round().astype(int)]
            end = number.to_bytes(4)
            write_archive(folder / f"{number:05d}.zip", ((name, archive.read(name) + end) for name in names))


def draw(costs: dict[int, dict[str, Cost]], path: Path) -> None:
    """Seconds (logarithmic) and megabytes of each stage over the number of photos (logarithmic)."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        for axes, field, title in zip(figure.subplots(1, 2), Cost._fields, ("seconds", "peak memory, MB"), strict=True):
            for stage, style in zip(STAGES, ["o-"] * 10 + ["s--"] * 10, strict=False):  # there are ten colours
                axes.plot(list(costs), [getattr(cost[stage], field) for cost in costs.values()], style, label=stage)
            axes.set(xlabel="photos", title=title, xscale="log", yscale="log" if field == "seconds" else "linear")
            axes.set_xticks(list(costs), [f"{photos:,}" for photos in costs])
            axes.minorticks_off()
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.grid(alpha=0.3)
        axes.set_ylim(0)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False)
        figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("photos", type=int, nargs="*", default=SIZES)
    args = parser.parse_args()
    costs = {}
    with tempfile.TemporaryDirectory() as temporary:
        shard = Path(temporary, "shard.zip")
        synthetic.fetch(Synthetic(use="split", source="synthetic", images=SHARD, size=SIDE), shard)
        print(f"| photos | {' | '.join(STAGES)} |\n|--:|{'--:|' * len(STAGES)}")
        for photos in args.photos:
            with tempfile.TemporaryDirectory() as own:  # a million photos leave 40 GB
                shards, folder = Path(own, "shards"), Path(own, "facemask")
                repeat(shard, photos, shards)
                measure.checkout(folder, settings(shards))
                _, costs[photos], _ = measure.run(["dvc", "repro"], folder)
            found = (costs[photos][stage] for stage in STAGES)
            cells = [f"{cost.seconds:.1f} s, {cost.megabytes:,.0f} MB" for cost in found]
            print(f"| {photos:,} | {' | '.join(cells)} |", flush=True)
    draw(costs, args.picture)


if __name__ == "__main__":
    main()
