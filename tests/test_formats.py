import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cc_ray.errors import QueryError
from cc_ray.formats import FORMATS, encode, rows
from cc_ray.terminal.tables import Format, write

ODD = pa.table(
    {
        "number": pa.array([1.5, float("nan")]),
        "bytes": pa.array([b"x\x00", None]),
        "decimal": pa.array([Decimal("2.00"), Decimal("2.50")]),
        "time": pa.array([datetime(2026, 1, 2, tzinfo=UTC), None], pa.timestamp("us", tz="UTC")),
        "day": pa.array([date(2026, 1, 2), None]),
        "span": pa.array([timedelta(seconds=1), None]),
        "nested": pa.array([[{"a": [float("inf")]}], []]),
        "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        "text": pa.array(['Ünï→"c,o"\n', ""]),
    }
)
FIRST = {
    "number": 1.5,
    "bytes": "eAA=",
    "decimal": 2,
    "time": "2026-01-02T00:00:00+00:00",
    "day": "2026-01-02",
    "span": "0:00:01",
    "nested": [{"a": [None]}],
    "map": [["k", 1]],
    "text": 'Ünï→"c,o"\n',
}


def test_json_holds_what_json_has_no_word_for() -> None:
    found = json.loads(encode(ODD, "json"))

    assert found[0] == FIRST
    assert found[1]["number"] is None
    assert found == rows(ODD)


def test_csv_holds_lists_as_json_and_nothing_as_nothing() -> None:
    lines = encode(ODD, "csv").decode().splitlines()

    assert lines[0] == ",".join(ODD.column_names)
    assert '"[{""a"": [null]}]"' in lines[1]
    assert lines[-1] == ",,2.5,,,,[],[],"


def test_columns_of_one_name_are_told_apart_in_every_format() -> None:
    twice = pa.table([[1], [2], [3]], names=["a", "a", "a_1"])
    names = ["a", "a_1", "a_1_1"]

    assert list(json.loads(encode(twice, "json"))[0]) == names
    assert encode(twice, "csv").decode().splitlines()[0].split(",") == names
    assert parquet.read_table(io.BytesIO(encode(twice, "parquet"))).column_names == names
    assert pa.ipc.open_stream(encode(twice, "arrow")).read_all().column_names == names


def test_arrow_and_parquet_keep_types() -> None:
    kept = ODD.drop_columns(["span"])

    assert pa.ipc.open_stream(encode(ODD, "arrow")).read_all().schema == ODD.schema
    assert parquet.read_table(io.BytesIO(encode(kept, "parquet")))["nested"].type == ODD["nested"].type


def test_what_a_format_cannot_hold_is_refused() -> None:
    interval = pa.table({"i": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})

    with pytest.raises(QueryError, match=r"parquet cannot hold this answer.*choose json"):
        encode(interval, "parquet")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_command_line_writes_the_same(kind: str, tmp_path: Path) -> None:
    write(ODD, Format(kind), tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == encode(ODD, kind)
