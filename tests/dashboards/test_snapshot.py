from pathlib import Path

from cc_ray.store import Store
from dashboards import snapshot
from dashboards.snapshot import Source
from tests.benchmarks.make_store import make_store


def test_objectives_come_first_then_the_other_primary_metrics(snapshot: snapshot.Snapshot) -> None:
    names = list(snapshot.metrics)
    primary = [metric.primary for metric in snapshot.metrics.values()]

    assert names[:3] == ["accuracy", "size_bytes", "latency_p50_ms"]
    assert [metric.metric for metric in snapshot.objectives] == names[:3]
    assert primary == sorted(primary, reverse=True)


def test_news_of_the_store_make_a_new_snapshot(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    source = Source(str(store.root))
    before = source.snapshot
    make_store(store.root, models=3, instances=20)

    source._asked_at -= snapshot.REFRESH_S
    after = source.refresh()

    assert len(before.models) == 0
    assert len(after.models) == 3
    assert source.snapshot is after


def test_the_store_is_not_asked_by_every_tab_at_once(tmp_path: Path) -> None:
    source = Source(str(Store(tmp_path / "store", create=True).root))
    make_store(source.root, models=3, instances=20)

    assert source.refresh() is source.refresh()
    assert len(source.snapshot.models) == 0
