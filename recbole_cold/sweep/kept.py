"""The trials in a sweep's folder: those that code, libraries, data and settings of today made."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recbole_cold import keys, report
from recbole_cold.config import make_config
from recbole_cold.errors import UserError
from recbole_cold.experiment.beginning import changed_names, same_libraries
from recbole_cold.store import write_bytes
from recbole_cold.sweep.choosing import Outcomes
from recbole_cold.trials.trial import ALONE, TrialSpec

logger = logging.getLogger(__name__)
# Keys that tell nothing of a trial's numbers, or that the name of its file tells.
_TOLD_APART = keys.names(only=[keys.PLACE]) | keys.names(apart=True) | {"pretrain_seed", *ALONE}


class Origin(NamedTuple):
    """What trials follow from beside their setting: code, versions and the hash of the data."""

    code: str
    versions: Mapping[str, str]
    data: str

    def is_of(self, other: "Origin") -> bool:
        same = (self.code, self.data) == (other.code, other.data)
        return same and same_libraries(self.versions, other.versions)


class KeptTrials:
    """The files of trials that are over, taken into ``outcomes``.

    Attributes:
        outdated: keys of trials that are there but were made by something else; they are run again.

    Args:
        folder: of the sweep.
        origin: what trials follow from today.
    """

    def __init__(self, folder: Path, outcomes: Outcomes, origin: Origin) -> None:
        self.folder, self.outcomes, self.origin = folder, outcomes, origin
        self.outdated: set[str] = set()

    def path(self, spec: TrialSpec) -> Path:
        return self.folder / "trials" / f"{spec.key}.json"

    def _early_path(self, spec: TrialSpec) -> Path:
        return self.folder / "stopped" / spec.key

    def read(self, spec: TrialSpec) -> bool:
        """Whether a trial is over; what an earlier call left of it is taken."""
        known = self.outcomes
        if spec.key in known.documents or spec.key in known.stopped:
            return True
        try:
            early = self._read_early(spec)
            document = report.load(self.path(spec)) if self.path(spec).exists() else None
        except UserError as problem:
            logger.warning("%s; this trial is run again", problem)
            return False
        if early is not None and self._is_ours(spec, *early[1:]):
            known.stopped[spec.key] = early[0]
        elif document is not None and self._is_ours(spec, *_made(document)):
            known.documents[spec.key] = document
        return spec.key in known.documents or spec.key in known.stopped

    def _read_early(self, spec: TrialSpec) -> tuple[int, Origin, dict[str, Any]] | None:
        path = self._early_path(spec)
        if not path.exists():
            return None
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            origin = Origin(told["code"], dict(told["versions"]), told["data"])
            return int(told["epoch"]), origin, dict(told["config"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"'{path}' is damaged ({error})") from error

    def _is_ours(self, spec: TrialSpec, origin: Origin, config: Mapping[str, Any]) -> bool:
        same = not changed_names(config, _config_of(spec), _TOLD_APART)
        if same and self.origin.is_of(origin):
            return True
        if not self.outdated:
            logger.warning(
                "other code, versions, data or settings made trials of the sweep in '%s'; these "
                "are run again",
                self.folder,
            )
        self.outdated.add(spec.key)
        return False

    def done(self, spec: TrialSpec, document: dict[str, Any]) -> dict[str, Any]:
        """Keep a trial's results; as they are read back."""
        report.write_json(self.path(spec), document)
        self.outcomes.documents[spec.key] = report.load(self.path(spec))
        return self.outcomes.documents[spec.key]

    def early(self, spec: TrialSpec, epoch: int) -> None:
        """Keep the last epoch of a trial that was stopped early."""
        told = {"epoch": epoch, **self.origin._asdict(), "config": _config_of(spec)}
        write_bytes(self._early_path(spec), f"{json.dumps(told)}\n".encode())
        self.outcomes.stopped[spec.key] = epoch


def _made(document: Mapping[str, Any]) -> tuple[Origin, dict[str, Any]]:
    """What a trial's document says that it follows from, and its configuration."""
    (run,) = document["runs"]
    origin = Origin(str(run.get("code")), document["versions"], str(document["data_hash"]))
    return origin, run["config"]


def _config_of(spec: TrialSpec) -> dict[str, Any]:
    """The configuration of a trial today: files that it names may say something else by now."""
    overrides = {**spec.overrides, "seed": spec.seed}
    return make_config(
        spec.model, spec.dataset, spec.backbone, spec.config_files, overrides
    ).as_dict()
