"""The results document of a run: how it begins, its rows, and the row with matched steps."""

import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from recbole_cold import report
from recbole_cold.config import ColdConfig
from recbole_cold.data._cache import size_of
from recbole_cold.data.dataset import ColdStartDataset
from recbole_cold.experiment.fingerprint import versions
from recbole_cold.experiment.requests import Entry, reference_rows
from recbole_cold.model._method import ColdStartRecommender


def new_document(
    command: str, config: ColdConfig, dataset: ColdStartDataset, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The document of a run before anything was trained.

    Args:
        command: what was asked for, as text.
        config: of the first row. dataset: its view, with the split of the first seed.
        notes: besides those of the data.
    """
    return {
        "schema": report.SCHEMA,
        "command": command,
        "created": report.now(),
        "dataset": config.dataset,
        "data_hash": dataset.data_hash,
        "notes": [*dataset.notes, *notes],
        "split": json.loads(json.dumps(dict(dataset.split.manifest), default=int)),
        "versions": versions(),
        "device": _device_name(config["device"]),
        "threads": torch.get_num_threads(),
        "eval_on": config["eval_on"],
        "fit_on": config["fit_on"],
        "protocol": config["protocol"],
        "phases": [phase.name for phase in dataset.split.phases],
        "metrics": list(config["metrics"]),
        "share_pretrained": config["share_pretrained"],
        **{name: config[name] for name in ("base_model", "smallest_effect", "wilcoxon")},
        "reference_rows": [each.label for _, each in reference_rows(config)],
        "runs": [],
    }


def new_run(
    entry: Entry, config: ColdConfig, method: ColdStartRecommender, code: str
) -> dict[str, Any]:
    """A row of the document without any seed.

    Args:
        config: of the first seed that is run. code: what the row's code is known by.
    """
    backbone = sum(parameter.numel() for parameter in method.backbone.parameters())
    everything = sum(parameter.numel() for parameter in method.parameters())
    served = method.new_vectors.numel() + method.new_first_order.numel()
    return {
        "label": entry.label,
        "model": config["model"],
        "backbone": config.backbone_name,
        "variant": dict(entry.variant),
        "matched_steps": entry.matched_steps,
        "config": config.as_dict(),
        "code": code,
        "parameters": {"backbone": backbone, "method": everything - backbone - served},
        "seeds": [],
    }


def matched_entry(document: Mapping[str, Any]) -> Entry | None:
    """The row of the plain backbone with as many steps per warm phase as the longest method.

    None where no method takes more steps than the plain backbone does anyway.
    """
    warm = document["phases"][1:]
    most, plain = 0, 0
    for run in document["runs"]:
        if run["matched_steps"] is not None:
            continue
        stages = run["seeds"][0]["stages"]
        steps = max((s["steps"] for s in stages if s["name"] in warm), default=0)
        most = max(most, steps)
        if run["model"] == "Base":
            plain = max(plain, steps)
    return Entry("Base", {"warm_steps": most}, matched_steps=most) if most > plain else None


def points_told(points: Mapping[str, int]) -> str:
    """What the resume points of a seed came to, for the end of a line.

    Args:
        points: how many were written (``count``), and their ``bytes``.
    """
    if not points["count"]:
        return ""
    return f"; {points['count']:,} resume points, {size_of(points['bytes'])}"


def end_told(phases: Sequence[str], results: Mapping[str, Any], points: Mapping[str, int]) -> str:
    """The line at a seed's end: the AUC of each phase, and what its resume points came to."""
    scored = [(name, results[name]["metrics"]) for name in phases]
    told = "done"
    if "AUC" in scored[-1][1]:
        told = ", ".join(f"{name} {each.get('AUC', float('nan')):.4f}" for name, each in scored)
    return told + points_told(points)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({platform.machine()})"
