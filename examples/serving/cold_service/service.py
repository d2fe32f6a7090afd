"""What the four requests do. Scoring never waits: a model that has grown takes over in one step."""

import json
import logging
import math
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cold_service.generating import Generator, item_table
from cold_service.scoring import BadRequest, Exported
from cold_service.store import Failed, Store, about

logger = logging.getLogger(__name__)


class Known(BadRequest):
    """The item has a vector already."""


class Unavailable(RuntimeError):
    """Not now; in one sentence."""


class Model:
    """One model of a store, in memory: replaced as a whole.

    Attributes:
        exported: what scores.
        told: ``number``, ``lineage``, ``lines`` of the store; ``kept``: what ``model.json`` says.
    """

    def __init__(self, folder: Path, items: Sequence[Mapping[str, Any]]) -> None:
        self.folder, self.told = folder, about(folder)
        self.exported = Exported(folder / "exported")
        self.kept = json.loads((folder / "model" / "model.json").read_text(encoding="utf-8"))
        for each in items:
            if not self.exported.knows(each["item"]):
                self.exported.add(each["item"], each["served"], each["policy"])

    @property
    def name(self) -> str:
        return self.folder.name


class Service:
    """Scores, makes vectors, keeps feedback, and grows in the background.

    Args:
        store: has a current model.
        grow_after: clicks and views of new items that are worth a warm phase, from 1 on.
    """

    def __init__(self, store: Store, grow_after: int) -> None:
        folder = store.current
        assert folder is not None
        self.store, self.grow_after = store, grow_after
        self.model = Model(folder, store.items.values)
        self.growing, self.last_error = False, ""
        self._generator = Generator(self.model.folder / "model")
        # Of whoever writes a file or exchanges the model, and of who makes a vector; scoring needs
        # neither.
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._wake, self._ends = threading.Event(), False
        self._thread = threading.Thread(target=self._grow_when_asked, daemon=True)
        self._thread.start()
        self._look()

    def close(self) -> None:
        """End when a growth that has begun is over."""
        self._ends = True
        self._wake.set()
        self._thread.join()
        self._generator.close()
        self.store.close()

    # ---------------------------------------------------------------- requests
    def score(self, user: str, candidates: Sequence[str], **more: Any) -> dict[str, Any]:
        """Scores of one user's candidates, in their order."""
        model = self.model  # one for the whole request, whatever takes over meanwhile
        scores, policies = model.exported.score(user, candidates, **more)
        return {"model": model.name, "scores": scores.tolist(), "policies": policies}

    def vector(self, item: str, features: Mapping[str, Any]) -> dict[str, Any]:
        """The vector of a new item, which is served with it from now on.

        Raises:
            BadRequest: the item is known, or the model does not take these features.
            Unavailable: the process with the model has died, and another one is begun; or what it
                made cannot be served. The item is not kept.
        """
        with self._making:
            exported = self.model.exported
            if exported.knows(item):
                raise Known(f"the item '{item[:80]}' is known already; it keeps its vector")
            exported.refuse_item_features(features)
            row = {"item": item, "features": dict(features)}
            try:
                table = item_table(exported.about["fields"], exported.items.id_field, [row])
                served = self._generator.make(table)
            except ValueError as error:
                raise BadRequest(f"the item '{item[:80]}' is refused: {error}") from None
            except BrokenProcessPool:
                self._generator = Generator(self.model.folder / "model")
                raise Unavailable("the process that makes vectors has died; try again") from None
            policy = served.pop("policy")
            with self._lock:
                try:
                    # What is on the disk is read at every start: one bad item would end them all.
                    self.model.exported.items.refuse(served)
                except (TypeError, ValueError) as error:
                    raise Unavailable(
                        f"the item '{item[:80]}' has a vector that cannot be served: {error}"
                    ) from None
                self.store.items.append([{**row, "served": served, "policy": policy}])
                self.model.exported.add(item, served, policy)
        return {"item": item, "policy": policy, "vector": served["vector"]}

    def feedback(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Keep rows with labels: on the disk when this returns.

        Raises:
            BadRequest: a row is none that the model could learn from; nothing is kept.
        """
        with self._lock:
            for number, row in enumerate(rows, start=1):
                self._refuse_row(number, row)
            self.store.feedback.append(list(rows))
            self._look()
            of_new = sum(self._is_new(row) for row in rows)
        return {"kept": len(rows), "of_new_items": of_new}

    def health(self) -> dict[str, Any]:
        """Which model answers, its ancestors, and what waits to be learned."""
        model, kept = self.model, self.model.kept
        names = ("label", "backbone", "phase", "seed", "data_hash", "split_hash")
        return {
            "model": model.name,
            **{name: kept[name] for name in names},
            "lineage": model.told["lineage"],
            "items": len(model.exported.items.place),
            "feedback": len(self.store.feedback.values),
            "waiting": len(self._waiting()[0]),
            "growing": self.growing,
            "last_error": self.last_error,
        }

    def _refuse_row(self, number: int, row: Mapping[str, Any]) -> None:
        exported, rule = self.model.exported, self.model.kept["label_rule"]
        if not exported.knows(row["item"]):
            raise BadRequest(
                f"row {number}: the item '{row['item'][:80]}' is unknown; give its features to "
                "/vector first"
            )
        if rule["least"] is None and row["label"] not in (0, 1):
            raise BadRequest(f"row {number}: the label is {row['label']:g}; it is 0 or 1")
        if not math.isfinite(row["label"]):
            raise BadRequest(f"row {number}: the label is no finite number")
        try:
            exported.encode_context(row["context"])
        except BadRequest as error:
            raise BadRequest(f"row {number}: {error}") from None

    def _is_new(self, row: Mapping[str, Any]) -> bool:
        """Whether a row can move something: vectors of old items stay as they are."""
        return self.model.exported.status(row["item"]) != "old"

    # ---------------------------------------------------------------- growing
    def _waiting(self) -> tuple[list[Mapping[str, Any]], int]:
        """Rows of new items that the model has not learned, and how many lines there are in all."""
        lines = self.store.feedback.values
        end = len(lines)
        return [row for row in lines[self.model.told["lines"] : end] if self._is_new(row)], end

    def _look(self) -> None:
        if len(self._waiting()[0]) >= self.grow_after:
            self._wake.set()

    def _grow_when_asked(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._ends:
                return
            self.growing = True
            try:
                self._grow()
                self.last_error = ""
            except (Failed, OSError, ValueError) as error:
                # What is served stays; the next rows try again.
                self.last_error = str(error)
            except Exception as error:
                # The same: without this thread rows would wait for ever, and /health say nothing.
                logger.exception("growing failed")
                self.last_error = f"{type(error).__name__}: {error}"
            finally:
                self.growing = False

    def _grow(self) -> None:
        with self._lock:
            rows, lines = self._waiting()
            exported, kept = self.model.exported, self.model.kept
            items = [each for each in self.store.items.values if exported.was_added(each["item"])]
        names = {"user": kept["user_field"], "item": kept["item_field"]}
        columns = {name: [row[key] for row in rows] for key, name in names.items()}
        columns |= {name: [row["context"][name] for row in rows] for name in exported.context}
        columns[kept["label_rule"]["field"]] = [row["label"] for row in rows]
        with tempfile.TemporaryDirectory() as folder:
            table = item_table(exported.about["fields"], exported.items.id_field, items)
            pq.write_table(table, f"{folder}/items.parquet")
            pq.write_table(pa.table(columns), f"{folder}/rows.parquet")
            self.store.grow(Path(folder, "items.parquet"), Path(folder, "rows.parquet"), lines)
        current = self.store.current
        assert current is not None
        with self._lock:  # items may have come while it grew
            self.model = Model(current, self.store.items.values)
            self._look()
        with self._making:
            before, self._generator = self._generator, Generator(current / "model")
        before.close()
