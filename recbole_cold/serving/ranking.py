"""The best items of each user by a fitted model: every candidate scored, pairs left out, sorted.

Shape letters: u users, c candidates.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from recbole_cold.errors import UserError
from recbole_cold.experiment.model_folder import WITH_VECTORS
from recbole_cold.serving.encoding import as_texts
from recbole_cold.serving.frames import as_table, index_in, refuse_missing, whole

_PAIRS = 1 << 16  # of users and candidates that are scored at a time


def best_of(
    fitted: Any, users: Any, k: int, candidates: str | Sequence[Any], seen: Any
) -> Iterator[pd.DataFrame]:
    """As ``Fitted.topk`` of ``fitted``, some users at a time; the report goes on counting.

    Raises:
        UserError: an argument does not fit the model.
    """
    if k < 1:
        raise UserError(f"topk {k} asks for no item; give a number from 1 on")
    dataset = fitted.dataset
    table = _users_table(fitted, users)
    tokens = _candidates(fitted, candidates)
    place_c = fitted.tensor(fitted.places("item", tokens))
    place_u = fitted.tensor(fitted.places("user", whole(table[dataset.uid_field])))
    context = {
        field: fitted.tensor(fitted.encoder.column(field, whole(table[field])))
        for field in fitted.context
    }
    names = as_texts(dataset.uid_field, whole(table[dataset.uid_field]))
    rank_of = np.empty(len(tokens), np.int64)
    rank_of[np.argsort(np.array(tokens.to_pylist(), dtype=str), kind="stable")] = np.arange(
        len(tokens)
    )
    gone = _seen_pairs(fitted, seen, tokens)
    step = max(1, _PAIRS // len(tokens))
    for start in range(0, len(table), step):
        end = min(start + step, len(table))
        number = end - start
        columns = {
            dataset.uid_field: place_u[start:end].repeat_interleave(len(tokens)),
            dataset.iid_field: place_c.repeat(number),
            **{f: each[start:end].repeat_interleave(len(tokens), dim=0)
               for f, each in context.items()},
        }  # fmt: skip
        scores_uc = fitted.scored(columns).cpu().numpy().reshape(number, len(tokens))
        fitted.report.rows += scores_uc.size
        part = names[start:end].to_pylist()
        yield _best(part, scores_uc, tokens, rank_of, gone, k, dataset)


def _users_table(fitted: Any, users: Any) -> pa.Table:
    field = fitted.dataset.uid_field
    if isinstance(users, (pd.DataFrame, pa.Table)):
        table = as_table(users)
    else:
        table = pa.table({field: pa.array([str(user) for user in users], pa.large_string())})
    lacking = [name for name in fitted.context if name not in table.column_names]
    if lacking:
        raise UserError(
            f"the model reads '{lacking[0]}' of each row, which belongs to no user or item; "
            f"give the users as a frame with '{field}' and '{lacking[0]}'"
        )
    refuse_missing(table, [field], "the users")
    return table


def _candidates(fitted: Any, asked: str | Sequence[Any]) -> pa.Array:
    if isinstance(asked, str) and asked not in ("all", "new"):
        raise UserError(f"candidates are '{asked}'; use all, new, or a list of ids")
    if not isinstance(asked, str):
        found = list(dict.fromkeys(str(each) for each in asked))
    elif fitted.dataset.split.cold_side == "item":
        found = fitted.ids(asked)
    elif asked == "new":
        raise UserError("candidates: new asks for new items, and here users are new; use all")
    else:
        status = fitted.dataset.status["item"]
        texts = fitted.dataset.field2id_token[fitted.dataset.iid_field]
        found = [texts[int(code)] for code in np.flatnonzero(np.isin(status, WITH_VECTORS))]
    if not found:
        raise UserError("there are no candidates; give a list of item ids")
    return pa.array(found, pa.large_string())


def _seen_pairs(fitted: Any, seen: Any, tokens: pa.Array) -> dict[str, list[int]]:
    """User -> places among the candidates that are left out."""
    if seen is None:
        return {}
    table = as_table(seen)
    fields = [fitted.dataset.uid_field, fitted.dataset.iid_field]
    refuse_missing(table, fields, "the seen pairs")
    user, item = (as_texts(field, whole(table[field])) for field in fields)
    place = index_in(item, tokens)
    found: dict[str, list[int]] = {}
    for who, at in zip(user.to_pylist(), place.tolist(), strict=True):
        if at >= 0:
            found.setdefault(who, []).append(at)
    return found


def _best(
    users: list[str],
    scores_uc: np.ndarray,
    tokens: pa.Array,
    rank_c: np.ndarray,
    gone: Mapping[str, list[int]],
    k: int,
    dataset: Any,
) -> pd.DataFrame:
    """The best rows of some users, best first."""
    parts = []
    for user, score_c in zip(users, scores_uc, strict=True):
        left = np.ones(len(score_c), dtype=bool)
        left[gone.get(user, [])] = False
        place = np.flatnonzero(left)
        order = place[np.lexsort((rank_c[place], -score_c[place]))][:k]
        parts.append((user, order, score_c[order]))
    order = np.concatenate([each for _, each, _ in parts])
    return pd.DataFrame(
        {
            dataset.uid_field: np.repeat([u for u, *_ in parts], [len(o) for _, o, _ in parts]),
            "rank": np.concatenate([np.arange(1, len(o) + 1) for _, o, _ in parts]),
            dataset.iid_field: np.array(tokens.take(pa.array(order)).to_pylist(), dtype=object),
            "score": np.concatenate([s for *_, s in parts]),
        }
    )
