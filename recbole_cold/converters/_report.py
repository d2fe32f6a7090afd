"""The printed report of a conversion, made from its manifest alone."""

import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from recbole_cold.converters._converting import EPOCH, Conversion, Converter
from recbole_cold.converters._official import told

_WIDTH = 100
_ROWS = {"inter": "interactions", "user": "rows of users", "item": "rows of items"}


def report(converter: Converter, done: Conversion) -> str:
    """Rows read, kept and left out, users, items, clicks, times, missing values, files; what was
    refused, and how the counts compare with those of the complete data."""
    found = done.manifest
    sources = ", ".join(f"{each['file']} ({each['bytes']:,} bytes)" for each in found["sources"])
    lines = [f"{converter.title} as '{converter.name}', from {sources}"]
    for suffix, counts in found["rows"].items():
        lines += _rows(_ROWS[suffix], counts)
        if suffix == "inter" and found["parts"]:
            sizes = (f"{part} {each['kept']:,}" for part, each in found["parts"].items())
            lines.append(f"    in parts, for benchmark_filename: {', '.join(sizes)}")
    lines.append(
        f"  {found['users']:,} users, {found['items']:,} items, "
        f"{found['positive_share']:.2%} clicks: {found['label']['words']}"
    )
    lines += [
        _shares(one, found[f"rows_per_{one}"])
        for one in ("user", "item")
        if found[f"rows_per_{one}"]
    ]
    lines.append(f"  times: {_times(found['time'])}")
    if found["refused"]:
        columns = ", ".join(found["refused"])
        lines.append(f"  refused, for they tell a row's outcome: {columns}")
    lines += [f"  {words}" for each in found["official"] if (words := told(each))]
    for text in (*converter.notes, f"origin: {converter.origin}", f"terms: {converter.terms}"):
        lines += textwrap.wrap(
            text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )
    lines += ["written:", *(f"  {path}" for path in done.files)]
    return "\n".join(lines)


def _rows(what: str, counts: Mapping[str, Any]) -> Iterator[str]:
    yield f"  {what}: {counts['read']:,} read, {counts['kept']:,} kept"
    for why, count in counts["left_out"].items():
        yield f"    left out: {count:,} {why}"
    for what, count in counts.get("among", {}).items():
        yield f"    among them: {count:,} {what}"
    if counts["missing"]:
        shares = (f"{field} {n / counts['kept']:.1%}" for field, n in counts["missing"].items())
        yield f"    missing: {', '.join(shares)}"


def _shares(one: str, shares: Mapping[str, int]) -> str:
    told = ", ".join(f"{share} % {rows:,}" for share, rows in shares.items())
    return f"  rows per {one} (that share of {one}s has at most so many): {told}"


def _times(time: Mapping[str, str] | None) -> str:
    if time is None:
        return "none; the order of an item's rows is drawn from a run's seed"
    if time["unit"] != f"seconds since {EPOCH}":
        return f"{float(time['first']):,.0f} to {float(time['last']):,.0f} {time['unit']}"
    first, last = (
        datetime.fromtimestamp(float(time[end]), timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        for end in ("first", "last")
    )
    return f"{first} to {last} (UTC)"
