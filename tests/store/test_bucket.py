"""What is special about a store in a bucket: two at once, a server that is away, a mirror, what is refused."""

import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from moto.server import ThreadedMotoServer
from torch import nn

from cc_ray.errors import StoreError
from cc_ray.schema import BATCHES, SCHEMA_VERSION
from cc_ray.store import Store, bucket, objects
from cc_ray.store.address import url_of, whole
from cc_ray.store.artifacts import load_model, save_model
from cc_ray.store.bucket import Bucket
from cc_ray.store.compaction import compact
from cc_ray.store.weights import read_weights
from tests.store.test_tables import run


def held(store: Store, folder: str) -> list[str]:
    """Names of objects."""
    assert isinstance(store.place, Bucket)
    return [found.name for found in store.place.objects.listing(folder)]


def elsewhere(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store on a machine that has read nothing of it."""
    monkeypatch.setenv("CC_RAY_CACHE", f"{os.environ['CC_RAY_CACHE']}-elsewhere")
    return Store(store.root)


def test_what_one_machine_publishes_others_read(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(f"{bucket_url}/deep/below", create=True)
    store.publish("run", "r1", {"step_runs": [run()]})

    other = elsewhere(store, monkeypatch)

    assert other.layout.root != store.layout.root
    assert other.has("run", "r1") and not other.has("run", "r2")
    assert other.read("step_runs").equals(store.read("step_runs"))
    assert other.size_bytes("run", "r1") == store.size_bytes("run", "r1") > 0
    assert not other.publish("run", "r1", {"step_runs": [run(process=2)]})


def test_names_in_the_bucket_are_those_of_the_documentation(bucket_url: str) -> None:
    store = Store(bucket_url, create=True)
    store.publish("run", "r1", {"step_runs": [run()]})
    assert isinstance(store.place, Bucket)

    (name,) = held(store, "batches")
    writer = json.loads(store.place.objects.read("published/run/r1")[0])["writer"]
    assert name == f"batches/run/r1/{writer}/step_runs.parquet"
    assert held(store, "partial") == []
    compact(store, keep_s=-1)
    assert held(store, "batches") == [] and held(store, "published") == ["published/run/r1"]
    assert store.has("run", "r1") and not store.publish("run", "r1", {})


PUBLISH = """
import sys
from pathlib import Path
from cc_ray.store import Store
from tests.store.test_tables import run
store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print([store.publish("run", f"r{n}", {"step_runs": [run(f"r{n}", process=int(sys.argv[2]))]}) for n in range(10)])
"""


def test_of_two_processes_exactly_one_publishes_each_batch(bucket_url: str) -> None:
    store = Store(bucket_url, create=True)
    command = [sys.executable, "-c", PUBLISH, str(store.root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, str(number)], **pipes) for number in (1, 2)]  # type: ignore[call-overload]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()

    won = [json.loads(writer.communicate()[0].lower()) for writer in writers]

    assert all(one != two for one, two in zip(*won, strict=True))
    processes = {row["run_id"]: row["process"] for row in store.read("step_runs").to_pylist()}
    assert processes == {f"r{n}": 1 if one else 2 for n, one in enumerate(won[0])}
    assert len(held(store, "batches")) == 10 and held(store, "partial") == []


@pytest.mark.parametrize("requests", [1, 4, 8])
def test_a_writer_that_is_killed_while_it_sends_leaves_nothing_visible(bucket_url: str, requests: int) -> None:
    store = Store(bucket_url, create=True)
    script = textwrap.dedent(
        """
        import os, signal, sys
        from cc_ray.store import Store, objects
        store, write, written = Store(sys.argv[1]), objects.Objects.write, []

        def write_then_die(self, name, content):
            write(self, name, content)
            written.append(name)
            if len(written) == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)

        objects.Objects.write = write_then_die
        store.publish("step", "m1", {"lineage": [{"child": "m1", "parent": "m0", "role": "parent"}]})
        """
    )

    killed = subprocess.run([sys.executable, "-c", script, str(store.root), str(requests)], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert store.keys("step") == [] and store.read("lineage").num_rows == 0
    assert store.publish("step", "m1", {})
    assert store.sweep(older_than_s=-1) == 2  # Its note, and its files on this machine.
    assert held(store, "partial") == [] and len(held(store, "batches")) == len(BATCHES["step"])
    assert store.read("lineage", keys={"step": "m1"}).num_rows == 0


@pytest.fixture
def own_server(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    """A server that a test may stop; what it holds stays."""
    url = bucket_url
    logging.getLogger("werkzeug").disabled = True
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    assert url.startswith("s3://")
    yield server
    server.stop()


def test_a_server_that_comes_back_is_waited_for(bucket_url: str, own_server: ThreadedMotoServer) -> None:
    store = Store(bucket_url, create=True)
    host, port = own_server.get_host_and_port()
    own_server.stop()
    won: list[bool] = []
    writer = threading.Thread(target=lambda: won.append(store.publish("run", "r1", {"step_runs": [run()]})))
    writer.start()
    time.sleep(1)
    assert not won
    again = ThreadedMotoServer(host, port, verbose=False)
    again.start()
    writer.join()
    again.stop()

    assert won == [True]


def test_a_server_that_stays_away_is_named_and_nothing_is_published(
    bucket_url: str, own_server: ThreadedMotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bucket_url
    monkeypatch.setattr(objects, "PATIENCE_S", 0.5)
    store = Store(url, create=True)
    host, port = own_server.get_host_and_port()
    own_server.stop()

    for attempt in (
        lambda: store.publish("run", "r1", {"step_runs": [run()]}),
        lambda: save_model(store.layout, nn.Linear(2, 2)),
        lambda: store.read("step_runs"),
        lambda: Store(url),
    ):
        with pytest.raises(StoreError, match=f"{url} cannot be reached") as told:
            attempt()
        assert "secret" not in str(told.value) and str(port) not in str(told.value)
        pickle.loads(pickle.dumps(told.value))
    again = ThreadedMotoServer(host, port, verbose=False)
    again.start()
    try:
        assert Store(url).keys("run") == []
    finally:
        again.stop()


def test_a_lost_answer_to_the_marker_is_no_lost_batch(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(bucket_url, create=True)
    assert isinstance(store.place, Bucket)
    api = store.place.objects._api
    put = api.put
    lost: list[bool] = []

    def losing(*arguments: object, **more: object) -> object:
        found = put(*arguments, **more)
        if more.get("mode") == "create" and not lost:
            lost.append(True)
            raise api.exceptions.GenericError("connection reset")
        return found

    monkeypatch.setattr(api, "put", losing)
    assert store.publish("run", "r1", {"step_runs": [run()]})
    assert lost


def test_a_server_that_overwrites_what_is_there_is_refused(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put = obstore.put
    monkeypatch.setattr(obstore, "put", lambda *arguments, mode, **more: put(*arguments, **more))

    with pytest.raises(StoreError, match="If-None-Match"):
        Store(bucket_url, create=True)
    assert not Store.is_begun(bucket_url)


def test_models_go_by_way_of_the_bucket(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(bucket_url, create=True)
    model = nn.Linear(5, 4)
    saved = save_model(store.layout, model)
    assert save_model(store.layout, model) == saved
    other = elsewhere(store, monkeypatch)

    assert other.layout.artifact_bytes(saved.digest) == saved.size_bytes
    assert not other.layout.artifact(saved.digest).exists()
    loaded = load_model(other.layout, saved.digest, nn.Linear(5, 4))

    assert loaded.state_dict()["weight"].equal(model.weight)
    assert other.layout.artifact(saved.digest).exists()
    assert other.layout.artifact_bytes("0" * 64) is None
    with pytest.raises(StoreError, match="there is no model file"):
        read_weights(other.layout, "0" * 64)


def test_a_mirror_may_be_deleted(bucket_url: str) -> None:
    store = Store(bucket_url, create=True)
    store.publish("run", "r1", {"step_runs": [run()]})
    shutil.rmtree(store.layout.root)

    assert store.read("step_runs").num_rows == 1
    assert store.publish("run", "r2", {"step_runs": [run("r2")]})


def test_a_new_store_at_the_same_url_holds_nothing_of_the_old_one(bucket_url: str) -> None:
    store = Store(bucket_url, create=True)
    store.publish("run", "r1", {"step_runs": [run()]})
    assert isinstance(store.place, Bucket)
    store.place.objects.delete([*held(store, "batches"), *held(store, "published"), "store.json"])

    with pytest.raises(StoreError, match="not a CC-Ray store"):
        Store(store.root)
    assert not Store.is_begun(store.root)
    new = Store(store.root, create=True)
    assert not new.has("run", "r1") and new.read("step_runs").num_rows == 0


def test_segments_that_count_no_more_leave_the_mirror(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(bucket_url, create=True)
    store.publish("run", "r1", {"step_runs": [run()]})
    compact(store)
    other = elsewhere(store, monkeypatch)
    (old,) = other.files("step_runs")
    store.publish("run", "r2", {"step_runs": [run("r2")]})
    compact(store)
    assert other.read("step_runs").num_rows == 2 and old.exists()

    monkeypatch.setattr(bucket, "LEASE_S", 0.0)
    assert other.read("step_runs").num_rows == 2
    assert not old.exists()


def test_merged_batches_leave_the_mirror_with_a_sweep(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(bucket_url, create=True)
    store.publish("run", "r1", {"step_runs": [run()]})
    other = elsewhere(store, monkeypatch)
    (old,) = other.files("step_runs")
    compact(store, keep_s=-1)

    assert other.sweep() == 0 and old.exists()
    assert other.sweep(older_than_s=-1) == 0 and not old.exists()
    assert other.has("run", "r1") and other.read("step_runs").num_rows == 1


def test_of_two_that_compact_at_once_one_returns(bucket_url: str) -> None:
    store = Store(bucket_url, create=True)
    store.publish("run", "r1", {"step_runs": [run()]})

    with store.place.alone() as alone:
        assert alone
        assert compact(Store(store.root)).busy
    assert compact(store).batches == 1


def test_a_compaction_that_was_overtaken_changes_nothing(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = Store(bucket_url, create=True), Store(bucket_url)
    store.publish("run", "r1", {"step_runs": [run()]})
    add = Bucket.add_segment

    def slowly(*arguments: object) -> None:
        monkeypatch.setattr(Bucket, "add_segment", add)
        assert compact(other).batches == 1
        add(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bucket, "LEASE_S", 0.0)
    monkeypatch.setattr(Bucket, "add_segment", slowly)

    assert compact(store).busy
    assert store.read("step_runs").num_rows == 1
    compact(store, keep_s=-1)
    assert store.read("step_runs").num_rows == 1 and len(held(store, "segments/run")) == 2


def test_an_older_store_is_lifted_and_a_newer_one_refused(bucket_url: str) -> None:
    url = bucket_url
    store = Store(url, create=True)
    mark, tag = store.place.read(store.layout.marker)
    assert store.place.replace(store.layout.marker, {**mark, "schema_version": 1}, tag)

    older = Store(url)
    older.publish("run", "r1", {"step_runs": [run()]})
    lifted, tag = store.place.read(store.layout.marker)
    assert lifted == mark
    store.place.replace(store.layout.marker, {**mark, "schema_version": SCHEMA_VERSION + 1}, tag)
    with pytest.raises(StoreError, match="Upgrade cc-ray"):
        Store(url)


def test_a_folder_and_a_bucket_are_not_taken_for_each_other(bucket_url: str, tmp_path: Path) -> None:
    folder, store = Store(tmp_path, create=True), Store(bucket_url, create=True)
    mark, tag = store.place.read(store.layout.marker)
    folder.place.replace(folder.layout.marker, mark, None)
    store.place.replace(store.layout.marker, {"format": "cc-ray store", "schema_version": SCHEMA_VERSION}, tag)

    with pytest.raises(StoreError, match="not a 'cc-ray store'"):
        Store(tmp_path)
    with pytest.raises(StoreError, match="no store of a bucket"):
        Store(store.root)


def test_a_bucket_that_is_not_there_is_told(bucket_url: str) -> None:
    with pytest.raises(StoreError, match=r"s3://no-such-bucket: there is no such bucket"):
        Store(f"{bucket_url[:5]}no-such-bucket", create=True)


def test_without_the_library_it_says_what_to_install(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(StoreError, match=r"pip install 'obstore>=0\.12"):
        Store(bucket_url)


@pytest.mark.parametrize(
    ("named", "url"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/some/store/", "s3://bucket/some/store"),
        (Path("s3://bucket/store"), "s3://bucket/store"),
        ("S3://bucket/store", "s3://bucket/store"),
        ("gs://bucket/store", "gs://bucket/store"),
        (
            "abfss://container@account.dfs.core.windows.net/store",
            "abfss://container@account.dfs.core.windows.net/store",
        ),
        ("folder", None),
        (Path("/a:/b"), None),
    ],
)
def test_a_url_is_told_from_a_folder(named: Path | str, url: str | None) -> None:
    assert url_of(named) == url
    assert whole(named) == (url or str(Path(named).absolute()))


@pytest.mark.parametrize(
    "named",
    [
        "s3://key:secret@bucket/store",
        "s3://secret@bucket",
        "az://c/store?sig=secret",
        "gs://b/s#secret",
        "abfs://c:secret@a/",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(named: str) -> None:
    with pytest.raises(StoreError, match="credentials belong into the environment") as told:
        Store(named)

    assert "secret" not in str(told.value)


def test_other_urls_are_no_stores() -> None:
    with pytest.raises(StoreError, match=r"'https://example\.org/store' cannot be a store"):
        Store("https://user:secret@example.org/store?more")


def test_what_the_server_says_of_credentials_is_not_repeated() -> None:
    body = "<Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>tester</AWSAccessKeyId>"
    told = objects._explained("s3://b", f"Error performing GET http://b?sig=x - status code: 403 Forbidden: {body}")

    assert str(told) == "s3://b refuses the credentials of this environment (403 Forbidden, SignatureDoesNotMatch)."
