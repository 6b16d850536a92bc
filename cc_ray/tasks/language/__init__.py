"""What the task families of language share: documents, tokenizers, and a task whose inputs are tokens."""

from cc_ray.tasks.language.family import Held, LanguageTask, mean_loss
from cc_ray.tasks.language.pieces import Pieces, Subwords

__all__ = ["Held", "LanguageTask", "Pieces", "Subwords", "mean_loss"]
