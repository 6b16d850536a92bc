"""What is solved: one task family a file."""

from cc_ray.tasks.base import (
    SPLITS,
    Data,
    Split,
    Task,
    splits_used,
    task,
    task_from_json,
    tasks,
    use_threads,
)

__all__ = [
    "SPLITS",
    "Data",
    "Split",
    "Task",
    "splits_used",
    "task",
    "task_from_json",
    "tasks",
    "use_threads",
]
