"""The request of a reproduction, and the comparisons that its rows are cells of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from recbole_cold import keys
from recbole_cold.comparison.requests import CompareRequest
from recbole_cold.config import keys_of, overall_values
from recbole_cold.errors import UserError
from recbole_cold.experiment.requests import parse_entries
from recbole_cold.papers.files import PaperItem, PaperRow, parse_item
from recbole_cold.report import OWN_NETWORK

VERB = "reproduce"
SEEDS = 5  # where the paper does not say how many
FAST = {"seeds": 2, "pretrain_epochs": 1}  # of a fast run, beside what the file says
# Rows that a comparison adds by itself, and that no paper has.
ADDED = {"matched_row": False, "reference_rows": []}
SET_BY_FILE = ("model", "models", "backbone", "backbones", "config_files", "against")


@dataclass(frozen=True)
class ReproduceRequest:
    """The request of one reproduction: plain values, which a later ``--resume`` reads back.

    Attributes:
        models: the entries of all rows; a resumed one names the code that they stand for.
        name, text: of the file, so that an edit of it does not change what is continued.
        item: whose feature graphs are drawn; None takes the first one.
    """

    models: str
    name: str
    text: str
    dataset: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    fast: bool = False
    item: str | None = None
    concurrent: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    ray_address: str | None = None
    command: str = ""
    verb: str = VERB
    place: str = keys.COMMAND_LINE

    def paper_item(self) -> PaperItem:
        return parse_item(self.text, self.name, self.name)


class Part(NamedTuple):
    """The rows on one backbone, and the comparison that gives their numbers.

    Attributes:
        backbone: the label of its group in the comparison's document.
        own: whether its methods stand on no backbone.
    """

    request: CompareRequest
    rows: Sequence[PaperRow]
    backbone: str
    own: bool


def request_of_item(
    item: PaperItem, dataset: str, given: Mapping[str, Any], **options: Any
) -> ReproduceRequest:
    """The request of one item on one data set.

    Args:
        given: keys beside those of the file; they win.
        options: the other fields of the request.

    Raises:
        UserError: the file has no rows that run here, or a key is given that it decides.
    """
    if item.unknown is not None:
        raise UserError(f"{item.name} cannot be reproduced: {item.unknown}")
    models = list(dict.fromkeys(str(row.model) for row in item.runnable()))
    if not models:
        reasons = "; ".join(dict.fromkeys(str(row.absent) for row in item.rows))
        raise UserError(f"{item.name} has no row that can be run here: {reasons}")
    for key in SET_BY_FILE:
        if key in given:
            raise UserError(
                f"{item.name} says which {key} there is; leave out --{key}, or write a file of "
                "your own (docs/reproduce.md)"
            )
    return ReproduceRequest(
        ",".join(models), item.name, item.text, dataset, dict(given), **options
    )  # fmt: skip


def settings(request: ReproduceRequest) -> dict[str, Any]:
    """The keys of all parts: those of the file, of the data set, of a fast run, then the user's."""
    item = request.paper_item()
    data = item.data.get(request.dataset)
    return {
        "protocol": item.protocol,
        "metrics": list(item.metrics),
        "seeds": seeds_of(item),
        **{key: value for key, value in ADDED.items() if key in keys.ROWS},
        **item.keys,
        **(data.keys if data is not None else {}),
        **fast_settings(request),
        **request.overrides,
    }


def seeds_of(item: PaperItem) -> int:
    """How many seeds the file asks for: those of its keys, the paper's, or ours."""
    return int(item.keys.get("seeds") or item.seeds or SEEDS)


def fast_settings(request: ReproduceRequest) -> dict[str, Any]:
    """What a fast run has less of, where the user does not say; empty if this is none."""
    item = request.paper_item()
    less = {**FAST, **item.fast} if request.fast else {}
    if request.fast and seeds_of(item) < FAST["seeds"]:
        del less["seeds"]
    return {key: value for key, value in less.items() if key not in request.overrides}


def parts_of(request: ReproduceRequest) -> list[Part]:
    """The comparisons that give every row that is run, one per backbone."""
    item, given = request.paper_item(), settings(request)
    groups: dict[str | None, list[PaperRow]] = {}
    for row in item.runnable():
        groups.setdefault(row.backbone, []).append(row)
    every = {str(row.model) for row in item.runnable()}
    place = f"{item.name} or {request.place}"
    parts = []
    for backbone, rows in groups.items():
        models = ",".join(dict.fromkeys(str(row.model) for row in rows))
        asked = CompareRequest(
            models, backbone or str(overall_values()["backbone"]), request.dataset,
            overrides=_keys_of_these(given, models, ",".join(every)),
            concurrent=request.concurrent, cpus=request.cpus, gpus=request.gpus,
            ray_address=request.ray_address, command=request.command, place=place,
        )  # fmt: skip
        (label,) = [entry.label for entry in parse_entries(asked.backbones, "backbone")]
        own = backbone is None
        parts.append(Part(asked, rows, OWN_NETWORK if own else label, own))
    return parts


def label_of(row: PaperRow) -> str:
    """The label of a row in the comparison."""
    return parse_entries(str(row.model))[0].label


def _keys_of_these(given: Mapping[str, Any], models: str, every: str) -> dict[str, Any]:
    """``given`` without the keys of methods that are in other parts only."""

    def own(text: str) -> set[str]:
        return {key for entry in parse_entries(text) for key in keys_of(entry.spec)}

    elsewhere = own(every) - own(models) - keys.ROWS.keys()
    return {key: value for key, value in given.items() if key not in elsewhere}
