"""Results documents: schema 1, reading with checks, and writing."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from recbole_cold.errors import UserError
from recbole_cold.kinds import plain
from recbole_cold.store import write_bytes

SCHEMA = 1

Document = Mapping[str, Any]

_NUMBER = (int, float)
_DOCUMENT: dict[str, Any] = {
    "command": str, "created": str, "dataset": str, "data_hash": str, "split": dict,
    "versions": dict, "eval_on": str, "protocol": str, "phases": list, "metrics": list,
    "share_pretrained": bool, "runs": list,
}  # fmt: skip
_RUN: dict[str, Any] = {
    "label": str, "model": str, "backbone": str, "variant": dict, "config": dict,
    "parameters": dict, "seeds": list,
}  # fmt: skip
_SEED: dict[str, Any] = {"seed": int, "phases": dict, "stages": list}
_PHASE: dict[str, Any] = {"metrics": dict, "rows": int, "positives": int, "warnings": list}
_OLD: dict[str, Any] = {"rows": int, "before": _NUMBER, "AUC": _NUMBER}
_NO_BINS: dict[str, list] = {"predicted": [], "clicked": [], "rows": []}
_STAGE: dict[str, Any] = {
    "name": str, "steps": int, "rows": int, "seconds": _NUMBER, "cpu_seconds": _NUMBER,
    "peak_memory_mb": _NUMBER, "cached": bool,
}  # fmt: skip
_INTERVAL: dict[str, Any] = {
    "backbone": str, "row": str, "against": str, "phase": str, "metric": str, "by": str,
    "difference": _NUMBER, "low": _NUMBER, "high": _NUMBER, "error": _NUMBER, "seeds": int,
    "resamples": int, "nested": bool,
}  # fmt: skip


def load(path: str | Path) -> dict[str, Any]:
    """The results document at ``path``, a file or the folder of a run, checked; null is nan.

    Raises:
        UserError: the file is missing, is not JSON, is of another schema, or lacks something.
    """
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot read '{path}' ({reason}); give a results.json or the folder of a run."
        ) from error
    except ValueError as error:
        raise UserError(
            f"'{path}' is not JSON ({error}): it is damaged or not a results file; repeat the run."
        ) from error
    return validate(document, str(path))


def validate(document: Any, source: str = "the results document") -> dict[str, Any]:
    """``document``, checked; its metrics become floats in place, null being nan.

    Raises:
        UserError: names the first thing that is missing or of another kind.
    """
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        found = "names no schema" if schema is None else f"has schema {schema!r}"
        advice = "give a results.json of this program"
        if isinstance(schema, int) and schema > SCHEMA:
            advice = "a newer recbole_cold wrote it: upgrade to read it"
        raise UserError(f"'{source}' {found} and schema {SCHEMA} is read here: {advice}.")
    _need(document, _DOCUMENT, "", source)
    for name in ("failures", "comparison_failures"):
        if not _is(document.get(name, []), list):
            raise UserError(f"'{source}': {name} must be a list.")
    labels = []
    for r, run in enumerate(document["runs"]):
        _need(run, _RUN, f"runs[{r}]", source)
        labels.append(run["label"])
        for s, seed in enumerate(run["seeds"]):
            _validate_seed(seed, f"runs[{r}].seeds[{s}]", document, source)
        _unique([seed["seed"] for seed in run["seeds"]], f"the seed in runs[{r}].seeds", source)
    _unique(labels, "the label of runs", source)
    validate_intervals(document, source)
    return dict(document)


def validate_intervals(document: dict[str, Any], source: str) -> None:
    """Check the records of intervals, if there are any; null becomes nan in place.

    Raises:
        UserError: one is no record.
    """
    records = document.get("intervals", [])
    if not _is(records, list):
        raise UserError(f"'{source}': intervals must be a list.")
    for number, record in enumerate(records):
        where = f"intervals[{number}]"
        for name in ("difference", "low", "high", "error"):
            if isinstance(record, dict) and record.get(name, math.nan) is None:
                record[name] = math.nan
        _need(record, _INTERVAL, where, source)


def _validate_seed(seed: Any, where: str, document: Document, source: str) -> None:
    _need(seed, _SEED, where, source)
    _check_peaks(seed, where, source)
    for name, phase in seed["phases"].items():
        here = f"{where}.phases.{name}"
        if name not in document["phases"]:
            raise UserError(f"'{source}': {here} is not among the document's phases.")
        _need(phase, _PHASE, here, source)
        for metric, value in phase["metrics"].items():
            if value is not None and not _is(value, _NUMBER):
                raise UserError(f"'{source}': {here}.metrics.{metric} must be a number or null.")
            phase["metrics"][metric] = math.nan if value is None else float(value)
        if phase.get("auc_error", 0) is None:
            phase["auc_error"] = math.nan
        if not _is(phase.get("auc_error", 0.0), _NUMBER):
            raise UserError(f"'{source}': {here}.auc_error must be a number or null.")
        if "old" in phase:
            _validate_old(phase["old"], f"{here}.old", source)
        if not _are_bins(phase.get("reliability", _NO_BINS)):
            raise UserError(
                f"'{source}': {here}.reliability must be lists {', '.join(_NO_BINS)} of one length."
            )
    for t, stage in enumerate(seed["stages"]):
        _need(stage, _STAGE, f"{where}.stages[{t}]", source)
        _check_peaks(stage, f"{where}.stages[{t}]", source)


def _check_peaks(part: Document, where: str, source: str) -> None:
    for name in ("peak_memory_mb", "peak_gpu_memory_mb"):
        if not _is(part.get(name, 0.0), _NUMBER):
            raise UserError(f"'{source}': {where}.{name} must be a number.")


def _validate_old(old: Any, where: str, source: str) -> None:
    for name in ("before", "AUC"):
        if isinstance(old, dict) and old.get(name, math.nan) is None:
            old[name] = math.nan
    _need(old, _OLD, where, source)


def _are_bins(bins: Any) -> bool:
    """Whether these are shares (None of an empty bin) and numbers of rows, bin by bin."""
    if not isinstance(bins, dict) or bins.keys() != _NO_BINS.keys():
        return False
    if not all(isinstance(values, list) for values in bins.values()):
        return False
    columns = list(bins.values())
    whole = all(_is(each, _NUMBER) for each in bins["rows"])
    known = all(each is None or _is(each, _NUMBER) for column in columns for each in column)
    return whole and known and len({len(column) for column in columns}) == 1


def _need(part: Any, keys: Mapping[str, Any], where: str, source: str) -> None:
    if not isinstance(part, dict):
        raise UserError(f"'{source}': {where} must be a mapping with {', '.join(keys)}.")
    for key, kind in keys.items():
        name = f"{where}.{key}".lstrip(".")
        if key not in part:
            raise UserError(f"'{source}': {name} is missing; it is no whole results file.")
        if not _is(part[key], kind):
            kinds = {str: "text", dict: "a mapping", list: "a list", bool: "true or false"}
            wanted = kinds.get(kind, "a number")
            raise UserError(f"'{source}': {name} must be {wanted}, not {part[key]!r:.40}.")


def _is(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _unique(names: Sequence[Any], what: str, source: str) -> None:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"'{source}': {what} is given twice ({twice[0]!r}); each must be unique.")


def write_json(path: str | Path, doc: Document) -> None:
    """Write ``doc`` so that ``path`` holds the old text or all of the new; nan becomes null.

    Raises:
        UserError: the folder cannot be written or is full; an earlier file is left as it was.
    """
    text = json.dumps(_without_nan(plain(doc)), indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(Path(path), text.encode() + b"\n")


def now() -> str:
    """The current time for documents: ISO 8601 with the zone, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _without_nan(value: Any) -> Any:
    """Plain values with None in place of nan, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
