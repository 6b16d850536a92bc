from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cc_ray.compare.trade_offs.efficiency import efficiency
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.imports.compress_and_compare import import_results
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import open_views
from tests.benchmarks.make_store import make_store
from tests.compare.small import TASK, Value, add_model, new_store

REAL = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "compress_and_compare"
PRUNE, TUNE = Step("pruning"), Step("tune")
DIRECTIONS = {"throughput": "higher", "peak_memory_bytes": "lower", "energy_j": "lower"}


def answer(store: Store, *ids: str, base: str | None = None) -> dict[str, dict[str, Any]]:
    found = efficiency(open_views(store.root), ids or None, base).to_pylist()
    return {row["model_id"]: row for row in found}


def family(root: Path, **metrics: Mapping[str, Value]) -> Store:
    """A base, its child and its grandchild."""
    store = new_store(root, directions=DIRECTIONS)
    parents: dict[str, tuple[str | None, tuple[Step, ...]]] = {
        "base": (None, ()), "child": ("base", (PRUNE,)), "grand": ("child", (PRUNE, TUNE))
    }  # fmt: skip
    for model_id, (parent, steps) in parents.items():
        add_model(store, model_id, parent=parent, steps=steps, metrics=metrics.get(model_id, {}))
    return store


def test_costs_beside_base_and_parent(tmp_path: Path) -> None:
    store = family(tmp_path, base={"size_bytes": 800.0}, child={"size_bytes": 400.0}, grand={"size_bytes": 100.0})

    found = answer(store)

    assert [found[id]["size_bytes_times"] for id in ("base", "child", "grand")] == [1.0, 2.0, 8.0]
    assert [found[id]["size_bytes_parent_times"] for id in ("base", "child", "grand")] == [None, 2.0, 4.0]
    assert (found["grand"]["base_id"], found["grand"]["parent_id"]) == ("base", "child")


def test_theory_is_the_largest_promise(tmp_path: Path) -> None:
    costs = {"multiply_adds": 100.0, "num_nonzero_parameters": 100.0, "effective_bits": 32.0}
    small = {"multiply_adds": 50.0, "num_nonzero_parameters": 80.0, "effective_bits": 8.0}
    store = family(tmp_path, base=costs, child={**small, "speedup": (1.6, 1.5, 1.7)})

    found = answer(store)["child"]

    assert found["theoretical_speedup"] == 4.0
    assert found["realised_share"] == pytest.approx(0.2)


VERDICTS = {
    "realised": (1.5, 1.4, 1.6),
    "within noise": (1.05, 0.95, 1.15),
    "slower": (0.8, 0.7, 0.9),
}


@pytest.mark.parametrize("verdict", list(VERDICTS))
def test_the_interval_gives_the_verdict(tmp_path: Path, verdict: str) -> None:
    store = family(tmp_path, base={"speedup": (1.0, 1.0, 1.0)}, child={"speedup": VERDICTS[verdict]})

    found = answer(store)["child"]

    assert (found["verdict"], found["parent_verdict"], found["speedup_source"]) == (verdict, verdict, "same run")
    assert (found["speedup"], found["speedup_low"], found["speedup_high"]) == VERDICTS[verdict]


def test_against_another_model_two_speedups_are_set_in_proportion(tmp_path: Path) -> None:
    speedups = {"child": (2.0, 1.8, 2.2), "grand": (4.0, 3.6, 4.4)}
    store = family(tmp_path, base={"speedup": (1.0, 1.0, 1.0)}, **{id: {"speedup": v} for id, v in speedups.items()})

    found = answer(store, "grand", base="child")["grand"]

    assert (found["speedup"], found["speedup_source"], found["verdict"]) == (2.0, "separate runs", "realised")
    # sqrt(2) x 10 % on a logarithmic scale: wider than either one's.
    assert 1.68 < found["speedup_low"] < 1.75
    assert 2.3 < found["speedup_high"] < 2.4
    assert found["parent_speedup"] == 2.0


def test_without_speedups_latencies_are_compared(tmp_path: Path) -> None:
    slow, fast = (2.0, 1.9, 2.1), (1.9, 1.8, 2.0)
    store = family(tmp_path, base={"latency_p50_ms": slow}, child={"latency_p50_ms": fast}, grand={})

    found = answer(store)

    assert found["child"]["verdict"] == "within noise"
    assert found["child"]["latency_p50_ms_low"] == 1.8
    assert (found["grand"]["verdict"], found["grand"]["speedup"]) == (None, None)


def test_a_latency_without_interval_gets_no_verdict(tmp_path: Path) -> None:
    store = family(tmp_path, base={"latency_p50_ms": 2.0}, child={"latency_p50_ms": 1.0})

    assert answer(store)["child"]["verdict"] is None


def test_throughput_memory_and_energy_come_where_the_store_has_them(tmp_path: Path) -> None:
    base = {"throughput": 10.0, "peak_memory_bytes": 100.0, "energy_j": 4.0}
    store = family(tmp_path, base=base, child={"throughput": 30.0, "peak_memory_bytes": 50.0, "energy_j": 1.0})

    found = answer(store)["child"]

    names = ("throughput_times", "peak_memory_bytes_times", "energy_j_times")
    assert [found[name] for name in names] == [3.0, 2.0, 4.0]
    assert "energy_j" not in efficiency(open_views(new_store(tmp_path / "other").root)).column_names


def test_zeros_and_missing_values_are_no_ratio(tmp_path: Path) -> None:
    store = family(tmp_path, base={"size_bytes": 5.0}, child={"size_bytes": 0.0}, grand={})

    found = answer(store)

    assert found["child"]["size_bytes_times"] is None
    assert found["grand"]["size_bytes_times"] is None


def test_models_and_bases_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path, tasks=(TASK, "letters-1"))
    add_model(store, "aaaa")
    add_model(store, "bbbb", task_id="letters-1")
    views = open_views(store.root)

    assert efficiency(views, base="bbbb")["model_id"].to_pylist() == ["bbbb"]
    with pytest.raises(NotComparableError):
        efficiency(views, ["aaaa"], base="bbbb")
    with pytest.raises(ModelNotFoundError):
        efficiency(views, ["cccc"])


def test_a_generated_store(tmp_path: Path) -> None:
    store = make_store(tmp_path, models=20, instances=50)

    found = answer(store)

    assert len(found) == 20
    assert {row["verdict"] for row in found.values()} == {"realised", "within noise"}
    assert all(row["latency_p99_ms"] is None for row in found.values())


def test_imported_results_without_such_metrics(tmp_path: Path) -> None:
    file = REAL / "imagenet_tutorial.json"
    if not file.exists():
        pytest.skip("the prototype's result files are not beside the project")
    store = Store(tmp_path, create=True)
    import_results(store, file)

    found = answer(store)

    assert len(found) == 5
    assert all(row["verdict"] is None and row["size_bytes"] is None for row in found.values())


def test_nan_and_infinity_are_no_ratio(tmp_path: Path) -> None:
    nan, infinite = float("nan"), float("inf")
    child: dict[str, Value] = {"size_bytes": nan, "multiply_adds": infinite, "speedup": (infinite, 1.0, infinite)}
    store = family(tmp_path, base={"size_bytes": 100.0, "multiply_adds": 10.0}, child=child)

    found = answer(store)["child"]

    names = ("size_bytes_times", "multiply_adds_times", "theoretical_speedup", "speedup", "verdict", "realised_share")
    assert {found[name] for name in names} == {None}
