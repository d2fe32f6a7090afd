"""Compares methods on backbones: reuses existing results and runs what is missing.

``Campaign`` plans cells (backbone x method x seed), finds those that earlier runs hold already, and
hands the others to a pool. What comes of it is a comparison document (``report.Comparison`` reads
it).
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_cold import keys, paths, report
from recbole_cold.comparison.earlier import Earlier, Found
from recbole_cold.comparison.requests import Cell, CompareRequest, row_name
from recbole_cold.config import ColdConfig
from recbole_cold.data._cache import cache_root
from recbole_cold.errors import UserError
from recbole_cold.experiment.data_store import DataStore
from recbole_cold.experiment.document import matched_entry
from recbole_cold.experiment.experiment import Experiment
from recbole_cold.experiment.intervals import settings_from
from recbole_cold.experiment.keeping import refuse_without_folder
from recbole_cold.experiment.requests import (
    Entry,
    Request,
    data_folder,
    parse_entries,
    reference_rows,
    refuse_run_wide,
)
from recbole_cold.experiment.scores import NAMED, SUFFIX, in_folder
from recbole_cold.experiment.session import add_intervals
from recbole_cold.kinds import plain
from recbole_cold.registry import absolute, entry_texts, find_method
from recbole_cold.store import write_bytes
from recbole_cold.trials.trial import ALONE, TrialSpec

logger = logging.getLogger(__name__)

RunAll = Callable[..., None]


class Campaign:
    """The cells (method, backbone, seed) of one request.

    Attributes:
        chosen: where settings were chosen row by row: (backbone, row) -> keys of that row alone,
            which its label does not show. A row without an entry is not run. None: all rows run as
            asked for.

    Args:
        request: what to compare.
        stop: asked by the pool; true ends with ``Interrupted``.

    Raises:
        UserError: the request cannot be run; nothing has been written.
    """

    def __init__(self, request: CompareRequest, stop: Callable[[], bool] = lambda: False) -> None:
        self.request, self.stop = request, stop
        for name, value in (
            ("concurrent", request.concurrent), ("cpus_per_trial", request.cpus),
            ("gpus_per_trial", request.gpus), ("ray_address", request.ray_address),
        ):  # fmt: skip
            keys.check_flag(name, value, request.place)
        backbones = parse_entries(request.backbones, "--backbones")
        for backbone in backbones:
            refuse_run_wide(backbone)
        self.texts = [absolute(text) for text in entry_texts(request.models)]
        store = DataStore(most=1000)
        # What is asked for decides what is added to it, and all of it is run on each backbone.
        first = self._experiment(backbones[0], store)
        refuse_without_folder(first.first(), "a table of trials")
        self.added = self._references(first)
        self.texts += self.added
        self.experiments: dict[str, Experiment] = {}
        for backbone in backbones:
            experiment = self._experiment(backbone, store)
            experiment.prepare()
            self.experiments[backbone.label] = experiment
        # Beside several backbones a method with a network of its own runs, and is shown, once.
        self.alone = [
            entry.label
            for entry in self.first().entries
            if len(self.experiments) > 1 and find_method(entry.spec).network is not None
        ]
        self.chosen: dict[tuple[str, str], Mapping[str, Any]] | None = None
        self.failures: list[dict[str, Any]] = []
        self.found: dict[tuple[str, str, int], tuple[Cell, Found]] = {}
        self.ran = 0

    def _experiment(self, backbone: Entry, store: DataStore) -> Experiment:
        request = _request_on(backbone, self.request, self.texts)
        return Experiment(request, stop=self.stop, store=store)

    @staticmethod
    def _references(experiment: Experiment) -> list[str]:
        """The reference rows that a table of these methods lacks, as on the command line."""
        rows = [entry.label for entry in experiment.entries]
        known = reference_rows(experiment.first()) if len(rows) > 1 else []
        return [absolute(text) for text, entry in known if entry.label not in rows]

    def first(self) -> Experiment:
        return next(iter(self.experiments.values()))

    def check(self) -> None:
        """Refuse a request that gives no table, before anything is run.

        Raises:
            UserError: one method on one backbone, or an unknown row to test against.
        """
        rows = [entry.label for entry in self.first().entries]
        matched = bool(self.first().first()["matched_row"])
        if len(rows) * len(self.experiments) < 2:
            raise UserError(
                f"there is nothing to compare: {rows[0]} on {next(iter(self.experiments))} is one "
                "cell; name two methods with --models or two backbones with --backbones"
            )
        known = rows + [report.MATCHED] * matched
        if self.request.against is not None and row_name(self.request.against) not in known:
            raise UserError(
                f"--against names '{self.request.against}', which is not compared here; rows are "
                f"{', '.join(known)}"
            )

    def cells(self) -> list[Cell]:
        """Methods first, then backbones: seeds of one backbone share its pre-training."""
        return [
            Cell(backbone, entry, text, seed)
            for backbone, experiment in self.experiments.items()
            for seed in experiment.seeds()
            for entry, text in zip(experiment.entries, self.texts, strict=True)
            if entry.label not in self.alone or experiment is self.first()
            if self.chosen is None or (backbone, entry.label) in self.chosen
        ]

    def _chosen(self, cell: Cell) -> Cell:
        """The cell with the keys that were chosen for its row; the matched row has the plain one's,
        but for its steps."""
        if self.chosen is None:
            return cell
        row = "Base" if cell.entry.matched_steps is not None else cell.entry.label
        keys_of_row = {**self.chosen[cell.backbone, row], **cell.entry.variant}
        return cell._replace(entry=replace(cell.entry, variant=keys_of_row))

    def run(self, folder: Path, saved_dir: Path, run_all: RunAll) -> dict[str, Any]:
        """Reuse results, run what is missing; the comparison, also in ``comparison.json``.

        Whatever ends this, the results that are there are in the folder.

        Args:
            run_all: as :func:`recbole_cold.trials.ray_pool.run_all`.
        """
        if self.added:
            told = "reference rows added: %s; --reference_rows=[] leaves them out"
            logger.info(told, ", ".join(self.added))
        earlier = Earlier(saved_dir, folder)
        try:
            self._fill(self.cells(), earlier, folder, run_all)
            self._fill(list(self._matched_cells()), earlier, folder, run_all)
        finally:
            document = self.document()
            report.write_json(folder / "comparison.json", document)
        settings = settings_from(self.first().first())
        add_intervals(document, by_backbone(document), in_folder(folder), settings, self.stop)
        report.write_json(folder / "comparison.json", document)
        return document

    def _fill(
        self, cells: Sequence[Cell], earlier: "Earlier", folder: Path, run_all: RunAll
    ) -> None:
        todo: dict[str, Cell] = {}
        specs: list[TrialSpec] = []
        for cell in cells:
            known = earlier.find(self.experiments[cell.backbone], self._chosen(cell))
            if known is not None:
                self.found[cell.place] = cell, known
                continue
            spec = self.spec(cell)
            if spec.key not in todo:
                specs.append(spec)
            todo[spec.key] = cell
        logger.info(
            "%d of %d results are there already, %d to run", len(cells) - len(specs), len(cells),
            len(specs),
        )  # fmt: skip
        if not specs:
            return
        done = 0
        scored: set[str] = set()

        def on_scores(spec: TrialSpec, content: bytes) -> None:
            # Before the document, which says that they are there.
            write_bytes(folder / "trials" / f"{spec.key}{SUFFIX}", content)
            scored.add(spec.key)

        def on_done(spec: TrialSpec, document: Mapping[str, Any]) -> None:
            nonlocal done
            scores = folder / "trials" / f"{spec.key}{SUFFIX}"
            cell, (run,) = todo[spec.key], document["runs"]
            if spec.key in scored:
                run["seeds"][0][NAMED] = scores.name
            report.write_json(scores.with_suffix(".json"), document)
            self.found[cell.place] = cell, Found(run, run["seeds"][0], str(scores.parent))
            self.ran += 1
            done += 1
            logger.info("[%d/%d] %s: %s", done, len(specs), _place(cell), _scores(document))

        def on_failed(spec: TrialSpec, error: str) -> None:
            nonlocal done
            done += 1
            cell = todo[spec.key]
            self.failures.append(
                {"backbone": cell.backbone, "row": cell.entry.label, "seed": cell.seed,
                 "error": error}
            )  # fmt: skip
            last = error.strip().splitlines() or ["unknown"]
            logger.error("[%d/%d] %s: failed: %s", done, len(specs), _place(cell), last[-1])

        asked = self.request
        run_all(
            specs, cpus=asked.cpus, gpus=asked.gpus, concurrent=asked.concurrent,
            ray_address=asked.ray_address, on_done=on_done, on_failed=on_failed,
            on_scores=on_scores, name=folder.name, stop=self.stop,
        )  # fmt: skip

    def spec(self, cell: Cell) -> TrialSpec:
        """The trial of a cell: every path absolute, no key that belongs to another method."""
        experiment = self.experiments[cell.backbone]
        config = experiment.config(self._chosen(cell).entry, cell.seed)
        leave = {*cell.entry.variant, *keys.names(apart=True), *ALONE, "models", "saved_dir"}
        given = {k: v for k, v in config.external_config_dict.items() if k not in leave}
        if config["share_pretrained"]:
            given["pretrain_seed"] = config["pretrain_seed"]
        given["data_path"] = data_folder(config)
        if given.get("init_from"):
            given["init_from"] = str(paths.expanded(given["init_from"]).absolute())
        if config["cache_dir"]:  # else every machine has its own
            given["cache_dir"] = str(cache_root(config["cache_dir"]).absolute())
        return TrialSpec(
            model="Base" if cell.entry.matched_steps else cell.text,
            dataset=config.dataset,
            backbone=absolute(str(experiment.request.backbone)),
            overrides=plain(given),
            seed=cell.seed,
            matched_steps=cell.entry.matched_steps,
        )

    def _matched_cells(self) -> Iterator[Cell]:
        for backbone, experiment in self.experiments.items():
            entry = None
            plain = self.chosen is None or (backbone, "Base") in self.chosen
            if experiment.first()["matched_row"] and plain:
                entry = matched_entry(self._document_of(backbone))
            if entry is not None:
                for seed in experiment.seeds():
                    yield Cell(backbone, entry, "Base", seed)

    # ---------------------------------------------------------------- the document
    def document(self) -> dict[str, Any]:
        """The comparison document of the results so far."""
        rows = [entry.label for entry in self.first().entries]
        if any(cell.entry.matched_steps for cell, _ in self.found.values()):
            rows.append(report.MATCHED)
        base = self.first().first()["base_model"]
        against = row_name(self.request.against) if self.request.against else base
        documents = [self._document_of(backbone) for backbone in self.experiments]
        if self.alone:
            documents.append({**documents[0], "backbone_label": report.OWN_NETWORK})
            for document in documents:
                own = document["backbone_label"] == report.OWN_NETWORK
                document["runs"] = [
                    run for run in document["runs"] if (run["label"] in self.alone) == own
                ]
        return {
            "schema": report.SCHEMA,
            "command": self.request.command,
            "created": report.now(),
            "against": against if against in rows else None,
            "rows": rows,
            "alone": self.alone,
            "backbones": [str(document["backbone_label"]) for document in documents],
            "seeds": self.first().seeds(),
            "ran": self.ran,
            "reused": len(self.found) - self.ran,
            "failures": self.failures,
            "documents": documents,
        }

    def _document_of(self, backbone: str) -> dict[str, Any]:
        experiment = self.experiments[backbone]
        runs: dict[str, dict[str, Any]] = {}
        order = [entry.label for entry in experiment.entries]
        cells = [pair for pair in self.found.values() if pair[0].backbone == backbone]
        cells.sort(key=lambda pair: (_order(order, pair[0].entry.label), pair[0].seed))
        for cell, known in cells:
            label = cell.entry.label
            if label not in runs:
                names = {"label": label, "variant": dict(cell.entry.variant)}
                names["matched_steps"] = cell.entry.matched_steps
                runs[label] = {**known.run, **names, "seeds": []}
            runs[label]["seeds"].append({**known.seed, "from": known.source})
        return {**experiment.document, "backbone_label": backbone, "runs": list(runs.values())}


def _request_on(backbone: Entry, asked: CompareRequest, texts: Sequence[str]) -> Request:
    """The request of a comparison's rows on one of its backbones."""
    return Request(
        texts, asked.dataset, backbone.spec, list(asked.config_files),
        {**asked.overrides, **backbone.variant}, asked.command, asked.place,
    )  # fmt: skip


def first_config(asked: CompareRequest) -> ColdConfig:
    """The configuration of the first row on the first backbone; no data is needed.

    Raises:
        UserError: something in it cannot be.
    """
    backbone = parse_entries(asked.backbones, "--backbones")[0]
    texts = [absolute(text) for text in entry_texts(asked.models)]
    return Experiment(_request_on(backbone, asked, texts)).first()


def by_backbone(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The results documents of a comparison by the labels of their backbones."""
    return {doc["backbone_label"]: doc for doc in document["documents"]}


def _order(known: Sequence[str], label: str) -> int:
    return known.index(label) if label in known else len(known)


def _place(cell: Cell) -> str:
    return f"{cell.entry.label} on {cell.backbone}, seed {cell.seed}"


def _scores(document: Mapping[str, Any]) -> str:
    scored = document["runs"][0]["seeds"][0]["phases"]
    metric = document["metrics"][0]
    values = [f"{name} {phase['metrics'].get(metric, float('nan')):.4f}"
              for name, phase in scored.items()]  # fmt: skip
    seconds = document.get("trial", {}).get("seconds")
    return f"{metric} {', '.join(values)}" + (f" ({seconds:.1f} s)" if seconds else "")
