"""Tables, tests and pictures of results; every number shown comes from a ``results.json``.

A results document (schema 1) holds runs x seeds x phases x metrics together with the split, the
optimizer steps and the seconds behind them, so a table can say what its numbers cost.
"""

from recbole_cold.evaluation.significance import PairedTest, holm, wilcoxon_p
from recbole_cold.report._best_of import best_of_figure, plot_best_of
from recbole_cold.report._comparison import (
    MATCHED,
    OWN_NETWORK,
    Cell,
    Comparison,
    load_comparison,
    validate_comparison,
)
from recbole_cold.report._comparison_csv import comparison_csv
from recbole_cold.report._comparison_plot import comparison_figure, plot_comparison
from recbole_cold.report._comparison_tables import (
    comparison_latex,
    comparison_markdown,
    comparison_table,
)
from recbole_cold.report._document import SCHEMA, load, now, validate, write_json
from recbole_cold.report._drawing import have_curves, save_figure
from recbole_cold.report._forest_plot import forest_figure
from recbole_cold.report._graphs import plot_graphs
from recbole_cold.report._html import html_of, html_table
from recbole_cold.report._looks import Bands
from recbole_cold.report._paper_figures import (
    FORMS,
    OF_BATCHES,
    Batches,
    Drawn,
    Panel,
    Series,
    batch_values,
    plot_form,
)
from recbole_cold.report._pictures import curves_figure, plot_curves
from recbole_cold.report._plots import PLOTS, Asked, Plot, documents_of, plot_of
from recbole_cold.report._references import missing_references, references_in
from recbole_cold.report._reproduction import (
    drawn_of,
    load_reproduction,
    reproduction_csv,
    reproduction_markdown,
    reproduction_table,
)
from recbole_cold.report._statistics import Row, Value, paired_test, summary, values
from recbole_cold.report._subsets import subsets_markdown, subsets_table
from recbole_cold.report._sweep import plot_sweep, sweep_figure
from recbole_cold.report._tables import costs, markdown, table
from recbole_cold.report._vectors import IdVectors, mean_distance, plot_vectors

__all__ = [
    "FORMS",
    "MATCHED",
    "OF_BATCHES",
    "OWN_NETWORK",
    "PLOTS",
    "SCHEMA",
    "Asked",
    "Bands",
    "Batches",
    "Cell",
    "Comparison",
    "Drawn",
    "IdVectors",
    "PairedTest",
    "Panel",
    "Plot",
    "Row",
    "Series",
    "Value",
    "batch_values",
    "best_of_figure",
    "comparison_csv",
    "comparison_figure",
    "comparison_latex",
    "comparison_markdown",
    "comparison_table",
    "costs",
    "curves_figure",
    "documents_of",
    "drawn_of",
    "forest_figure",
    "have_curves",
    "holm",
    "html_of",
    "html_table",
    "load",
    "load_comparison",
    "load_reproduction",
    "markdown",
    "mean_distance",
    "missing_references",
    "now",
    "paired_test",
    "plot_best_of",
    "plot_comparison",
    "plot_curves",
    "plot_form",
    "plot_graphs",
    "plot_of",
    "plot_sweep",
    "plot_vectors",
    "references_in",
    "reproduction_csv",
    "reproduction_markdown",
    "reproduction_table",
    "save_figure",
    "subsets_markdown",
    "subsets_table",
    "summary",
    "sweep_figure",
    "table",
    "validate",
    "validate_comparison",
    "values",
    "wilcoxon_p",
    "write_json",
]
