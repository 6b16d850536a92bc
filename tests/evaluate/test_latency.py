import gc

import numpy as np
import pytest
import torch

from cc_ray.evaluate import latency, measure_latency
from cc_ray.evaluate.latency import BatchTiming, Timing, supports, time_batches, time_beside
from cc_ray.schema import METRICS
from cc_ray.store.tables import conform
from tests.evaluate.tiny import Tiny


def test_a_percentile_needs_enough_passes_on_both_sides_of_it() -> None:
    assert not supports(5, 0.5) and supports(6, 0.5)
    assert not supports(35, 0.9) and supports(36, 0.9)
    assert not supports(100, 0.99) and supports(368, 0.99)
    assert supports(36, 0.1) and not supports(35, 0.1)


def test_a_percentile_that_the_passes_cannot_support_is_refused() -> None:
    timing = Timing(np.ones((5, 4)), np.ones((5, 4)))

    assert timing.percentile_ms(0.9) is None
    assert timing.percentile_ms(0.5) is not None


def test_percentiles_and_speed_up_are_those_of_all_passes() -> None:
    model_ms = np.arange(1.0, 101.0).reshape(20, 5)
    timing = Timing(model_ms, 2 * model_ms)
    p90 = timing.percentile_ms(0.9)

    assert p90 is not None
    assert p90.value == pytest.approx(np.percentile(model_ms, 90))
    assert p90.low < p90.value < p90.high
    assert p90.n == 100
    assert timing.speedup().value == timing.speedup().low == timing.speedup().high == 2


def test_intervals_tell_noise_between_rounds() -> None:
    steady, wild = np.full((20, 5), 2.0), np.repeat(np.arange(1.0, 21.0)[:, None], 5, axis=1)

    narrow, wide = Timing(steady, steady).percentile_ms(0.5), Timing(wild, steady).percentile_ms(0.5)

    assert narrow is not None and wide is not None
    assert narrow.low == narrow.high == 2
    assert wide.high - wide.low > 3


def test_the_plan_follows_the_budget_within_its_bounds() -> None:
    assert latency._plan(0.6, pass_ms=2.0) == (30, 10)
    assert latency._plan(0.6, pass_ms=10_000.0) == (10, 1)
    rounds, repeats = latency._plan(60.0, pass_ms=0.001)
    assert rounds == 30 and supports(rounds * repeats, 0.99)


def test_both_models_are_timed_in_every_round_and_settings_are_given_back() -> None:
    model = Tiny().build("identity")
    before = torch.get_num_threads(), gc.isenabled(), torch.is_grad_enabled()

    timing = time_beside(Tiny(), model, Tiny().build("identity"), budget_s=0.01)

    (rounds, passes), (base_rounds, base_passes) = timing.model_ms.shape, timing.base_ms.shape
    assert rounds == base_rounds and 1 <= base_passes <= passes
    assert (timing.model_ms > 0).all() and (timing.base_ms > 0).all()
    assert (torch.get_num_threads(), gc.isenabled(), torch.is_grad_enabled()) == before


def test_throughput_is_the_batch_over_its_median_time() -> None:
    found = BatchTiming(50, np.array([[4.0, 5.0], [5.0, 10.0]])).throughput_per_s()

    assert found.value == 10_000
    assert found.low <= 10_000 <= found.high
    assert found.n == 4


def test_batches_hold_no_more_than_there_is() -> None:
    timing = time_batches(Tiny(), Tiny().build("identity"), budget_s=0.01)

    assert timing.size == 4
    assert (timing.model_ms > 0).all()


def test_rows_fit_the_table_with_ordered_intervals() -> None:
    model = Tiny().build("identity")

    rows = conform(METRICS, measure_latency(Tiny(), model, model, model_id="m", budget_s=0.05)).to_pylist()

    percentiles = ["latency_p50_ms", "latency_p90_ms", "latency_p99_ms"]
    assert [row["metric"] for row in rows] == [*percentiles, "speedup", "throughput_per_s"]
    for row in rows:
        assert 0 < row["ci_low"] <= row["value"] <= row["ci_high"]
        assert (row["split"], row["slice"], row["device"]) == ("", "all", "cpu, 1 thread")
        assert row["n"] >= 36


def test_too_few_passes_leave_the_high_percentile_out() -> None:
    model = Tiny().build("identity")

    rows = measure_latency(Tiny(), model, model, model_id="m", budget_s=0.0)

    assert [row["metric"] for row in rows] == ["latency_p50_ms", "speedup", "throughput_per_s"]
