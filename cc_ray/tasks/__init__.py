"""What is solved: one task family a file."""

from cc_ray.tasks.base import Data, Split, Task, one_thread, task, task_from_json, tasks

__all__ = ["Data", "Split", "Task", "one_thread", "task", "task_from_json", "tasks"]
