import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from cc_ray.views.database import Rows, connect


def test_what_does_not_fit_into_memory_is_not_left_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    connection = connect(Rows({}, only=frozenset()), {"memory_limit": "20MB", "threads": 1})
    connection.register("numbers", pa.table({"n": pa.array(range(2_000_000))}))

    found = connection.execute(
        "SELECT count(*) FROM (SELECT n, count(*) FROM numbers GROUP BY n ORDER BY n)"
    ).fetchone()

    assert found == (2_000_000,)
    assert not list(tmp_path.iterdir())
    folder = connection.execute("SELECT current_setting('temp_directory')").fetchone()
    assert folder and folder[0].startswith(tempfile.gettempdir())
