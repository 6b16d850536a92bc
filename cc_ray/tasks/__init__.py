"""What is solved: one task family a file."""

from cc_ray.tasks.base import (
    SPLITS,
    Data,
    Split,
    Task,
    note_use,
    splits_used,
    task,
    task_from_json,
    tasks,
    use_threads,
)
from cc_ray.tasks.device import device_name, devices_used, holding, moved, repeatable

__all__ = [
    "SPLITS",
    "Data",
    "Split",
    "Task",
    "device_name",
    "devices_used",
    "holding",
    "moved",
    "note_use",
    "repeatable",
    "splits_used",
    "task",
    "task_from_json",
    "tasks",
    "use_threads",
]
