"""Compare a log of labelled faces with the faces that the model was tested on.

The log is what `facemask predict | watch | serve --log FILE` appended to. For each attribute it prints the population
stability index (PSI) by the deciles of the test faces, what the PSI is by chance, and the Kolmogorov-Smirnov statistic
with its p-value. An attribute has drifted if the PSI exceeds what chance gives by more than --limit.

exit status:
  0  no attribute has drifted
  1  error, reported in one line
  2  wrong command line
  3  an attribute has drifted
"""

import argparse
from pathlib import Path

from facemask.core.errors import UserError
from facemask.inference.classifier import folder_of
from facemask.inference.commands import model_argument
from facemask.inference.drift import REFERENCE, Comparison, compare, draw, read_faces
from facemask.inference.release import located


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("log", type=Path, help="the CSV that --log appended to")
    parser.add_argument("--output", type=Path, metavar="PNG", help="draw both distributions of each attribute")
    parser.add_argument(
        "--limit",
        type=float,
        default=0.25,
        help="of the PSI above chance; 0.1 is usually called a small shift (%(default)s)",
    )
    model_argument(parser)


def main(args: argparse.Namespace) -> int:
    """Print the comparison; return the exit status."""
    if args.output and args.output.suffix.lower() != ".png":
        raise UserError(f"--output: {args.output} is a picture, and its name ends in .png")
    folder = folder_of(located(args.model))
    if not (folder / REFERENCE).is_file():
        raise UserError(
            f"there is no {REFERENCE} in {folder}; name the folder that `dvc repro export` writes: --model FOLDER"
        )
    log, reference = read_faces(args.log), read_faces(folder / REFERENCE)
    try:
        found = compare(reference, log)
        if args.output:
            draw(reference, log, f"{args.log.name} beside the test faces of {folder}", args.output)
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; pip install '.[drift]'") from None
    drifted = [one.psi - one.chance > args.limit for one in found]
    print(f"{len(log['label'])} faces of {args.log}, {len(reference['label'])} of {folder / REFERENCE}")
    print(f"{'':<12}{'tested on':>10}{'log':>10}{'PSI':>8}{'chance':>8}{'KS':>8}{'p':>9}")
    for one, far in zip(found, drifted, strict=True):
        print(f"{line(one)}  {'drifted' if far else ''}".rstrip())
    return 3 if any(drifted) else 0


def line(one: Comparison) -> str:
    """A row of the table."""
    medians = "".join(f"{value:>10.4g}" for value in one.medians) if one.medians else f"{'':>20}"
    ks = f"{one.ks:>8.3f}{one.p:>9.2g}" if one.medians else f"{'':>17}"
    return f"{one.attribute:<12}{medians}{one.psi:>8.3f}{one.chance:>8.3f}{ks}"
