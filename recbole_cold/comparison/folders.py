"""The folders of comparisons and the files in them."""

from dataclasses import asdict
from pathlib import Path

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
    if any(comparison.cells(metric) for metric in comparison.metrics[:1]):
        of_lines = bands(comparison.by_backbone, in_folder(folder))
        report.plot_comparison(comparison, folder / "figures" / "phases.png", bands=of_lines)
    if finished:
        text = report.comparison_table(comparison) + "\n"
        write_bytes(folder / FINISHED, text.encode())
