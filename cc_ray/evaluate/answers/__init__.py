"""Answers: what models say to instances, one kind a file."""

from cc_ray.evaluate.answers.base import BATCH_SIZE, Answers, answers, kind_of, kinds

__all__ = ["BATCH_SIZE", "Answers", "answers", "kind_of", "kinds"]
