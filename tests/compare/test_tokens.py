import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from cc_ray.compare import generation, hurt_tokens, perplexity_by_position, scores_tokens, token_losses
from cc_ray.compare.behaviour.tokens import FIRST_BUCKET
from cc_ray.errors import NotComparableError
from cc_ray.imports.script import log_model
from cc_ray.store import Store
from cc_ray.views import Views, open_views

TEXTS = [["The", " cat", " sat"], ["The", " dog"], ["A", " cat", " ran", " off"]]
BASE = [[1.0, 2.0, 3.0], [1.0, 2.0], [0.5, 2.0, 3.0, 4.0]]
HURT = [[1.0, 4.0, 3.0], [1.0, 2.5], [0.5, 3.0, 3.0, 3.0]]


def logged(store: Store, name: str, losses: list[Any], texts: list[list[str]] | None = None, **more: Any) -> str:
    columns: dict[str, Any] = {"token_losses": losses} | ({"token_texts": texts} if texts else {})
    return log_model(store, name, task="words", predictions=columns, **more)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


@pytest.fixture
def ids(store: Store) -> list[str]:
    return [logged(store, "net", BASE, TEXTS), logged(store, "pruned", HURT, parent="net", operation="pruning")]


@pytest.fixture
def views(store: Store, ids: list[str]) -> Views:
    return open_views(store.root)


def test_losses_of_tokens_stand_beside_the_bases_largest_change_first(views: Views, ids: list[str]) -> None:
    found = token_losses(views, ids, ids[0])

    rows = found.table.to_pylist()
    assert (found.count, [row["instance"] for row in rows]) == (3, [0, 1, 2])
    assert [row["tokens"] for row in rows] == TEXTS
    assert [row["losses"] for row in rows] == HURT
    assert [row["base_losses"] for row in rows] == BASE
    assert {row["model_id"] for row in rows} == {ids[1]}
    page = token_losses(views, ids, ids[0], sort="loss", limit=1, offset=1)
    assert (page.count, page.table["instance"].to_pylist()) == (3, [2])


def test_tokens_come_by_what_they_cost_in_sum(views: Views, ids: list[str]) -> None:
    rows = hurt_tokens(views, ids[1], ids[0], least=1).to_pylist()

    assert [(row["token"], row["total"]) for row in rows[:2]] == [(" cat", 3.0), (" dog", 0.5)]
    assert (rows[0]["n"], rows[0]["instances"], rows[0]["base_loss"], rows[0]["loss"]) == (2, 2, 2.0, 3.5)
    assert rows[0]["difference"] == 1.5
    assert rows[0]["share"] == pytest.approx(3.0 / 2.5)
    assert (rows[-1]["token"], rows[-1]["total"]) == (" off", -1.0)
    assert hurt_tokens(views, ids[1], ids[0], least=2)["token"].to_pylist() == [" cat", "The"]
    # By hand: " cat" rose by 1 and by 2, once in each of two texts.
    reach = stats.t.ppf(0.975, 1) * np.std([1, 2], ddof=1) / np.sqrt(2)
    assert [rows[0]["difference_low"], rows[0]["difference_high"]] == pytest.approx([1.5 - reach, 1.5 + reach])
    assert [rows[1]["instances"], rows[1]["difference_low"]] == [1, None]


def test_perplexity_by_position_is_paired_and_adds_up(tmp_path: Path, store: Store) -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 40, 200)
    base = [rng.uniform(1, 3, length) for length in lengths]
    worse = [losses + 0.5 * (np.arange(len(losses)) >= FIRST_BUCKET) for losses in base]
    ids = [logged(store, "net", [each.tolist() for each in base])]
    ids += [logged(store, "pruned", [each.tolist() for each in worse], parent="net", operation="pruning")]
    views = open_views(store.root)

    rows = perplexity_by_position(views, ids, ids[0]).to_pylist()

    assert [(row["first"], row["last"]) for row in rows] == [(0, 7), (8, 15), (16, 31), (32, 63)]
    assert sum(row["tokens"] for row in rows) == lengths.sum()
    assert [row["ratio"] for row in rows] == pytest.approx([1, *[math.exp(0.5)] * 3], rel=1e-5)
    assert all(row["ratio_low"] <= row["ratio"] * (1 + 1e-6) for row in rows)
    assert rows[1]["ratio_low"] > 1
    plain = np.exp(np.mean(np.concatenate([each[8:16] for each in worse])))
    assert rows[1]["perplexity"] == pytest.approx(plain, rel=1e-5)
    whole = generation(views, ids[1:], ids[0]).to_pylist()[0]
    assert whole["perplexity"] == pytest.approx(np.exp(np.mean(np.concatenate(worse))), rel=1e-5)


def test_texts_cut_into_other_tokens_are_told_apart(store: Store, ids: list[str]) -> None:
    other = logged(store, "other", [[1.0], [1.0, 2.5], [0.5, 3.0, 3.0, 3.0]], parent="net", operation="swap")
    views = open_views(store.root)

    rows = {row["instance"]: row for row in token_losses(views, [other], ids[0]).table.to_pylist()}

    assert "scored 1 tokens and the base 3" in rows[0]["reason"]
    assert rows[0]["losses"] is None
    assert rows[1]["reason"] is None
    assert sum(row["tokens"] for row in perplexity_by_position(views, [other], ids[0]).to_pylist()) == 6


def test_models_without_losses_of_tokens_are_named(store: Store, ids: list[str]) -> None:
    columns = {"loss": [1.0, 1.0, 1.0], "tokens": [3, 2, 4]}
    plain = log_model(store, "plain", task="words", predictions=columns, parent="net", operation="x")
    views = open_views(store.root)

    assert scores_tokens(views, ids[0])
    assert not scores_tokens(views, plain)
    for ask in (token_losses, perplexity_by_position):
        with pytest.raises(NotComparableError, match=f"not recorded of {plain}"):
            ask(views, [plain], ids[0])
    with pytest.raises(NotComparableError, match="itself alone"):
        token_losses(views, [ids[0]], ids[0])
    with pytest.raises(NotComparableError, match="sort='x' is not known"):
        token_losses(views, ids, ids[0], sort="x")  # type: ignore[arg-type]


def test_a_store_of_an_older_program_is_read(store: Store, ids: list[str]) -> None:
    for name, column in (("predictions", "token_losses"), ("instances", "token_texts")):
        for file in Path(str(store.root)).rglob(f"{name}.parquet"):
            pq.write_table(pq.read_table(file).drop_columns([column]), file)
    views = open_views(store.root)

    assert not scores_tokens(views, ids[0])
    assert generation(views, ids, ids[0]).num_rows == 2
