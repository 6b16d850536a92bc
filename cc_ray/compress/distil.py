"""Train the model to answer as an earlier model of its recipe does; weights that are zero stay zero.

Source: Hinton, Vinyals and Dean, 2015, "Distilling the Knowledge in a Neural Network",
https://arxiv.org/abs/1503.02531; hidden states after Romero et al., 2015, "FitNets: Hints for Thin Deep Nets",
https://arxiv.org/abs/1412.6550
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated, Any, ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Finding, operation
from cc_ray.compress.further_training import FurtherTraining
from cc_ray.compress.targets import Patterns, listed, unmatched
from cc_ray.errors import NotApplicableError
from cc_ray.tasks import moved

_IGNORED: Final = -100
"""Label of positions that take no part in a loss, as torch's cross entropy has it."""
Outputs = dict[str, Tensor]
"""What modules put out, by path."""


@operation("distil")
class Distil(FurtherTraining):
    """The loss is a mixture of the task's own and of the divergence from the teacher's softened answers."""

    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"epochs": 1, "learning_rate": 0.01},
        {"epochs": 1, "temperature": 1.0, "soft_share": 1.0, "hidden": ["*"]},
    )

    teacher: Annotated[int, Field(ge=0)] = 0
    """Whose answers: 0 is the base model, k the model after k steps of the same recipe."""
    temperature: Annotated[float, Field(gt=0.0, le=100.0)] = 4.0
    """What the scores of both are divided by before the softmax: the higher, the more the small ones count."""
    soft_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.9
    """Share of the divergence from the teacher in the loss, in [0, 1]; the rest is the task's own loss."""
    hidden: Patterns = ()
    """Modules whose outputs are to come close to the teacher's too, where shapes agree; a path or pattern of a path."""
    hidden_weight: Annotated[float, Field(gt=0.0)] = 1.0
    """Weight of the mean squared error of these, each in units of the teacher's mean square."""

    def ancestors(self) -> tuple[int, ...]:
        """The teacher."""
        return (self.teacher,)

    def suit(self, model: nn.Module) -> None:
        """Make sure that the patterns of hidden outputs name modules."""
        if self.hidden and not self._named(model):
            paths = [path for path, _ in model.named_modules() if path]
            raise NotApplicableError(
                self.name, f"hidden={listed(self.hidden)} matches no module. Its modules are {listed(paths)}."
            )

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Train against a teacher that stands still."""
        teacher = context.ancestor(self.teacher).requires_grad_(False).eval()
        context.teachers.append(self.teacher)
        paths = self._comparable(model, teacher, context)
        with (
            moved(teacher),
            _outputs_kept(teacher, paths) as theirs,
            _outputs_kept(model, paths) as ours,
        ):

            def loss(student: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
                with torch.no_grad():
                    wanted = context.task.logits(teacher, inputs).float()
                once = _Once(student)
                found = context.task.logits(once, inputs).float()
                missed = self.soft_share * self._divergence(found, wanted, labels)
                if self.soft_share < 1:
                    missed = missed + (1 - self.soft_share) * context.task.loss(once, inputs, labels)
                return missed + self._distance(ours, theirs)

            return self.trained(model, context, loss)

    def _divergence(self, found: Tensor, wanted: Tensor, labels: Tensor) -> Tensor:
        """KL(teacher || student) of the softened answers, times the square of the temperature, a scalar.

        Args:
            found: Scores of the student, (n, ..., classes).
            wanted: Scores of the teacher, likewise.
            labels: Where there is one to each answer, those that cross entropy ignores are left out.
        """
        ours, theirs = ((scores / self.temperature).log_softmax(-1) for scores in (found, wanted))
        each = nn.functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(-1)
        if labels.shape == each.shape:
            counted = labels != _IGNORED
            mean = (each * counted).sum() / counted.sum().clamp_min(1)
        else:
            mean = each.mean()
        return mean * self.temperature**2

    def _distance(self, ours: Outputs, theirs: Outputs) -> Tensor | float:
        """Mean squared error of hidden outputs in units of the teacher's mean square, over the modules."""
        if not theirs:
            return 0.0
        errors = [
            nn.functional.mse_loss(ours[path].float(), wanted.float()) / wanted.float().square().mean().clamp_min(1e-12)
            for path, wanted in theirs.items()
        ]
        return self.hidden_weight * torch.stack(errors).mean()

    def _comparable(self, model: nn.Module, teacher: nn.Module, context: Context) -> list[str]:
        """Paths of the chosen modules whose outputs agree in shape."""
        named = self._named(model)
        context.findings.extend(
            unmatched(pattern) for pattern in self.hidden if not any(fnmatchcase(path, pattern) for path in named)
        )
        there = {path for path, _ in teacher.named_modules()}
        named = [path for path in named if path in there]
        if not named:
            return []
        example = context.task.data("train").inputs[:2]
        with torch.no_grad(), _outputs_kept(model, named) as ours, _outputs_kept(teacher, named) as theirs:
            for each in (model, teacher):
                context.task.logits(each, example)
            shapes = [{path: tensor.shape for path, tensor in kept.items()} for kept in (ours, theirs)]
        found = [path for path in named if path in shapes[0] and shapes[0][path] == shapes[1].get(path)]
        if len(found) < len(named):
            left = [path for path in named if path not in found]
            context.findings.append(
                Finding(
                    "hidden_not_compared",
                    "info",
                    f"outputs of {len(left)} modules are not compared, because their shapes differ from the teacher's "
                    f"or they are no tensors: {listed(left)}.",
                    found=float(len(left)),
                )
            )
        return found

    def _named(self, model: nn.Module) -> list[str]:
        paths = (path for path, _ in model.named_modules() if path)
        return [path for path in paths if any(fnmatchcase(path, pattern) for pattern in self.hidden)]


class _Once(nn.Module):
    """A model that runs once, however often it is called: loss and scores of a batch come from the same pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._said: Any = None

    def forward(self, *given: Any, **named: Any) -> Any:
        if self._said is None:
            self._said = self.model(*given, **named)
        return self._said

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)


@contextmanager
def _outputs_kept(model: nn.Module, paths: list[str]) -> Iterator[Outputs]:
    """Keep what modules put out when they were last called, while the block runs; tensors alone."""
    kept: Outputs = {}
    with ExitStack() as hooks:
        for path in paths:
            hooks.enter_context(model.get_submodule(path).register_forward_hook(partial(_keep, kept, path)))
        yield kept


def _keep(kept: Outputs, path: str, module: nn.Module, given: Any, output: Any) -> None:
    first = output[0] if isinstance(output, tuple) and output else output
    if isinstance(first, Tensor) and first.is_floating_point():
        kept[path] = first
