"""Results on several subsets of sessions as one text: one table, a group of columns per subset.

Subsets are data sets of their own with a model each, so nothing is computed across them: every
number stands in the text of its subset alone, too.
"""

from collections.abc import Callable, Mapping, Sequence

from recbole_cold.report._comparison import Comparison, of_run
from recbole_cold.report._comparison_blocks import Block
from recbole_cold.report._comparison_tables import comparison_markdown_parts, comparison_parts
from recbole_cold.report._document import Document
from recbole_cold.report._tables import (
    WIDTH,
    Parts,
    cost_block,
    cost_legend,
    escape_pipes,
    listed,
    markdown_parts,
    pipes,
    screen_block,
    screen_parts,
    wrap,
)

Shown = Document | Comparison
ABSENT = "-"
_ENDLESS = 10_000  # letters of a line


def subsets_table(shown: Mapping[str, Shown], width: int | None = None) -> str:
    """The results of all subsets as plain text, costs included.

    Args:
        shown: subset -> the results of its run, or of its comparison.
        width: columns of the screen; where subsets do not fit beside each other they stand
            underneath, table by table. As wide as need be without it. Sentences have 120 at most.
    """
    lines = min(width or WIDTH, WIDTH)
    name = max(map(len, shown)) + 2  # before a line
    parts = {subset: _screen_parts(each, lines - name) for subset, each in shown.items()}
    texts = [_told(parts, lambda part: part.says)]
    texts.append(wrap(_told(parts, lambda part: part.facts), lines))
    for aligned in _aligned(parts):
        whole = screen_block(_side_by_side(aligned), _ENDLESS)
        if width is not None and max(map(len, whole)) > width:
            whole = [line for block in aligned for line in screen_block(block, width)]
        texts.append(whole)
    legend = _told(parts, lambda part: part.legend)
    texts.append(wrap([*legend, *_told(parts, lambda part: part.doubts)], lines))
    return "\n\n".join("\n".join(text) for text in texts if text)


def subsets_markdown(shown: Mapping[str, Shown], command: str) -> str:
    """The same in Markdown, subsets always side by side, with the command that made it."""
    parts = {name: _markdown_parts(each) for name, each in shown.items()}
    texts = [f"**{name}**: {said}" for name, part in parts.items() for said in part.says]
    texts.append(listed(_told(parts, lambda part: part.facts)))
    texts += [pipes(_side_by_side(aligned)) for aligned in _aligned(parts)]
    texts += map(escape_pipes, _told(parts, lambda part: part.legend))
    texts.append(listed(_told(parts, lambda part: part.doubts)))
    return "\n\n".join(filter(None, [*texts, f"```\n{command}\n```"])) + "\n"


# ------------------------------------------------------------------------------- parts
def _screen_parts(shown: Shown, width: int) -> Parts:
    if isinstance(shown, Comparison):
        return comparison_parts(shown, width)
    return _with_costs(shown, screen_parts(shown, width=width))


def _markdown_parts(shown: Shown) -> Parts:
    if isinstance(shown, Comparison):
        return comparison_markdown_parts(shown)
    return _with_costs(shown, markdown_parts(shown))


def _with_costs(doc: Document, parts: Parts) -> Parts:
    """Parts with the costs, and the matched row under one name: its steps differ by subset."""
    titles = of_run(doc).titles

    def named(text: str) -> str:
        for label, title in titles.items():
            text = text.replace(title, label)
        return text

    blocks = [
        Block(
            named(block.title),
            block.columns,
            [(group, [(named(row), own) for row, own in rows]) for group, rows in block.groups],
        )
        for block in [*parts.blocks, cost_block(doc)]
    ]
    says, legend, doubts = (
        [named(line) for line in lines]
        for lines in (parts.says, [*parts.legend, *cost_legend(doc)], parts.doubts)
    )
    return Parts(says, parts.facts, blocks, legend, doubts)


def _told(parts: Mapping[str, Parts], lines_of: Callable[[Parts], Sequence[str]]) -> list[str]:
    """Lines that hold for all subsets once, then the others behind the name of their subset."""
    lines = {name: list(dict.fromkeys(lines_of(part))) for name, part in parts.items()}
    found = list(dict.fromkeys(line for own in lines.values() for line in own))
    shared = [line for line in found if all(line in own for own in lines.values())]
    return shared + [
        f"{name}: {line}" for name, own in lines.items() for line in own if line not in shared
    ]


# ------------------------------------------------------------------------------- tables
def _aligned(parts: Mapping[str, Parts]) -> list[list[Block]]:
    """Per table one block for each subset that has it, all with the same rows in one order."""
    titles = dict.fromkeys(block.title for part in parts.values() for block in part.blocks)
    tables = []
    for title in titles:
        own = {n: b for n, part in parts.items() for b in part.blocks if b.title == title}
        groups: dict[str, dict[str, None]] = {}
        for block in own.values():
            for group, rows in block.groups:
                groups.setdefault(group, {}).update(dict.fromkeys(row for row, _ in rows))
        tables.append([_with_rows(block, name, groups) for name, block in own.items()])
    return tables


def _with_rows(block: Block, name: str, groups: Mapping[str, Mapping[str, None]]) -> Block:
    """``block`` of the subset ``name`` with all ``groups`` and rows; it lacks some of them."""
    cells = {(group, row): own for group, rows in block.groups for row, own in rows}
    empty = [ABSENT] * len(block.columns)
    return Block(
        block.title,
        [f"{name} {column}" for column in block.columns],
        [
            (group, [(row, cells.get((group, row), empty)) for row in rows])
            for group, rows in groups.items()
        ],
    )


def _side_by_side(aligned: Sequence[Block]) -> Block:
    """Blocks with the same rows as one, with the columns of all."""
    first = aligned[0]
    groups = []
    for number, (group, rows) in enumerate(first.groups):
        own = [block.groups[number][1] for block in aligned]
        cells = [[cell for part in line for cell in part[1]] for line in zip(*own, strict=True)]
        groups.append((group, [(row[0], each) for row, each in zip(rows, cells, strict=True)]))
    return Block(first.title, [column for block in aligned for column in block.columns], groups)
