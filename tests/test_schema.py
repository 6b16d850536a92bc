import pytest

from cc_ray.schema import BATCHES, TABLES, Table


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_column_says_what_it_means(table: Table) -> None:
    for field in table.schema:
        assert field.metadata[b"meaning"], f"{table.name}.{field.name}"
    assert table.grain
    assert set(table.sort_by) <= set(table.schema.names)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_unit_stands_in_the_name(table: Table) -> None:
    endings = {"s": "_s", "dB": "_db", "ms": "_ms", "bytes": "_bytes", "bits": "_bits"}

    for column in table.columns:
        if column.unit in endings:
            assert column.name.endswith(endings[column.unit]), f"{table.name}.{column.name}"


def test_every_table_is_written_by_some_batch() -> None:
    assert {table.name for tables in BATCHES.values() for table in tables} == set(TABLES)
