"""SQL of people who are not trusted: one worker process per query, bounded in all that it can take.

DuckDB alone does not bound a query: its memory limit leaves functions out, and an interrupt may take many seconds. So
each query has a process of its own, whose address space, processor time and files the kernel limits, and which is
killed when its time is up.
"""

from cc_ray.views.isolated.request import Limits, Request
from cc_ray.views.isolated.workers import Answer, Workers, ask

__all__ = ["Answer", "Limits", "Request", "Workers", "ask"]
