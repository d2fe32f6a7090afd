"""What a table says, in sentences: which gains are real, which are not, what was equal, what lacks.

For readers who see the tool for the first time. Every sentence is made from the numbers of the
document; nothing in it needs the table beside it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from recbole_cold.report._claims import FEWEST_SEEDS, NO_SCORES, SIGN, TOO_FEW, Against, Claim
from recbole_cold.report._comparison import (
    EQUAL_STEPS,
    ITEM_BIAS,
    MATCHED,
    OWN_NETWORK,
    Comparison,
    Key,
    in_words,
)
from recbole_cold.report._statistics import cost_figures
from recbole_cold.report._warm_up_area import rows_seen
from recbole_cold.report._words import seed_names

_FEW = 4  # names that a sentence can hold; more of them are counted


def findings(comparison: Comparison) -> str:
    """What opens ``results.md`` and ``comparison.md``: a paragraph, and points under it."""
    if len(comparison.rows) < 2:
        return f"{_scope(comparison)} There is one row: nothing to compare it with."
    points = {
        "Not real": _not_real(comparison),
        "Equal": _equal(comparison),
        "Missing": _list(_lacks(comparison, whole=True), semicolons=True),
        "What is real": _definition(comparison),
    }
    lines = [
        f"- *{name}*: {told}" + "." * (told[-1] != ".") for name, told in points.items() if told
    ]
    return "\n".join([f"{_scope(comparison)} {_verdict(comparison)}", "", *lines])


def headline(comparison: Comparison, width: int) -> list[str]:
    """The same for the top of a screen: three lines at most, each within ``width``."""
    claims = comparison.claims()
    if not claims or len(comparison.rows) < 2:
        return []
    real = [key for key, claim in claims.items() if claim.real]
    told = _places(comparison, real) if real else "none"
    lines = [f"real gains in AUC (marked {SIGN}): {told}"]
    reasons = Counter(claim.reason for claim in claims.values() if not claim.real)
    if reasons:
        many = "" if len(reasons) == 1 and not real else " ({})"
        lines.append("not real: " + "; ".join(r + many.format(n) for r, n in reasons.most_common()))
    lines += [f"missing: {', '.join(lacking)}" for lacking in [_lacks(comparison)] if lacking]
    return [_cut(line, width) for line in lines]


def rule(comparison: Comparison) -> str:
    """What the sign means, for legends."""
    if not comparison.claims():
        return ""
    return (
        f"{SIGN}: a real gain: from {_word(FEWEST_SEEDS)} seeds on, the whole 95 % interval (over "
        f"items or users, the wider) is more than {comparison.smallest:g} AUC above "
        f"{_list(_yardsticks(comparison))}, and none within {comparison.unit}s lies below 0"
    )


# ------------------------------------------------------------------------------- what was done
def _scope(comparison: Comparison) -> str:
    document = comparison.document["documents"][0]
    methods = _methods(comparison)
    who = _names(methods, "methods") if methods else _names(comparison.rows, "rows")
    backbones = [name for name in comparison.backbones if name != OWN_NETWORK]
    on = f" on {_names(backbones, 'click models')}" if backbones else ""
    was = "was" if len(methods or comparison.rows) == 1 else "were"
    n = len(comparison.seeds)
    seeds = f"{_word(n)} seed{'s' * (n != 1)}"
    rows = {
        phase["rows"]
        for run in comparison.runs()
        for seed in run["seeds"]
        for phase in seed["phases"].values()
    }
    new = document["split"].get("new")
    unit = comparison.unit
    whose = f" of {new:,} new {unit}s" if new else "" if new == 0 else f" of new {unit}s"
    if document["eval_on"] == "next" or len(rows) != 1:
        scored = f"rows{whose}, each phase on its own"
    else:
        scored = f"the same {rows.pop():,} rows{whose}"
    return (
        f"On {document['dataset']}, {who}{on} {was} scored with {seeds} on {scored}"
        f"{_phases_told(comparison)}."
    )


def _phases_told(comparison: Comparison) -> str:
    """``: before any row of an item was seen (cold), and after 10, 20 and 30 (warm_a to ...)``."""
    seen = rows_seen(comparison.document["documents"][0])
    phases = comparison.phases
    if len(phases) < 2:
        return f" ({phases[0]})" if phases else ""
    if seen is None:
        return f" in the phases {_list(phases)}"
    counts = _list([f"{count:,.0f}" for count in seen[1:]])
    last = phases[1] if len(phases) == 2 else f"{phases[1]} to {phases[-1]}"
    return (
        f": before any row of {_a(comparison.unit)} was seen ({phases[0]}), and after {counts} of "
        f"its rows ({last})"
    )


def _methods(comparison: Comparison) -> list[str]:
    """Rows that are no yardsticks."""
    yardsticks = {row for b in comparison.by_backbone for row in comparison.references(b).values()}
    return [row for row in comparison.rows if row not in yardsticks | {MATCHED}]


# ------------------------------------------------------------------------------- what is real
def _definition(comparison: Comparison) -> str:
    if not comparison.claims():
        return ""
    what = {
        "Base": "Base (the plain model)",
        EQUAL_STEPS: f"{EQUAL_STEPS} (as many optimizer steps as the longest method takes)",
        ITEM_BIAS: f"{ITEM_BIAS} (the cold model and one fitted number per {comparison.unit})",
    }
    above = _list([what[name] for name in _yardsticks(comparison)])
    return (
        f"a gain is called real when AUC, the chance that a click scores above a no-click, is more "
        f"than {comparison.smallest:g} above each of {above}, with the whole 95 % interval over "
        f"items or users, whichever is wider, and from {_word(FEWEST_SEEDS)} seeds on; and when "
        f"AUC within {comparison.unit}s is not clearly lower"
    )


def _yardsticks(comparison: Comparison) -> list[str]:
    """The rows that claims are measured by, as sentences call them."""
    found = [comparison.references(backbone) for backbone in comparison.by_backbone]
    return [in_words(n) for n in ("Base", MATCHED, ITEM_BIAS) if any(n in rows for rows in found)]


def _verdict(comparison: Comparison) -> str:
    """The sentence about what is real."""
    claims = comparison.claims()
    if not claims:
        return "There is no method to judge." if "AUC" in comparison.metrics else ""
    real = [key for key, claim in claims.items() if claim.real]
    if real:
        return _gains(comparison, claims, real)
    reasons = {claim.reason for claim in claims.values()}
    absent = _absent(comparison)
    if all(reason.startswith("no row of") for reason in reasons):
        return f"No gain can be called real without {_list([f'the row {n}' for n in absent])}."
    if TOO_FEW in reasons:
        seeds = len(comparison.seeds)
        told = f"No gain is called real yet: that takes {_word(FEWEST_SEEDS)} seeds"
        told += f", and there {'is' if seeds == 1 else 'are'} {_word(seeds)}."
        passing = [key for key, claim in comparison.claims(1).items() if claim.real]
        if passing:
            told += f" All other conditions hold for {_places(comparison, passing)}."
        return told
    if NO_SCORES in reasons and not comparison.has_intervals:
        return "No gain can be called real: no scores of rows were kept, so no interval is known."
    return "No gain is real."


def _gains(comparison: Comparison, claims: dict[Key, Claim], real: Sequence[Key]) -> str:
    """Real gains by row, the clearest of each with its size and interval."""
    by_row: dict[str, list[Key]] = defaultdict(list)
    for key in real:
        by_row[key[1]].append(key)

    def surest(keys: Iterable[Key]) -> Key:
        return max(keys, key=lambda key: _low(claims[key].nearest))

    order = sorted(by_row, key=lambda row: -_low(claims[surest(by_row[row])].nearest))
    told = []
    for row in order[:_FEW]:
        keys = by_row[row]
        clearest = surest(keys)
        size = _size(claims[clearest].nearest)
        if len(keys) > 1:
            size = f"clearest {_one_place(comparison, clearest)}: {size}"
        told.append(f"{row} {_where(comparison, keys)} ({size})")
    more = len(order) - len(told)
    if more:
        told.append(f"{_word(more)} more row{'s' * (more > 1)}, marked {SIGN} below")
    models = len([name for name in comparison.backbones if name != OWN_NETWORK])
    cases = f" (a case is one of {len(comparison.phases)} phases on one of {models} click models)"
    counted = cases * any(" cases" in each for each in told)
    return f"Real gain{'s' * (len(real) > 1)}{counted}: {_list(told, semicolons=True)}."


def _size(nearest: Against | None) -> str:
    if nearest is None or nearest.auc is None:
        return ""
    known = nearest.auc
    return (
        f"{known.difference:+.4f} over {nearest.name}, 95 % interval over {known.by}s "
        f"{known.low:+.4f} to {known.high:+.4f}"
    )


def _not_real(comparison: Comparison) -> str:
    """Why the others are not, phase by phase, equal phases together."""
    claims = comparison.claims()
    if claims and all(claim.reason == TOO_FEW for claim in claims.values()):
        claims = comparison.claims(1)  # what else stands against them
    groups: list[tuple[list[str], dict[str, list[Key]]]] = []
    for phase in comparison.phases:
        reasons: dict[str, list[Key]] = defaultdict(list)
        for key, claim in claims.items():
            if key[2] == phase and not claim.real:
                reasons[claim.reason].append(key)
        if reasons and groups and _same(groups[-1][1], reasons):
            groups[-1][0].append(phase)
        elif reasons:
            groups.append(([phase], reasons))
    several = len({key[0] for key in claims}) > 1
    total = len({key[:2] for key in claims})
    told = [
        f"{_in_phases(comparison, phases)} {_who_why(reasons, total, several)}"
        for phases, reasons in groups
    ]
    if not told:
        return ""
    what = "pairs of method and click model" if several else "methods"
    of = f"of {total} {what}, " if several or total > _FEW else ""
    return of + "; ".join(told)


def _who_why(reasons: dict[str, list[Key]], total: int, several: bool) -> str:
    """Names of rows with what stands against them; numbers where they are many."""
    order = sorted(reasons, key=lambda reason: -len(reasons[reason]))
    if not several and total <= _FEW:
        return _list([f"{_list([k[1] for k in reasons[why]])} ({why})" for why in order])
    shown = order if len(order) <= 3 else order[:2]
    told = []
    for why in shown:
        keys = reasons[why]
        who = "all" if len(keys) == total else str(len(keys))
        told.append(f"{who} ({why})")
    rest = sum(len(reasons[why]) for why in order[len(shown) :])
    return _list([*told, *[f"{rest} for other reasons"] * bool(rest)])


def _same(one: dict[str, list[Key]], other: dict[str, list[Key]]) -> bool:
    def plain(found: dict[str, list[Key]]) -> dict[str, list[tuple[str, str]]]:
        return {reason: [key[:2] for key in keys] for reason, keys in found.items()}

    return plain(one) == plain(other)


# ------------------------------------------------------------------------------- what was equal
def _equal(comparison: Comparison) -> str:
    seeds = f"the seed{'s' * (len(comparison.seeds) > 1)} ({seed_names(comparison.seeds)})"
    equal = ["the split", "the scored rows", *[seeds] * (not comparison.missing())]
    told = []
    steps = _steps(comparison) if len(comparison.phases) > 1 else []  # else no phase learns
    if steps and steps[0][0] == steps[-1][0]:
        equal.append(f"the optimizer steps ({steps[0][0]:,.0f} in a warm phase)")
    elif steps:
        (least, one), (most, other) = steps[0], steps[-1]
        matched = comparison.titles.get(MATCHED, MATCHED)
        as_many = f"; the row '{matched}' gives the plain model as many as the longest method took"
        told.append(
            f"Not equal: optimizer steps, from {least:,.0f} ({one}) to {most:,.0f} ({other}) in a "
            f"warm phase{as_many * (MATCHED in comparison.rows)}."
        )
    return " ".join([f"{_list(equal)}.", *told, _budget(comparison)])


def _steps(comparison: Comparison) -> list[tuple[float, str]]:
    """Steps in a warm phase and whose they are, ascending; matched rows aside."""
    found = [
        (cost_figures(run)["phase_steps"], str(run["label"]))
        for run in comparison.runs()
        if run["label"] != MATCHED
    ]
    known = [pair for pair in found if math.isfinite(pair[0])]
    return sorted(known, key=lambda pair: pair[0])


def _budget(comparison: Comparison) -> str:
    bench = comparison.document.get("benchmark")
    if not bench:
        return "Settings are as given, not the result of an equal search."
    spent = [each.get("trials", 0) for each in bench.get("spent", {}).values()]
    trials = sorted({*spent} or {bench.get("trials", 0)})
    count = f"{trials[0]}" if len(trials) == 1 else f"{trials[0]} to {trials[-1]}"
    seeds = bench.get("tune_seeds")
    each = f" with {seeds} seed{'s' * (seeds > 1)} each" if seeds else ""
    alike = "Settings of every row were searched alike"
    if len(trials) > 1:
        alike = "The searches for settings were not of one length"
    by = f", chosen by {bench['metric']} on pseudo-new {comparison.unit}s" * bool(
        bench.get("metric")
    )
    failed = sum(each.get("failed", 0) for each in bench.get("spent", {}).values())
    lost = f"; {failed} failed" if failed else ""
    return f"{alike}: {count} trial{'s' * (trials != [1])}{each}{by}{lost}."


# ------------------------------------------------------------------------------- what lacks
def _lacks(comparison: Comparison, whole: bool = False) -> list[str]:
    """What would have to be there for claims; ``whole``: with what to do about it."""
    told = []
    claims = comparison.claims()
    if claims:
        seeds = len(comparison.seeds)
        if seeds < FEWEST_SEEDS:
            more = FEWEST_SEEDS - seeds
            told.append(f"{_word(more)} more seed{'s' * (more > 1)} (--seeds={FEWEST_SEEDS})")
        told += [f"the row {name}" for name in _absent(comparison)]
        if not comparison.has_intervals or any(
            claim.reason == NO_SCORES for claim in comparison.claims(1).values()
        ):
            told.append(
                "intervals over items, which need the scores of the rows" if whole else "intervals"
            )
    elif len(comparison.rows) > 1 and "AUC" not in comparison.metrics:
        told.append("AUC, by which gains are claimed")
    absent = comparison.missing()
    told += absent[:2]
    if len(absent) > 2:
        told.append(f"seeds of {_word(len(absent) - 2)} more rows")
    return told


def _absent(comparison: Comparison) -> list[str]:
    """Yardsticks that a group of the table lacks, as sentences call them."""
    lacking = {
        name
        for backbone in comparison.by_backbone
        if backbone != OWN_NETWORK
        for name, row in comparison.references(backbone).items()
        if row is None
    }
    return [in_words(name) for name in ("Base", MATCHED, ITEM_BIAS) if name in lacking]


# ------------------------------------------------------------------------------- words
def _places(comparison: Comparison, keys: Sequence[Key]) -> str:
    """Rows and where: "CVAR in warm_a and warm_b"; more than a few are counted."""
    by_row: dict[str, list[Key]] = defaultdict(list)
    for key in keys:
        by_row[key[1]].append(key)
    order = sorted(by_row, key=lambda row: -len(by_row[row]))
    told = [f"{row} {_where(comparison, by_row[row])}" for row in order[:_FEW]]
    more = len(order) - len(told)
    if more:
        told.append(f"{_word(more)} more row{'s' * (more > 1)}")
    return _list(told, semicolons=True)


def _where(comparison: Comparison, keys: Sequence[Key]) -> str:
    """The phases of one row; on several backbones, how many of all cases."""
    count = len([name for name in comparison.backbones if name != OWN_NETWORK])
    on = {p: sum(key[2] == p for key in keys) for p in comparison.phases}
    phases = [phase for phase, n in on.items() if n]
    if count <= 1:
        return _in_phases(comparison, phases)
    if {on[phase] for phase in phases} == {count}:
        return (
            f"{_in_phases(comparison, phases)} on {'both' if count == 2 else 'all ' + _word(count)}"
        )
    if len(phases) == 1:
        return f"in {phases[0]} on {_word(len(keys))} of {_word(count)}"
    return f"in {len(keys)} of {count * len(comparison.phases)} cases"


def _one_place(comparison: Comparison, key: Key) -> str:
    several = len(comparison.backbones) > 1 and key[0] != OWN_NETWORK
    return f"in {key[2]}" + (f" on {key[0]}" if several else "")


def _in_phases(comparison: Comparison, phases: Sequence[str]) -> str:
    if len(phases) == len(comparison.phases) > 1:
        return "in every phase"
    if list(phases) == comparison.phases[1:] and len(phases) > 1:
        return "in every warm phase"
    places = [comparison.phases.index(phase) for phase in phases]
    if len(phases) > 2 and places == list(range(places[0], places[-1] + 1)):
        return f"in {phases[0]} to {phases[-1]}"
    return f"in {_list(phases)}"


def _names(names: Sequence[str], what: str) -> str:
    if len(names) > _FEW:
        return f"{_word(len(names))} {what}"
    return _list(names)


def _list(parts: Sequence[str], semicolons: bool = False) -> str:
    """ "a, b and c"; with semicolons where the parts have commas or are long."""
    parts = list(parts)
    if len(parts) < 2:
        return "".join(parts)
    long = semicolons and any("," in part or " and " in part or "(" in part for part in parts)
    if long:
        return "; ".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def _word(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else f"{number:,}"


def _a(unit: str) -> str:
    return f"{'an' if unit[0] in 'aeio' else 'a'} {unit}"


def _low(nearest: Against | None) -> float:
    return nearest.auc.low if nearest is not None and nearest.auc is not None else -math.inf


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 4].rsplit(" ", 1)[0] + " ..."
