"""What operators do from the dashboard, done for them: see `dashboards.operating`."""

from __future__ import annotations

import os

from cc_ray.jobs import ADDRESSES
from cc_ray.operating.jobs import ServedJobs
from cc_ray.operating.local import LocalJobs
from cc_ray.operating.operator import StudyOperator
from cc_ray.store.address import whole

__all__ = ["operator"]


def operator(root: str, jobs: str = "") -> StudyOperator:
    """Make what runs studies of a store, in a process that is connected to Ray.

    Args:
        root: The store's folder or URL.
        jobs: Address of the cluster's job server, http://HEAD:8265; empty for that of Ray's environment variables, else
            jobs are processes of this machine.
    """
    named = jobs or next((url for url in map(os.environ.get, ADDRESSES) if url and url.startswith("http")), "")
    store = str(whole(root))
    return StudyOperator(store, ServedJobs(named, store) if named else LocalJobs(store))
