"""Table and figure of a training."""

import csv
import sys
from pathlib import Path

from astro_massmap.training import write_curves

HISTORY = [
    {"step": 5, "loss": 0.99, "ratio": {"0.010": 1.0, "0.300": 0.98}},
    {"step": 10, "loss": 0.95, "ratio": {"0.010": 0.97, "0.300": 0.96}},
]


def test_the_table_contains_the_history():
    write_curves(HISTORY, "p")
    with open("p.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["step", "loss", "0.010", "0.300"]
    assert [[float(v) for v in row.values()] for row in rows] == [[5, 0.99, 1.0, 0.98], [10, 0.95, 0.97, 0.96]]
    assert Path("p.png").read_bytes()[:4] == b"\x89PNG"


def test_without_validation_there_is_the_loss(tmp_path):
    write_curves([{"step": 1, "loss": 0.5}], tmp_path / "p")
    assert Path("p.csv").read_text().splitlines() == ["step,loss", "1,0.5"]
    assert Path("p.png").exists()


def test_without_matplotlib_there_is_the_table(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_curves(HISTORY, "p")
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"]


def test_without_a_history_there_is_nothing(tmp_path):
    write_curves([], "p")
    assert not list(tmp_path.iterdir())


def test_names_keep_their_dots_and_files_are_replaced(tmp_path):
    Path("p.v1.2.csv").write_text("older")
    write_curves(HISTORY, "p.v1.2")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.v1.2.csv", "p.v1.2.png"]
    assert Path("p.v1.2.csv").read_text().startswith("step,loss")
