"""Run benchmarks: ``python benchmarks/run.py [names] [--data_path=DIR] [--full] [--write-readme]``.

Prints a table per benchmark and adds them to ``benchmarks/results.json``; ``--write-readme`` puts
the tables of that file into ``benchmarks/README.md``.
"""

import argparse
import importlib
import json
import logging
import shlex
import sys
import warnings
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NAMES = (
    "pretraining",
    "evaluation",
    "inner_loop",
    "loading",
    "learning",
    "graph",
    "whole_runs",
    "startup",
    "sweep",
    "few_shot_tanp",
    "few_shot_melu",
    "emerg",
    "histories",
    "many_items",
    "predict",
    "exported",
    "grow",
    "against",
)
# Only where it is named: it needs --against.
ASKED_FOR = ("against",)
MARKERS = "<!-- figures -->", "<!-- end of figures -->"


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--data_path", help="folder above ml-1m/; without it: ml-100k")
    parser.add_argument("--dataset", help="default ml-1m with --data_path, else ml-100k")
    parser.add_argument("--full", action="store_true", help="whole epochs, not 60 batches of one")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each contestant")
    parser.add_argument("--models", help="methods of learning, against (all) and whole_runs")
    parser.add_argument("--against", metavar="DIR", help="another checkout, for against")
    parser.add_argument("--protocols", help="of whole_runs: strict,released")
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--write-readme", action="store_true", help="put the tables into README.md")
    asked = parser.parse_args(argv)
    unknown = set(asked.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(NAMES)}")
    if "against" in asked.names and asked.against is None:
        parser.error("against needs --against, the folder of another checkout of this project")
    return asked


def options_of(asked: argparse.Namespace):
    from benchmarks._common import Options

    known = {part.name for part in fields(Options)}
    chosen = {key: value for key, value in vars(asked).items() if key in known and value}
    for key in ("models", "protocols"):
        if key in chosen:
            chosen[key] = tuple(chosen[key].split(","))
    chosen.setdefault("dataset", "ml-1m" if asked.data_path else "ml-100k")
    return Options(**chosen)


def markdown(result: dict[str, Any]) -> str:
    """One benchmark's answer as Markdown."""
    lines = [f"### {result['title']}", ""]
    lines.append("| " + " | ".join(result["columns"]) + " |")
    lines.append("|---" + "|---:" * (len(result["columns"]) - 1) + "|")
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in result["rows"]]
    lines.append("")
    for text, value, limit, sign in result["claims"]:
        met = value <= limit if sign == "<=" else value >= limit
        lines.append(
            f"- {text}: {value:.2f}, wanted {sign} {limit:g}: {'met' if met else 'MISSED'}"
        )
    agreement = max(result["agreement"].values(), default=None)
    if agreement is not None:
        lines.append(f"- largest difference between the contestants' results: {agreement:.1e}")
    lines += [f"- {note}" for note in result["notes"]]
    machine = result["machine"]
    loads = " -> ".join(str(machine[key][0]) for key in ("load_average", "load_average_after"))
    lines.append(
        f"- {machine['processor']}, {machine['cores']} cores, {machine['threads']} thread, load "
        f"average {loads}, torch {machine['torch']}, {result['created']}: "
        f"`{result['command']}`"
    )
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def put_between(path: Path, markers: tuple[str, str], text: str) -> None:
    """Put a text between the two markers of a page."""
    begin, end = markers
    before, rest = path.read_text(encoding="utf-8").split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def write_readme(results: dict[str, Any]) -> None:
    tables = "\n\n".join(markdown(results[name]) for name in NAMES if name in results)
    put_between(HERE / "README.md", MARKERS, tables)


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    asked = arguments(words)
    import torch

    from benchmarks._common import machine

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # RecBole's Trainer uses names that torch deprecates
    options = options_of(asked)
    if asked.data_path is None:
        print("no --data_path: measured on ml-100k, for which nothing is claimed\n", flush=True)
    results = json.loads(asked.results.read_text()) if asked.results.exists() else {}
    for name in asked.names or [name for name in NAMES if name not in ASKED_FOR]:
        before = machine()
        table = importlib.import_module(f"benchmarks.{name}").measure(options)
        results[name] = {
            **table.as_dict(),
            "created": datetime.now().astimezone().isoformat(timespec="minutes"),
            "command": shlex.join(["python", "benchmarks/run.py", *words]),
            "machine": {**before, "load_average_after": machine()["load_average"]},
        }
        asked.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(markdown(results[name]), end="\n\n", flush=True)
    if asked.write_readme:
        write_readme(results)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    logging.getLogger().setLevel(logging.ERROR)
    # The script's folder would make its modules importable under a second name.
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != HERE]
    sys.exit(main())
