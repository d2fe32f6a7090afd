"""MovieLens-1M: the 972 new films of a run, forgotten and grown from nothing, are the run's own."""

import numpy as np
import pandas as pd
import pytest

import recbole_cold
from recbole_cold.serving.grow import grow


@pytest.mark.slow
@pytest.mark.parametrize("method", ["MetaE", "CVAR[cvar_iters=1]"])
def test_growing_all_new_films_gives_the_runs_own_auc(method, ml1m_path, tmp_path):
    result = recbole_cold.run(
        method, dataset="ml-1m", data_path=str(ml1m_path.parent), seeds=1, matched_row=False,
        keep_phases=["cold", "warm_c"], train_batch_size=2048, show_progress=False,
        saved_dir=str(tmp_path / "saved"), cache_dir=str(tmp_path / "cache"), bootstrap_resamples=0,
    )  # fmt: skip
    (run,) = (tmp_path / "saved").iterdir()
    cold, ran = (recbole_cold.load(run, phase=name) for name in ("cold", "warm_c"))
    ids = cold.ids("new")
    assert len(ids) == 972
    inter, items = (
        pd.read_csv(ml1m_path / f"ml-1m.{kind}", sep="\t", dtype=str).rename(
            columns=lambda name: name.partition(":")[0]
        )
        for kind in ("inter", "item")
    )
    rows = inter[inter["item_id"].isin(ids)]
    order = rows.assign(time=rows["timestamp"].astype(float)).sort_values("time", kind="stable")
    rank = order.groupby("item_id").cumcount().reindex(rows.index)
    size = ran.about["config"]["warm_size"]
    folder = grow(
        run, phase="cold", drop=ids, items=items.set_index("item_id").loc[ids].reset_index(),
        out=tmp_path / "0",
    )["folder"]  # fmt: skip
    for number in range(3):
        part = rows[(rank // size).eq(number)]
        folder = grow(folder, rows=part, out=tmp_path / f"{number + 1}")["folder"]
    grown = recbole_cold.load(folder)
    assert np.array_equal(grown.vectors(ids), ran.vectors(ids))
    test = rows[rank >= 3 * size]
    assert np.array_equal(grown.score(test), ran.score(test))
    found = grown.evaluate(test)["AUC"]
    told = result.document["runs"][0]["seeds"][0]["phases"]["warm_c"]["metrics"]["AUC"]
    assert found == pytest.approx(told, abs=1e-12)
