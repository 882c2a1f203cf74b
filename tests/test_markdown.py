"""Markdown tables escape their cells."""

from facemask.evaluation.markdown import table, with_interval


def test_a_cell_cannot_break_its_row():
    assert table(["a", "b|c"], [["x\ny", 1]]) == "| a | b\\|c |\n| --- | --- |\n| x y | 1 |"


def test_a_score_without_an_interval_is_shown_alone():
    assert with_interval("0.9000", 0.8, 0.95) == "0.9000 (0.8000 to 0.9500)"
    assert with_interval("0.9000", float("nan"), float("nan")) == "0.9000"
