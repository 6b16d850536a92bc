"""The dashboard without Ray, where found slices, CKA and the growth of hypervolumes take days.

`python -m tests.dashboards.slow_server PORT STORE OTHER`: OTHER is a second store, which has the name `other`.
"""

import sys
from typing import Any

import uvicorn

from cc_ray import compare
from cc_ray.serve import Settings, build_app
from cc_ray.views import Views
from tests.test_stopping import SLOW


def days(views: Views, *_: Any, **__: Any) -> Any:
    """An answer that nobody waits for."""
    return views.sql(SLOW)


if __name__ == "__main__":
    port, root, other = sys.argv[1:]
    for name in ("worst_slices", "layer_similarity", "hypervolume_history"):
        setattr(compare, name, days)
    uvicorn.run(build_app(root, Settings(stores={"other": other})), port=int(port), log_level="warning")
