"""What was not as the run knew it: counted for every call, told in a few lines."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """Counts of one call.

    Attributes:
        rows: rows that were scored.
        answers: policy -> rows, as in the column ``policy``.
        unseen: field -> values that the run has never seen, or never trained on and reads as
            missing. Of a field of items or users these are items or users, else rows.
        missing: field -> values that were not given.
        clipped: field -> numbers outside of what training saw.
        cut: field -> sequences that are longer than the run's, of which the beginning is read.
        known: given items and users that the run has already; what is given of them is not read.
        notes: sentences on the files.
    """

    rows: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    unseen: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    clipped: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    known: int = 0
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        counters = ("answers", "unseen", "missing", "clipped", "cut")
        told: dict[str, Any] = {name: dict(getattr(self, name)) for name in counters}
        return {"rows": self.rows, **told, "known": self.known, "notes": self.notes}

    def __str__(self) -> str:
        lines = [f"{self.rows:,} rows"]
        for policy, number in self.answers.most_common():
            lines.append(f"  {number:,} answered by {policy} ({number / max(self.rows, 1):.1%})")
        words = {
            "unseen": "values of '{}' that training has not seen",
            "missing": "values of '{}' that were not given",
            "clipped": "numbers of '{}' outside of what training saw, clipped",
            "cut": "sequences of '{}' longer than in the run, cut",
        }
        for name, text in words.items():
            for each, number in sorted(getattr(self, name).items()):
                lines.append(f"  {number:,} {text.format(each)}")
        if self.known:
            lines.append(f"  {self.known:,} items or users given that the run knows: not read")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])
