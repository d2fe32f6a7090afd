"""Leak checks on the data set ``tiny``, or on an edited copy of it."""

import csv

import pytest

from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.requests import Request
from recbole_cold.leaks import cost
from recbole_cold.leaks.checks import chosen, find_leaks

SMALL = {"embedding_size": 4, "train_batch_size": 64, "show_progress": False, "device": "cpu"}


@pytest.fixture
def tables(tiny_path):
    """The files of ``tiny`` as lists of rows, the header first, to be edited."""
    found = {}
    for suffix in ("inter", "user", "item"):
        with (tiny_path / f"tiny.{suffix}").open(encoding="utf-8") as file:
            found[suffix] = list(csv.reader(file, delimiter="\t"))
    return found


@pytest.fixture
def leaks(tiny_keys, tmp_path, write_atomic, monkeypatch):
    """``leaks(names, model, tables, **keys)``: name -> finding, or list of findings if several."""
    monkeypatch.setattr(cost, "plan", lambda subject, checks: "")  # a test of its own

    def find(names, model="Base", tables=None, **keys):
        given = {**tiny_keys, **SMALL, **keys}
        if tables is not None:
            write_atomic(tmp_path / "data" / "tiny", "tiny", **tables)
            given["data_path"] = str(tmp_path / "data")
        experiment = Experiment(Request(model, "tiny", overrides=given))
        told = []
        lines = find_leaks(experiment, chosen(names), told.append)
        assert told[1:] == [str(line) for line in lines]
        found = {}
        for line in lines:
            found.setdefault(line.name, []).append(line.finding)
        return {name: one[0] if len(one) == 1 else one for name, one in found.items()}

    return find


@pytest.fixture
def leak(leaks):
    """``leak(name, ...)``: the only finding of one check."""
    return lambda name, *args, **keys: leaks(name, *args, **keys)[name]


def by_item(inter):
    """Item -> its rows of ``.inter``, oldest first, in file order where times are equal."""
    time = inter[0].index("timestamp:float")
    found = {}
    for row in inter[1:]:
        found.setdefault(row[1], []).append(row)
    return {item: sorted(rows, key=lambda row: float(row[time])) for item, rows in found.items()}


@pytest.fixture
def new_items():
    """Of a log, by item: the rows of those that are new by the rule N = 30, K = 3."""
    return lambda inter: {i: rows for i, rows in by_item(inter).items() if 9 <= len(rows) <= 30}
