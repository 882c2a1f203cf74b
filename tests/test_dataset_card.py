"""The dataset card: what a source says about the class, and what was corrected."""

import pandas as pd
import pytest

from facemask.evaluation import dataset_card


def faces(*counts: tuple[str, str, int], split: str = "train") -> pd.DataFrame:
    """A manifest with so many faces of a dataset and class."""
    rows = [(dataset, label, label, split, 50, 40) for dataset, label, count in counts for _ in range(count)]
    return pd.DataFrame(rows, columns=["dataset", "label", "given", "split", "width", "height"])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((("a", "with", 30), ("b", "without", 10)), 1.0),  # a source a class
        ((("a", "with", 30), ("a", "without", 10)), 0.5),
        ((("a", "with", 30), ("a", "without", 10), ("b", "with", 60), ("b", "without", 20)), 0.5),
        # of those with a mask 0.75 are in a, of those without 0.4 are: 0.75 in a, 0.6 in b
        ((("a", "with", 30), ("b", "with", 10), ("a", "without", 4), ("b", "without", 6)), (0.75 + 0.6) / 2),
    ],
)
def test_what_the_source_says_about_the_class(counts, expected):
    table = faces(*counts)
    assert dataset_card.guessed(table.label, table.dataset) == pytest.approx(expected)


def test_a_warning_where_the_source_gives_the_class_away_and_only_there():
    telling = faces(("a", "with", 30), ("b", "without", 10))
    assert "**Warning**" in dataset_card.sources(telling, 0.99)
    assert "balanced accuracy of 1.0000 (0.5000 by chance)" in dataset_card.sources(telling, 0.99)
    assert "**Warning**" not in dataset_card.sources(telling, 0.52)  # the features do not show the source
    even = faces(("a", "with", 30), ("a", "without", 10), ("b", "with", 60), ("b", "without", 20))
    assert "**Warning**" not in dataset_card.sources(even, 0.99)
    tested = pd.concat([faces(("a", "with", 30), ("a", "without", 10)), faces(("b", "with", 9), split="b")])
    assert "**Warning**" not in dataset_card.sources(tested, 0.99)  # b is not trained on
    assert dataset_card.sources(faces(("a", "with", 3)), None) == "All faces are from one dataset."


def test_doubtful_and_corrected_labels_are_counted():
    table = faces(("a", "with", 8), ("b", "without", 2))
    table.loc[[0, 1], "given"] = "without"
    card = dataset_card.doubtful_labels(pd.DataFrame({"dataset": ["a", "a"]}), table)
    assert "| a | 8 | 2 | 25.00% |" in card
    assert "| b | 2 | 0 | 0.00% |" in card
    assert "A person has corrected 2 labels." in card
    assert dataset_card.doubtful_labels(None, table) == "The labels were not audited: nothing was frozen."
