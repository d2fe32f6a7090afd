"""Sessions: windows of what one user did, each known by its last row, the target.

Source: Chen et al., "Recurrent Meta-Learning against Generalized Cold-Start Problem in CTR
Prediction", MM 2022, sections 3.1 and 4.2; what the paper leaves open is in docs/sessions.md.
Pure functions of columns, without torch until a batch is asked for. Shape letters: r rows in order,
s sessions, L the longest session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class SessionTable:
    """The history of every session, found by the session's target.

    Args:
        targets: row numbers of the targets, int64 [s], ascending.
        rows: row numbers of what came before in the session, int32 [s, L - 1]: left-aligned, the
            oldest first, padded with -1.

    Raises:
        ValueError: the two do not belong together, or a target stands there twice.
    """

    targets: Array
    rows: Array

    def __post_init__(self) -> None:
        targets, rows = np.array(self.targets, np.int64), np.array(self.rows, np.int32)
        if rows.ndim != 2 or targets.shape != rows.shape[:1] or (np.diff(targets) <= 0).any():
            raise ValueError(
                f"histories {rows.shape} of targets {targets.shape}: each target needs one "
                "history, and targets ascend"
            )
        targets.flags.writeable = rows.flags.writeable = False
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "_placed", {})

    def __reduce__(self) -> tuple[Any, ...]:
        return SessionTable, (self.targets, self.rows)

    @property
    def length(self) -> int:
        """The width of a history: L - 1."""
        return int(self.rows.shape[1])

    def only(self, targets: Array) -> SessionTable:
        """The sessions with these targets."""
        kept = np.isin(self.targets, targets)
        return SessionTable(self.targets[kept], self.rows[kept])

    def of(self, index: Tensor) -> Tensor:
        """Histories of rows.

        Args:
            index: row numbers, int64 [b].

        Returns:
            Row numbers, int64 [b, L - 1], on the device of ``index``; -1 is padding. A row that is
            no target has an empty history.
        """
        if not len(self.targets):
            return index.new_full((len(index), self.length), -1)
        import torch

        targets, rows = self._on(index.device)
        place = torch.searchsorted(targets, index).clamp(max=len(targets) - 1)
        known = targets.index_select(0, place) == index
        return rows.index_select(0, place).long().masked_fill(~known[:, None], -1)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        import torch

        placed = vars(self)["_placed"]
        if device not in placed:
            arrays = (self.targets, self.rows)
            placed[device] = tuple(torch.from_numpy(array.copy()).to(device) for array in arrays)
        return placed[device]


class SessionRule(NamedTuple):
    """How sessions are formed and held out: the values of the keys ``session_*``.

    Attributes:
        subset: ``wc``: rows of warm users on cold items; ``cw``: of cold users on warm items.
        form: a name of ``FORMS``.
        length: L, rows of a session at most, the target included.
        stride: rows from one sliding window to the next.
        gap: seconds; a longer pause begins another session in the form ``gap``.
        least: rows of a session at least.
        user_min: rows of a user at least, of all his rows.
        count_source: what items are halved by: ``full``: all rows; ``visible``: those that are the
            target of no held-out session.
    """

    subset: str = "wc"
    form: str = "sliding"
    length: int = 10
    stride: int = 1
    gap: float = 1800.0
    least: int = 10
    user_min: int = 20
    count_source: str = "visible"


# ------------------------------------------------------------------------------- forming
class Windows(NamedTuple):
    """Sessions as windows of rows in the order (user, time, row).

    Attributes:
        end_s: position of the target. length_s: rows of the session.
    """

    end_s: Array
    length_s: Array


def form(user_r: Array, time_r: Array, rule: SessionRule) -> Windows:
    """The sessions of rows in the order (user, time, row), ``rule.least`` to ``rule.length`` long.

    Args:
        user_r: user of each row, ascending.
        time_r: its time.
    """
    found = FORMS[rule.form](user_r, time_r, rule)
    enough = found.length_s >= rule.least
    return Windows(found.end_s[enough], found.length_s[enough])


def _sliding(user_r: Array, time_r: Array, rule: SessionRule) -> Windows:
    """A window ends on a user's last row, and on every ``stride``-th row before it."""
    begin_r, end_r = _runs(user_r)
    place = np.arange(len(user_r))
    ends = np.flatnonzero((end_r - place) % rule.stride == 0)
    return Windows(ends, np.minimum(place[ends] - begin_r[ends] + 1, rule.length))


def _chunk(user_r: Array, time_r: Array, rule: SessionRule) -> Windows:
    """A user's rows in blocks of ``length``, from the oldest on; the last block may be shorter."""
    begin_r, end_r = _runs(user_r)
    place = np.arange(len(user_r))
    rank = (place - begin_r) % rule.length
    ends = np.flatnonzero((rank == rule.length - 1) | (place == end_r))
    return Windows(ends, rank[ends] + 1)


