"""Scoring files with a kept model, against the bare forward pass of its network."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import torch

from benchmarks import _common as common
from benchmarks._common import Options, Table
from benchmarks._kept import kept_run, rows_of
from benchmarks.evaluation import plain_with_served_rows, score_bare
from recbole_cold.device import scored_at_once
from recbole_cold.serving.fitted import load
from recbole_cold.serving.kept import rebuild
from recbole_cold.serving.predict import Task, predict

ROWS = 1_000_000
LARGE = 10_000_000  # with --full: memory alone
BARE, SCORE, FILES = "bare forward pass", "Fitted.score", "predict, parquet to parquet"
# In a process of its own: peak memory.
ALONE = """
import sys
from recbole_cold.serving.predict import Task, predict
from recbole_cold.training.meter import peak_memory_mb
predict(Task(sys.argv[1], sys.argv[2], out=sys.argv[3]))
print(peak_memory_mb())
"""


def written(rows: pd.DataFrame, n_rows: int, path: Path) -> str:
    """A parquet file of ``n_rows`` rows: ``rows`` again and again."""
    table = None
    for start in range(0, n_rows, len(rows)):
        part = rows.iloc[: min(len(rows), n_rows - start)]
        table = table or pq.ParquetWriter(path, _arrow(part).schema)
        table.write_table(_arrow(part))
    table.close()
    return str(path)


def _arrow(rows: pd.DataFrame):
    import pyarrow as pa

    return pa.Table.from_pandas(rows, preserve_index=False)


def peak_mb(run: str, rows: str, out: Path) -> float:
    """Peak memory of a process that scores a file of rows."""
    root = str(Path(__file__).resolve().parents[1])
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{ALONE}"]
    done = subprocess.run([*words, run, rows, str(out)], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure(options: Options) -> Table:
    """CPU seconds of a million rows, ids as texts, and memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = str(kept_run(options, "MetaE", folder) / "MetaE")
        fitted = load(run, device="cpu")
        rows = rows_of(fitted, ROWS)
        file, out = written(rows, ROWS, folder / "rows.parquet"), folder / "scores.parquet"
        method, method.dataset = rebuild(fitted.kept, "cpu")
        whole = fitted.shown(fitted.encoded(_arrow(rows))).batch(torch.arange(ROWS))
        names = common.fields_of(method.backbone.model)
        columns = {name: whole[name] for name in names if name != method.label_field}
        model, size = plain_with_served_rows(method), scored_at_once(method.config, method.device)
        columns[model.LABEL] = torch.zeros(ROWS)
        seconds = common.alternate(
            {
                BARE: lambda: lambda: score_bare(model, columns, size),
                SCORE: lambda: lambda: fitted.score(rows),
                FILES: lambda: lambda: predict(Task(run, file, out=str(out))),
            },
            options.repeats,
        )
        scores = torch.from_numpy(pq.read_table(out)["score"].to_numpy())
        agreement = common.largest_difference([score_bare(model, columns, size)], [scores])
        memory = {ROWS: peak_mb(run, file, folder / "out.parquet")}
        if options.full:
            large = written(rows, LARGE, folder / "large.parquet")
            memory[LARGE] = peak_mb(run, large, folder / "out.parquet")
    least = common.smallest(seconds)
    ratio = least[BARE] / least[FILES]
    claims = [("predict's rows/s to the bare forward pass", ratio, 0.7, ">=")]
    if options.full:
        claims.append((f"peak MB at {LARGE:,} rows", memory[LARGE], 1536, "<="))
    table_rows = [
        [
            name,
            round(least[name], 2),
            round(common.median(values), 2),
            round(ROWS / least[name]),
            round(least[BARE] / least[name], 2),
        ]
        for name, values in seconds.items()
    ]
    told = ", ".join(f"{value:,.0f} MB at {number:,} rows" for number, value in memory.items())
    return Table(
        f"predict: {ROWS:,} rows of {options.dataset}, DeepFM",
        ["contestant", "CPU s", "median", "rows/s", "rows/s to bare"],
        table_rows,
        claims,
        {"scores": agreement},
        [
            f"Peak memory of a process that runs `predict`: {told}.",
            "The bare pass has its rows encoded and joined in memory; the others begin with ids as "
            "texts, and the last one loads the model and writes a file.",
        ],
    )
