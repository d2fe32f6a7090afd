"""The folders of comparisons and the files in them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recbole_cold import report
from recbole_cold.comparison.requests import CompareRequest
from recbole_cold.experiment.bands import bands
from recbole_cold.experiment.folders import FINISHED, make_folder
from recbole_cold.experiment.scores import in_folder
from recbole_cold.store import write_bytes


def new_folder(request: CompareRequest | None, dataset: str, saved_dir: Path) -> Path:
    """A new folder, named by data and time, with the request in it if there is one.

    Raises:
        UserError: it cannot be written.
    """
    asked = None if request is None else asdict(request)
    return make_folder(f"{dataset}-compare", saved_dir, asked)


def write_files(comparison: report.Comparison, folder: Path, finished: bool = True) -> None:
    """Write Markdown, LaTeX, CSV and picture; the screen table only if nothing is missing."""
    write_bytes(folder / "comparison.md", report.comparison_markdown(comparison).encode())
    write_bytes(folder / "comparison.tex", report.comparison_latex(comparison).encode())
    write_bytes(folder / "comparison.csv", report.comparison_csv(comparison).encode())
    scored = any(comparison.cells(metric) for metric in comparison.metrics[:1])
    if scored and report.have_curves(comparison.phases):
        of_lines = bands(comparison.by_backbone, in_folder(folder))
        report.plot_comparison(comparison, folder / "figures" / "phases.png", bands=of_lines)
    if finished:
        text = report.comparison_table(comparison) + "\n"
        write_bytes(folder / FINISHED, text.encode())


def write_subsets(
    documents: Mapping[str, dict[str, Any]], folder: Path, finished: bool = True
) -> None:
    """Write the tables of the comparisons on several subsets of sessions, side by side.

    Args:
        documents: subset -> its comparison.
    """
    shown = {name: report.Comparison(document) for name, document in documents.items()}
    command = str(next(iter(documents.values()))["command"])
    write_bytes(folder / "comparison.md", report.subsets_markdown(shown, command).encode())
    if finished:
        write_bytes(folder / FINISHED, f"{report.subsets_table(shown)}\n".encode())