def _gap(user_r: Array, time_r: Array, rule: SessionRule) -> Windows:
    """Cut where a user pauses for longer than ``gap``; of a cut the newest ``length`` rows."""
    pause = np.diff(time_r, prepend=time_r[:1]) > rule.gap
    other = np.diff(user_r, prepend=user_r[:1]) != 0
    begin_r, end_r = _runs(np.cumsum(pause | other))
    ends = np.flatnonzero(np.arange(len(user_r)) == end_r)
    return Windows(ends, np.minimum(ends - begin_r[ends] + 1, rule.length))


FORMS = {"sliding": _sliding, "chunk": _chunk, "gap": _gap}


def _runs(code_r: Array) -> tuple[Array, Array]:
    """Positions where the run of equal codes that a row is in begins and ends: [r], [r]."""
    starts = np.flatnonzero(np.r_[True, code_r[1:] != code_r[:-1]][: len(code_r)])
    counts = np.diff(np.r_[starts, len(code_r)])
    return np.repeat(starts, counts), np.repeat(starts + counts - 1, counts)


def table_of(order_r: Array, windows: Windows, length: int) -> SessionTable:
    """The sessions ``windows`` of the rows ``order_r``, as a table of histories ``length`` - 1
    wide."""
    begin_s = windows.end_s - windows.length_s + 1
    rows = np.full((len(begin_s), length - 1), -1, dtype=np.int32)
    for column in range(length - 1):  # by columns: one array of [s] at a time beside the table
        inside = column < windows.length_s - 1
        rows[inside, column] = order_r[begin_s[inside] + column]
    by_target = np.argsort(order_r[windows.end_s])
    return SessionTable(order_r[windows.end_s][by_target], rows[by_target])


# ------------------------------------------------------------------------------- told
def sessions_told(manifest: Mapping[str, Any]) -> str:
    """What the manifest of a split of sessions says, as a text of several lines."""
    of, users, items = manifest["settings"], manifest["users"], manifest["items"]
    lines = [f"{'part':<8}{'sessions':>10}{'rows':>10}{'users':>9}{'items':>9}{'clicks':>9}"]
    for name, part in manifest["parts"].items():
        n = part["sessions"]
        clicks = f"{part['clicks'] / n:.1%}" if n else "-"
        numbers = f"{n:>10,}{part['rows']:>10,}{part['users']:>9,}{part['items']:>9,}"
        lines.append(f"{name:<8}{numbers}{clicks:>9}")
    lines += [
        "(a row can be in several sessions; users of a part and clicks among targets are counted)",
        f"{manifest['words']}; {users['two']:,} users have two sessions or more, the last one of "
        "each is held out",
        f"users: {users['warm']:,} warm, {users['cold']:,} cold, drawn 4 : 1",
        f"items: halves by count ({_COUNTED[of['count_source']]}), {items['warm']:,} warm and "
        f"{items['cold']:,} cold; a warm item has {items['boundary_count']:,} rows or more "
        f"(items with just so many: {items['boundary_ties']:,})",
        f"label: {manifest['label_rule']}",
        f"order: {_order_told(manifest)}",
        "rows in no session:",
        *(f"  {rows:>12,}  {cause}" for cause, rows in manifest["discarded"].items() if rows),
    ]
    if items["counted_held_out"]:
        lines.append(
            f"{items['counted_held_out']:,} held-out targets are counted in the halves: counts "
            f"without them did not settle in {items['rounds']:,} rounds"
        )
    return "\n".join(lines)


_SIDES = {
    "wc": "rows of warm users on cold items", "cw": "rows of cold users on warm items",
}  # fmt: skip
_COUNTED = {"visible": "of rows that are no held-out target", "full": "of all rows"}


def words(settings: Mapping[str, Any]) -> str:
    """Subset and form of the sessions in a few words."""
    of = settings
    least, most, kind = of["session_min"], of["session_length"], of["session_form"]
    size = f"{most} rows" if least == most else f"{least} to {most} rows"
    more = {"sliding": f", stride {of['session_stride']}", "chunk": "",
            "gap": f", cut at pauses over {of['session_gap']:,.0f} s"}[kind]  # fmt: skip
    subset = of["session_subset"]
    return f"sessions {subset}, {_SIDES[subset]}: {kind}, {size}{more}"


def _order_told(manifest: Mapping[str, Any]) -> str:
    order = manifest["order"]
    if order == "seeded permutation":
        return (
            "seeded permutation, for the data have no times: what is history and what is target "
            "was drawn, and nothing here is temporal"
        )
    said = f"{order}; {manifest['tie_share']:.1%} of the subset's rows share user and time with "
    return said + "another, and stand as in the file"


def one_class(manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for every part whose targets all have the same label."""
    return [
        f"all {part['sessions']:,} targets of {name} have the label {int(part['clicks'] > 0)}: "
        "AUC says nothing there"
        for name, part in manifest.get("parts", {}).items()
        if part["sessions"] and part["clicks"] in (0, part["sessions"])
    ]
