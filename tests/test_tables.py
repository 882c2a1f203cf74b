"""Tables piece by piece: the same as whole ones, whatever the size of a piece."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facemask.core import tables

FILE, COPY = Path("table.csv"), Path("copy.csv")


@pytest.fixture(params=[1, 3, 10, 1000])
def table(request, monkeypatch) -> pd.DataFrame:
    """Ten rows with awkward text, in pieces of some size."""
    monkeypatch.setattr(tables, "ROWS", request.param)
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "dataset": rng.choice(["0", "None", "é, \"x\""], 10), "member": [f"{n % 4}\n.jpg" for n in range(10)],
        "left": rng.integers(-2, 3, 10), "score": ["1e5"] * 10, "low": [0.5, np.nan] * 5,
    })  # fmt: skip


def test_pieces_are_the_whole_table_and_are_written_as_it_is(table):
    tables.write_csv(FILE, table)
    pieces = list(tables.pieces(FILE))
    assert {len(piece) for piece in pieces[:-1]} <= {tables.ROWS}
    pd.testing.assert_frame_equal(pd.concat(pieces), tables.read_csv(FILE))
    pd.testing.assert_frame_equal(tables.read_csv(FILE), table)
    tables.write_csv(COPY, iter(pieces))
    assert COPY.read_bytes() == FILE.read_bytes()


def test_a_table_without_rows_keeps_its_columns(table):
    tables.write_csv(FILE, table[:0])
    tables.write_csv(COPY, tables.pieces(FILE))
    assert COPY.read_text() == "dataset,member,left,score,low\n"


def test_some_rows_come_in_their_order_under_their_numbers(table):
    tables.write_csv(FILE, table)
    pd.testing.assert_frame_equal(tables.some(FILE, np.array([7, 2, 9])), table.loc[[2, 7, 9]])
    assert tables.some(FILE, np.empty(0, int)).empty


def test_columns_that_are_not_asked_for_are_not_read(table):
    tables.write_csv(FILE, table)
    pd.testing.assert_frame_equal(tables.read_csv(FILE, columns=["left", "member"]), table[["member", "left"]])


def test_rows_are_sorted_as_pandas_sorts_them_and_equal_ones_stay(table):
    keys = ["dataset", "left"]
    assert tables.order(table, keys).tolist() == table.sort_values(keys, kind="stable").index.tolist()


def test_neighbours_that_are_equal_have_one_number(table):
    ordered = table.sort_values(["dataset", "left"], ignore_index=True)
    expected = ordered.groupby(["dataset", "left"], sort=False).ngroup()
    assert tables.runs(ordered, ["dataset", "left"]).tolist() == expected.tolist()
    assert tables.runs(pd.DataFrame({"left": [1, 1, 2, 1]}), ["left"]).tolist() == [0, 0, 1, 2]
    assert tables.runs(table[:0], ["left"]).tolist() == []
