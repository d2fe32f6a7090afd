"""``recbole-cold grow``: items that a kept model does not know, then their first clicks.

A new folder is written, and the model that it came from stays as it is. Items begin with the
method's own cold answer. Rows with labels make one warm phase, as in a run: the same trainer, the
same seeds. Shape letters: n items, m new ones, d embedding size.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recbole_cold import paths, seeding
from recbole_cold.errors import UserError, WriteError
from recbole_cold.experiment.carried import Held, carry
from recbole_cold.experiment.fingerprint import versions
from recbole_cold.experiment.folders import file_name
from recbole_cold.experiment.kept_rows import ROWS, write_rows
from recbole_cold.experiment.model_folder import (
    ABOUT,
    DROPPED,
    GROWN,
    NEWEST,
    TABLES,
    TOKENS,
    WEIGHTS,
    seal,
    vectors_of,
)
from recbole_cold.model._method import ColdStartRecommender
from recbole_cold.model._token_rows import rows_by_token, without_owner
from recbole_cold.serving import drift
from recbole_cold.serving._catalogue import Catalogue, with_rows
from recbole_cold.serving._clicks import Clicks, digest_of, held_rows, of_new_items, seen_rows
from recbole_cold.serving._warming import learn, next_phase, start, without_bare_row
from recbole_cold.serving.files import Source, new_folder
from recbole_cold.serving.fitted import Fitted
from recbole_cold.serving.frames import as_table
from recbole_cold.serving.kept import Kept, find_kept
from recbole_cold.store import whole_folder

Array = np.ndarray


def grow(
    run: str | Path,
    method: str | None = None,
    seed: int | None = None,
    phase: str | None = None,
    *,
    items: Any = None,
    rows: Any = None,
    drop: Any = None,
    out: str | Path | None = None,
    promote_after: int | None = None,
) -> dict[str, Any]:
    """Let a kept model know new items, and learn from their first rows, in a new folder.

    Args:
        run, method, seed, phase: which model, as ``load`` takes it; a grown one, too.
        items: a file or a frame with features of items that it does not know.
        rows: a file or a frame of rows with labels, of new and grown items; those of old ones are
            left out and counted.
        drop: a file, a frame or a list of ids that are forgotten first.
        out: a folder that is not there yet; beside the run without it, with a number.
        promote_after: from how many rows on an item's vector is part of what items without an
            answer of their own start from, in later calls; 3 K of the run without it.

    Returns:
        What ``model.json`` says of this call under ``grown``, and the ``folder``.

    Raises:
        UserError: there is no such model, it cannot grow, a file is wrong, the rows were learned
            already, or the folder is there. Nothing is written then.
    """
    kept = find_kept(run, method, seed, phase)
    if items is None and rows is None and drop is None:
        raise UserError("grow is given nothing; give new items, --items=FILE, or --rows=FILE")
    most = _promote_after(kept, promote_after)
    folder = _out(kept, out)
    forgotten = drop if drop is None or isinstance(drop, list | tuple) else _frame(drop)
    frames = [each if each is None else _frame(each) for each in (items, rows)]
    digest = paths.sha256(kept.folder / ABOUT)
    state = seeding.layer_state()
    try:
        growth = _Growth(kept)
        growth.take(*frames, forgotten)
        told = growth.told(most)
    finally:
        seeding.restore_layers(state)
    about = growth.about(digest, told, most)
    try:
        with whole_folder(folder, new=True) as place:
            growth.write(place, about)
            if _digest_now(kept) != digest:
                raise UserError(f"'{kept.folder}' was changed while it was read; grow it again")
    except (OSError, RuntimeError, WriteError) as error:
        cause = error.__cause__ if isinstance(error, WriteError) else error
        if isinstance(error, RuntimeError) and "write" not in str(error):
            raise
        why = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
        raise UserError(f"cannot write '{folder}' ({why}); choose another --out") from error
    return {**about["grown"], "folder": folder}


def _promote_after(kept: Kept, asked: int | None) -> int:
    if asked is None:
        earlier = kept.about.get("promote_after")
        return int(3 * kept.about["config"]["warm_size"] if earlier is None else earlier)
    if isinstance(asked, bool) or not isinstance(asked, int | np.integer) or asked < 1:
        raise UserError(f"promote_after is {asked!r}; it is a number of rows from 1 on")
    return int(asked)


def _digest_now(kept: Kept) -> str | None:
    try:
        return paths.sha256(kept.folder / ABOUT)
    except OSError:
        return None


def _out(kept: Kept, asked: str | Path | None) -> Path:
    """The folder to be written.

    Raises:
        UserError: it is there.
    """
    if asked is not None:
        return new_folder(asked)
    run = next((each for each in kept.folder.parents if (each / "request.json").is_file()), None)
    if run is None:
        name, beside = re.sub(r"-grown-\d+$", "", kept.folder.name), kept.folder.parent
    else:
        name, beside = f"{run.name}-{file_name(kept.about['label'])}", run.parent
    taken = {each.name for each in beside.glob("*-grown-*")}
    number = next(k for k in range(1, len(taken) + 2) if f"{name}-grown-{k}" not in taken)
    return beside / f"{name}-grown-{number}"


def _frame(given: Any) -> pa.Table:
    return Source(given).whole() if isinstance(given, str | Path) else as_table(given)


# ------------------------------------------------------------------------------- what it becomes
@dataclass(frozen=True)
class Draft(Kept):
    """A model with another catalogue, before it has a folder; built and loaded as a kept one."""

    parent: Fitted = field(kw_only=True)
    catalogue: Catalogue = field(kw_only=True)

    def tokens(self, field: Any) -> pa.Table:
        if field["name"] == self.catalogue.id_field:
            return self.catalogue.ids
        return super().tokens(field)

    def table(self, side: str) -> pa.Table:
        return self.catalogue.table if side == self.catalogue.side else super().table(side)

    def state(self, method: ColdStartRecommender) -> dict[str, Any]:
        """The parent's tensors, by item; of those that begin or are dropped nothing is carried."""
        whole, name = self.parent.dataset, self.catalogue.id_field
        old = Held.by(self.parent.method, whole)
        ids = {**old.tokens, name: self.catalogue.ids["token"].combine_chunks()}
        new = Held(method.state_dict(), ids, rows_by_token(method), without_owner(method))
        fresh = np.flatnonzero(self.begins | (self.catalogue.status == DROPPED))
        found = carry(old, new, fresh={name: fresh})
        for each, why in found.left.items():
            if old.state[each].shape == new.state[each].shape or each.endswith("_extra_state"):
                # Codes are those of the parent, so what has the same shape is of the same things.
                found.state[each] = old.state[each]
            else:
                raise UserError(
                    f"{type(method).__name__} cannot grow: its tensor '{each}' is not carried, "
                    f"because {why}; token_rows() can say whose rows it has "
                    "(docs/adding-a-method.md)"
                )
        return found.state

    @property
    def begins(self) -> Array:
        """Which items have no vector yet: bool [n]."""
        grown = self.catalogue.status == GROWN
        earlier = np.zeros(len(grown), dtype=bool)
        before = self.parent.dataset.status[self.catalogue.side]
        earlier[: len(before)] = before == GROWN
        return grown & ~earlier


