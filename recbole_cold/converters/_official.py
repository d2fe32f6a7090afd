"""Whether a conversion has what the complete data have."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from recbole_cold.errors import UserError

# Counts of rows are of those read, so they hold for any choice of rows. The others are of what is
# kept, and can be compared only where every interaction was.
READ = {"rows": "inter", "rows of users": "user", "rows of items": "item"}
KEPT = ("users", "items", "clicks")


class Official(NamedTuple):
    """Counts of a complete data set.

    Args:
        called: which one, to stand after "in": ``the official files``, ``round 2``.
        counts: ``rows`` (interactions), ``users``, ``items``, ``clicks`` (of interactions),
            ``rows of users`` and ``rows of items`` (of the other two files) -> how many.
    """

    called: str
    counts: Mapping[str, int]


def compared(
    official: Iterable[Official], rows: Mapping[str, Any], kept: Mapping[str, int]
) -> list[dict[str, Any]]:
    """For each thing that is counted: how many there are here, and in the complete data.

    Args:
        rows: the counts of each table, by its suffix.
        kept: users, items and clicks of the interactions that were kept.

    Returns:
        ``what`` is counted, the number ``here`` (None: it cannot be compared, for interactions were
        left out, or there is no such file), and ``official``, the numbers by what they are of.

    Raises:
        UserError: something else is to be counted.
    """
    whole = rows["inter"]["kept"] == rows["inter"]["read"]
    found: dict[str, dict[str, int]] = {}
    for called, counts in official:
        for what, number in counts.items():
            if what not in READ and what not in KEPT:
                told = ", ".join((*READ, *KEPT))
                raise UserError(f"'{what}' is none of {told}; mend the converter's official counts")
            found.setdefault(what, {})[called] = number
    here = {what: rows[suffix]["read"] for what, suffix in READ.items() if suffix in rows}
    if whole:
        here |= kept
    return [{"what": what, "here": here.get(what), "official": of} for what, of in found.items()]


def told(comparison: Mapping[str, Any]) -> str:
    """One comparison in words; '' where there is nothing to compare."""
    here, of = comparison["here"], comparison["official"]
    if here is None:
        return ""
    what = f"{here:,} {comparison['what']}"
    same = [called for called, number in of.items() if number == here]
    if same:
        return f"{what}, as in {same[0]}"
    return f"{what}; {', '.join(f'{number:,} in {called}' for called, number in of.items())}"
