import pytest

from cc_ray.wording import format_change, format_interval, format_value, label_with_unit


@pytest.mark.parametrize(
    ("value", "kind", "written"),
    [
        (0.97661, "percent", "97.7 %"),
        (0, "bytes", "0 B"),
        (999, "bytes", "999 B"),
        (46_123, "bytes", "46.1 kB"),
        (999_999, "bytes", "1.00 MB"),
        (123_456_789, "count", "123 M"),
        (0.4567, "ms", "0.457 ms"),
        (12_345.6, "ms", "12,346 ms"),
        (8.25, "bits", "8.25 bits"),
        (3.14159, "number", "3.14"),
        (-0.012, "percent", "−1.2 %"),
        (None, "percent", "–"),
        (float("nan"), "ms", "–"),
    ],
)
def test_a_value_is_written_short_and_with_its_unit(value: float | None, kind: str, written: str) -> None:
    assert format_value(value, kind) == written


def test_percentages_differ_in_points() -> None:
    assert format_change(-0.0123, "percent") == "−1.2 points"
    assert format_change(0.0, "percent") == "±0.0 points"
    assert format_change(-0.0001, "percent") == "±0.0 points"
    assert format_change(1500, "bytes") == "+1.50 kB"


def test_a_label_tells_the_unit_that_its_numbers_do_not() -> None:
    assert label_with_unit("Batch latency", "s", "number") == "Batch latency (s)"
    assert label_with_unit("Throughput", "instances/s", "count") == "Throughput (instances/s)"
    assert label_with_unit("Size", "bytes", "bytes") == "Size"
    assert label_with_unit("Speed-up", "", "number") == "Speed-up"


def test_an_interval_names_its_unit_once_where_it_can() -> None:
    assert format_interval(0.95, 0.973, "percent") == "95.0 to 97.3 %"
    assert format_interval(900, 1100, "bytes") == "900 B to 1.10 kB"
    assert format_interval(None, 1.0, "ms") == ""
