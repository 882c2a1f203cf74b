"""Find planted label errors: python -m benchmarks.label_errors CHECKOUT DATASET

Takes the features of a checkout after `dvc repro features`, changes the labels of a fraction of the faces, audits them,
and prints how many of the planted errors are doubtful, and of as many of the most doubtful labels are planted.
"""

import argparse
from pathlib import Path

import numpy as np

from facemask.core.tables import read_csv
from stages import audit

FRACTIONS, SEEDS = (0.01, 0.03, 0.05), (7, 8, 9)
AUDIT = audit.Audit(folds=5, fitted=20_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("dataset")
    args = parser.parse_args()
    data = args.checkout / "data"
    pairs = read_csv(data / "pairs.csv")
    faces, read = audit.collect(data / "manifest.csv", data / "shards", data / "features")
    chosen = np.flatnonzero(faces.dataset == args.dataset)
    faces = faces.iloc[chosen].reset_index(drop=True)
    classes = np.array(sorted(faces.label.unique()))
    print("| seed | planted | doubtful | precision at the number planted | recall |")
    print("|--:|--:|--:|--:|--:|")
    for fraction in FRACTIONS:
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            planted = rng.permutation(len(faces))[: round(fraction * len(faces))]
            labels = faces.label.to_numpy().copy()
            others = [rng.choice(classes[classes != label]) for label in labels[planted]]
            labels[planted] = others
            found = audit.find(faces.assign(label=labels), lambda rows: read(chosen[rows]), pairs, AUDIT, seed)
            first = found.sort_values("probability", kind="stable").index[: len(planted)]
            print(
                f"| {seed} | {len(planted)} | {len(found)} | {np.isin(first, planted).mean():.3f} "
                f"| {np.isin(planted, found.index).mean():.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
