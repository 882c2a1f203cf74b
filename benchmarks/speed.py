"""Compare the pipeline with the baseline on the same photos: make bench PHOTOS=... WEIGHTS=...

Prints Markdown. Every ratio is of two measurements of the same run. Only rows that say so are extrapolated.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks import measure
from facemask.experiments import preset

CUT = "block_13_expand"
EPOCHS = 10
HEAD = {"train_from": "head", "lr": 0.003, "epochs": EPOCHS, "patience": EPOCHS}
MEASURED_EPOCHS = 2


def settings(photos: Path, weights: Path) -> str:
    """The archive preset with a frozen trunk and without augmentation, as the baseline trains."""
    content = preset.merge(yaml.safe_load(Path("params.yaml").read_text()), preset.load("archive"))
    changes = {"weights": str(weights), "augment": {"copies": 0}}
    content["datasets"]["photos"]["path"] = str(photos)
    content = json.loads(json.dumps(preset.merge(content, HEAD | changes)))  # without the types of ruamel.yaml
    return yaml.safe_dump(content, sort_keys=False)


def accuracy(folder: Path) -> float:
    """Test accuracy of the last evaluated model."""
    return json.loads((folder / "metrics/test.json").read_text())["accuracy"]


def baseline(folder: Path, weights: Path, epochs: int, *options: str) -> tuple[float, dict, float]:
    """Run the baseline; return its seconds for ten epochs, its report, and its megabytes."""
    command = [sys.executable, "-m", "benchmarks.baseline", "data/raw/photos.zip", "data/manifest.csv", str(weights)]
    cost, _, output = measure.run([*command, "--epochs", str(epochs), *options], folder)
    report = json.loads(output.splitlines()[-1])
    first, *later = report["epochs"]
    rest = sum(later) * (EPOCHS - 1) / len(later)
    return report["before"] + first + rest + report["after"], report, cost.megabytes


def row(name: str, seconds: float, reference: float, accuracy: float | None, megabytes: float) -> str:
    """A row of the table."""
    shown = "" if accuracy is None else f"{accuracy:.4f}"
    return f"| {name} | {seconds:.1f} | **{reference / seconds:.1f}** | {shown} | {megabytes:,.0f} |"


def show_stages(cold: dict[str, measure.Cost], again: dict[str, measure.Cost]) -> None:
    """The time of each stage with an empty cache, and in the next experiment."""
    print("\n| stage | seconds, cold | seconds, next experiment | peak MB |\n|---|--:|--:|--:|")
    for name, cost in cold.items():
        next_time = f"{again[name].seconds:.1f}" if name in again else ""
        print(f"| {name} | {cost.seconds:.1f} | {next_time} | {cost.megabytes:,.0f} |", flush=True)


def show_engine(engine: dict[str, float]) -> None:
    """The throughput of the trunk, and the latency of the exported models."""
    print("\n| the network's trunk | photos/s | times Keras |\n|---|--:|--:|")
    for key, name in (
        ("keras", "`model.predict`, its best batch, all cores"),
        ("litert_1", "LiteRT, one thread"),
        ("litert_all", "LiteRT, a thread a core: `features`"),
    ):
        print(f"| {name} | {engine[key]:.0f} | {engine[key] / engine['keras']:.1f} |")
    print("\n| one photo, one thread | milliseconds | of Keras |\n|---|--:|--:|")
    for key, name in (
        ("keras", "`model.predict`"), ("float32", "float32"), ("float16", "float16"), ("int8", "int8"),
    ):  # fmt: skip
        value = engine[f"{key}_milliseconds"]
        print(f"| {name} | {value:.1f} | 1/{engine['keras_milliseconds'] / value:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="zip of class folders")
    parser.add_argument("weights", type=Path, help="ImageNet weights of MobileNetV2 without its top")
    args = parser.parse_args()
    photos, weights = args.photos.resolve(), args.weights.resolve()
    if not (photos.is_file() and weights.is_file()):
        parser.error("name two files: make bench PHOTOS=photos.zip WEIGHTS=FILE.weights.h5")
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "facemask")
        measure.checkout(folder, settings(photos, weights))
        cold, stages, _ = measure.run(["dvc", "repro"], folder)
        exact = accuracy(folder)
        measure.commit(folder)
        nothing, _, _ = measure.run(["dvc", "repro"], folder)
        status, _, _ = measure.run(["dvc", "status"], folder)
        again, changed, _ = measure.run(["dvc", "exp", "run", "-S", "lr=1e-4"], folder)
        gentle = accuracy(folder)
        show_stages(stages, changed)
        print(f"\nNothing to do: `dvc repro` {nothing.seconds:.2f} s; `dvc status` {status.seconds:.2f} s.", flush=True)
        engine = [sys.executable, "-m", "benchmarks.engine", "models/backbone/backbone.keras", "models/tflite"]
        show_engine(json.loads(measure.run([*engine, "data/shards"], folder)[2].splitlines()[-1]))
        _, last, _ = measure.run(["dvc", "exp", "run", "-S", f"train_from={CUT}", "-S", "lr=1e-4"], folder)
        fine = accuracy(folder)
        plain, report, peak = baseline(folder, weights, EPOCHS)
        cached, _, cached_peak = baseline(folder, weights, MEASURED_EPOCHS, "--cached")
        blocks, _, blocks_peak = baseline(folder, weights, MEASURED_EPOCHS, "--train-from", CUT)
    trunk, top = last["features"], last["train"]
    both = trunk.seconds + top.seconds
    print("\n| 10 epochs on the same photos | seconds | times faster than tf.data | test accuracy | peak MB |")
    print("|---|--:|--:|--:|--:|")
    for line in (
        row("the baseline with tf.data (2 epochs, extrapolated)", cached, cached, None, cached_peak),
        row("the baseline with ImageDataGenerator", plain, cached, report["test_accuracy"], peak),
        row("`dvc repro`, from the zip to the evaluated, exported model", cold.seconds, cached, exact, cold.megabytes),
        row("`dvc exp run -S lr=1e-4`, the next experiment", again.seconds, cached, gentle, again.megabytes),
    ):
        print(line)
    print(f"\n| from {CUT} on | seconds | times faster | test accuracy | peak MB |\n|---|--:|--:|--:|--:|")
    for line in (
        row("the baseline (2 epochs, extrapolated)", blocks, blocks, None, blocks_peak),
        row("features and train", both, blocks, fine, max(trunk.megabytes, top.megabytes)),
        row("train alone, when only its parameters change", top.seconds, blocks, fine, top.megabytes),
    ):
        print(line)


if __name__ == "__main__":
    main()