class _Growth:
    """One call: from a kept model to what its folder is to hold."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.parent = Fitted(kept)
        _refuse_unlike(self.parent.method, kept)
        self.catalogue = Catalogue(self.parent)
        self.name: str | None = None  # of the phase
        self.digest: str | None = None  # of its rows
        self.left_out = 0
        self.clicks: Clicks | None = None
        self.drift: dict[str, Any] = {}

    def take(self, items: pa.Table | None, rows: pa.Table | None, drop: Any) -> None:
        catalogue = self.catalogue
        if drop is not None:
            catalogue.drop(drop)
        if items is not None:
            catalogue.add(items)
        table = rows
        if table is not None:
            if not len(table):
                raise UserError("there is no row to learn from; give some, or leave --rows out")
            table, self.left_out = of_new_items(table, catalogue)
        catalogue.refuse_empty()
        about = dict(self.kept.about)
        about["fields"] = [
            {**each, "size": len(catalogue.ids)} if each["name"] == catalogue.id_field else each
            for each in about["fields"]
        ]
        draft = Draft(self.kept.folder, about, parent=self.parent, catalogue=catalogue)
        self.fitted = Fitted(draft)
        without_bare_row(self.fitted)
        start(self.fitted, np.flatnonzero(draft.begins))
        if table is not None:
            self._learn(table)

    # ---------------------------------------------------------------- rows
    def _learn(self, table: pa.Table) -> None:
        fitted, about = self.fitted, self.kept.about
        self.clicks = clicks = Clicks(fitted, table)
        self._refuse_again(table)
        score = fitted.scored(clicks.columns).cpu().numpy()
        self.drift["clicks"] = drift.of_clicks(score, clicks.label)
        given = dict.fromkeys(fitted.context, len(table))
        unseen = dict(fitted.report.unseen)
        other = fitted.method.other_field
        unseen[other] = int((clicks.other >= fitted.dataset.num(other)).sum())
        self.drift["unseen"] = drift.unseen_share(unseen, {other: len(table), **given})
        index = clicks.put_in()
        self.name = next_phase(about)
        learn(fitted.method, int(about["seed"]), self.name, index)

    def _refuse_again(self, table: pa.Table) -> None:
        dataset = self.fitted.dataset
        rule = self.kept.about["label_rule"]["field"]
        fields = [dataset.uid_field, dataset.iid_field, *self.fitted.context, rule]
        time = self.kept.about["time_field"]
        if time in table.column_names:
            fields.append(time)
        spec = dataset.spec
        numbers = {rule, time, *(name for name in spec if spec[name]["type"] == "float")}
        self.digest = digest_of(table, list(dict.fromkeys(fields)), numbers)
        if self.digest in self.kept.about.get("learned", ()):
            raise UserError(
                f"'{self.kept.folder}' has learned from these rows already; give it others"
            )

    # ---------------------------------------------------------------- what is said
    def told(self, promote_after: int) -> dict[str, Any]:
        """What this call has done, and what has shifted."""
        method, catalogue = self.fitted.method, self.catalogue
        vector, weight = vectors_of(method, method.id_field)
        n = len(catalogue.table)
        code, label = np.zeros(0, np.int64), np.zeros(0)
        if self.clicks is not None:
            code, label = self.clicks.code, self.clicks.label
        rows = np.bincount(code, minlength=n)
        clicks = np.bincount(code, weights=label, minlength=n).astype(np.int64)
        phases = catalogue.served(rows, clicks, promote_after, vector, weight)
        counts = method.counts[method.new_ids].cpu().numpy()
        low, high = (float(end) for end in method.count_range)
        items = drift.unseen_share(self.parent.report.unseen, catalogue.given)
        self.drift["counts"] = drift.of_counts(counts, (low, high))
        self.drift["unseen"] = {**items, **self.drift.get("unseen", {})}
        size = self.kept.about["config"]["warm_size"]
        notes = drift.warnings_of(self.drift) + self.fitted.encoder.hints()
        if len(code) and "calibration" in self.kept.about:
            notes.append("the model has no calibration any more: its curve was of an earlier phase")
        if len(code) and rows.max() > size:
            notes.append(
                f"one {catalogue.side} has {rows.max():,} rows, where a phase of the run has "
                f"{size:,} of each: a call is one phase; files of fewer rows make more of them"
            )
        return {
            f"{catalogue.side}s": {
                "added": catalogue.grown, "of features that it had": catalogue.listed,
                "dropped": catalogue.dropped, "known already": catalogue.known, **phases,
            },
            "rows": len(code),
            "left_out": self.left_out,
            "phase": self.name,
            "promote_after": promote_after,
            "drift": self.drift,
            "notes": notes,
        }  # fmt: skip

    def about(self, digest: str, told: dict[str, Any], promote_after: int) -> dict[str, Any]:
        """``model.json`` but for the hashes of the files."""
        before, after = self.kept.about, dict(self.fitted.about)
        after.pop("sha256")
        if self.name is not None:
            after["phase"] = self.name
            after.pop("calibration", None)  # that of the phase before
            known = [name for name, *_ in before["phases"]]
            if self.name not in known:
                after["phases"] = [*before["phases"], [self.name, self.name, "test"]]
        step = {"parent": digest, "phase": self.name, "rows": self.digest, "versions": versions()}
        return {
            **after,
            "format": NEWEST,
            "parent": digest,
            "lineage": [*before.get("lineage", ()), step],
            "learned": [*before.get("learned", ()), *([self.digest] if self.digest else ())],
            "promote_after": promote_after,
            "grown": told,
        }

    # ---------------------------------------------------------------- the folder
    def write(self, place: Path, about: dict[str, Any]) -> None:
        method, catalogue, kept = self.fitted.method, self.catalogue, self.kept
        state = {name: each.detach().cpu() for name, each in method.state_dict().items()}
        torch.save(state, place / WEIGHTS)
        (place / TOKENS).mkdir()
        for each in about["fields"]:
            if each["tokens"]:
                pq.write_table(self.fitted.kept.tokens(each), place / TOKENS / each["tokens"])
        for side, name in TABLES.items():
            table = self.fitted.kept.table(side)
            if side != catalogue.side and self.clicks is not None:
                table = with_rows(table, self.clicks.other, self.clicks.label)
            pq.write_table(table, place / name)
        if self.clicks is None and (kept.folder / ROWS).is_file():
            write_rows(place / ROWS, *held_rows(self.fitted))
        elif self.clicks is not None and len(method.rows_seen.index):
            write_rows(place / ROWS, *seen_rows(method, self.clicks.all_time))
        seal(place, about)


def _refuse_unlike(method: ColdStartRecommender, kept: Kept) -> None:
    """
    Raises:
        UserError: the method has no vectors that a warm phase moves, or lacks its rows.
    """
    label = kept.about["label"]
    if method.network is not None or method.unlike(ColdStartRecommender) is not None:
        raise UserError(
            f"{label} does not serve items by one vector each, so new ones cannot be added to it; "
            "train it anew"
        )
    if len(method.rows_seen.index) and not (kept.folder / ROWS).is_file():
        raise UserError(
            f"{label} fits all rows of new items anew, and '{kept.folder}', which an earlier "
            "version kept, does not hold those it has seen; keep the model again"
        )


# ------------------------------------------------------------------------------- on the screen
def lines_of(told: dict[str, Any]) -> list[str]:
    """What ``grow`` returns, as lines for the screen."""
    side = "items" if "items" in told else "users"
    counts = ", ".join(f"{number:,} {word}" for word, number in told[side].items() if number)
    lines = [f"{side}: {counts or 'none'}"]
    if told["phase"] is not None:
        lines.append(f"rows: {told['rows']:,} learned as {told['phase']}")
    if told["left_out"]:
        lines.append(f"rows: {told['left_out']:,} of old {side} left out")
    shift = told["drift"]
    if "clicks" in shift:
        clicks = shift["clicks"]
        lines.append(
            f"clicks: {clicks['predicted']:.1%} predicted, {clicks['observed']:.1%} observed, "
            f"PSI {clicks['psi']:.3f}"
        )
    if shift["counts"]["clipped"]:
        lines.append(f"counts: {shift['counts']['clipped']:.1%} of new {side} beyond the range")
    for name, share in shift["unseen"].items():
        if share:
            lines.append(f"unseen: {share:.1%} of '{name}'")
    return [*lines, *(f"note: {note}" for note in told["notes"])]
