"""Time and memory of every stage by the number of photos: python -m benchmarks.growth WEIGHTS PICTURE.png [PHOTOS ...]

Runs the whole pipeline on synthetic faces, for each number from an empty cache; prints Markdown and draws a figure.
"""

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl
import yaml
from matplotlib.figure import Figure

from benchmarks import measure
from benchmarks.measure import Cost
from benchmarks.speed import HEAD

SIZES = (1_000, 5_000, 20_000, 100_000)
SIDE = 96
STAGES = ("fetch", "survey", "split", "augment", "features", "train", "evaluate", "export")


def settings(photos: int, weights: Path) -> str:
    """The committed parameters with this number of faces, no search for near-duplicates, and a frozen trunk."""
    content = yaml.safe_load(Path("params.yaml").read_text())
    content |= HEAD | {"weights": str(weights), "alpha": 1.0, "image_size": SIDE, "epochs": 3}
    content["datasets"]["synthetic"] |= {"images": photos, "size": SIDE}
    content["survey"]["near_duplicates"] = 1
    content["augment"]["copies"] = 0
    content["export"]["max_accuracy_drop"] = 0.9
    return yaml.safe_dump(content, sort_keys=False)


def draw(costs: dict[int, dict[str, Cost]], path: Path) -> None:
    """Seconds (logarithmic) and megabytes of each stage over the number of photos (logarithmic)."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        for axes, field, title in zip(figure.subplots(1, 2), Cost._fields, ("seconds", "peak memory, MB"), strict=True):
            for stage in STAGES:
                name = "fetch (synthetic faces)" if stage == "fetch" else stage
                axes.plot(list(costs), [getattr(cost[stage], field) for cost in costs.values()], "o-", label=name)
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
    parser.add_argument("weights", type=Path, help="ImageNet weights of MobileNetV2 without its top")
    parser.add_argument("picture", type=Path)
    parser.add_argument("photos", type=int, nargs="*", default=SIZES)
    args = parser.parse_args()
    costs = {}
    print(f"| photos | {' | '.join(STAGES)} |\n|--:|{'--:|' * len(STAGES)}")
    for photos in args.photos:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "facemask")
            measure.checkout(folder, settings(photos, args.weights.resolve()))
            _, costs[photos], _ = measure.run(["dvc", "repro"], folder)
        cells = [f"{costs[photos][stage].seconds:.1f} s, {costs[photos][stage].megabytes:,.0f} MB" for stage in STAGES]
        print(f"| {photos:,} | {' | '.join(cells)} |", flush=True)
    draw(costs, args.picture)


if __name__ == "__main__":
    main()
