"""L3: without the rows of new items in the files, pre-training must give the same backbone."""

from recbole_cold.leaks._edits import without_later_rows
from recbole_cold.leaks.finding import LEAK, OK, Finding, counted, not_applicable
from recbole_cold.leaks.subject import Subject, changed_names


def find(subject: Subject) -> Finding:
    """Whether backbone and cold start of new items are bit for bit those without later rows.

    All rows outside of ``train`` are deleted, those of rare items included, before numbers are
    scaled and tokens masked; the features of the items stay.
    """
    plain = subject.plain
    edited = without_later_rows(subject.loaded, subject.split, subject.config)
    found = subject.train(edited, f"without the rows of new {subject.side}s", [])
    moved = changed_names(plain.backbone, found.backbone)
    unlike = sum(not a.equal(b) for a, b in zip(plain.served, found.served, strict=True))
    gone = subject.data.n_rows - edited.n_rows
    if not moved and not unlike:
        return Finding(
            OK,
            f"without the {gone:,} rows outside of train the backbone is the same bit for bit, and "
            f"so is what new {subject.side}s are served with",
            0.0,
        )
    if not subject.repeats:
        return not_applicable(
            "the same training gives another backbone each time on this device; try --device=cpu"
        )
    if not moved:
        return Finding(
            LEAK,
            f"without the {gone:,} rows outside of train the backbone is the same, but new "
            f"{subject.side}s are served with other vectors before any of their rows was seen",
            float(unlike),
        )
    return Finding(
        LEAK,
        f"without the {gone:,} rows outside of train the backbone is another one: "
        f"{len(moved)} of {counted(len(plain.backbone), 'tensor')} differ ({moved[0]})",
        float(len(moved)),
    )
