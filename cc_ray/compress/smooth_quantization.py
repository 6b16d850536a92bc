"""Round weights after making those larger that meet large inputs; what stands before them puts out less in turn.

A factor for each channel moves from a norm or a linear layer into the linear layers that it feeds. Before the rounding
the model answers as it did; where it does not, since channels go elsewhere too or are bent on the way, the factors
are taken back. How far they go is what rounds best, given the mean squares of the inputs.

Source: Lin et al., 2024, "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration",
https://arxiv.org/abs/2306.00978; after Xiao et al., 2023, "SmoothQuant", https://arxiv.org/abs/2211.10438
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Finding, operation
from cc_ray.compress.inputs import batches, squared_inputs
from cc_ray.compress.rounding import Rounding, grid_of
from cc_ray.compress.targets import Target
from cc_ray.tasks import Split, moved

POWERS: Final = tuple(step / 10 for step in range(11))
"""How strongly factors follow the inputs: not at all, up to in proportion."""
TOLERANCE: Final = 1e-3
"""By how much answers may change before the rounding, relative to their norm."""


@dataclass(frozen=True)
class Pair:
    """What puts out channels, and the layers that take them."""

    source: nn.Module
    layers: tuple[Target, ...]


@operation("smooth_quantization")
class SmoothQuantization(Rounding):
    """Rounds to the nearest of 2^bits evenly spaced values, the weights that matter on relatively finer ones."""

    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"bits": 4, "instances": 16},
        {"bits": 3, "granularity": "group", "group_size": 8, "instances": 16},
    )

    instances: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """How many calibration instances at most are looked at."""

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Move the factors that help, then round."""
        targets = self.targets(model, context)
        linear = [target for target in targets if type(target.module) is nn.Linear and target.attribute == "weight"]
        squares = squared_inputs(model, linear, context, self.instances)
        moved_to = [self._move(pair, squares, model, context) for pair in _pairs(model, linear, context)]
        context.findings.append(_account(sum(moved_to), len(targets)))
        for target in targets:
            self.round(target)
        return model

    @torch.no_grad()
    def _move(self, pair: Pair, squares: Mapping[str, Tensor], model: nn.Module, context: Context) -> int:
        """Move the factors of one pair; tells how many layers took them."""
        mean = torch.stack([squares[layer.path][0] for layer in pair.layers]).mean(0)
        factors = min((_factors(mean, power) for power in POWERS), key=lambda each: self._error(pair, each, mean))
        if bool((factors == 1).all()):
            return 0
        before = _answers(model, context)
        held = [(each, each.detach().clone()) for each in _touched(pair)]
        for tensor in (pair.source.weight, pair.source.bias if hasattr(pair.source, "bias") else None):
            if isinstance(tensor, Tensor):
                tensor.div_(factors.view(-1, *[1] * (tensor.dim() - 1)))
        for layer in pair.layers:
            layer.tensor.mul_(factors)
        if (_answers(model, context) - before).norm() <= TOLERANCE * before.norm():
            return len(pair.layers)
        for tensor, values in held:
            tensor.copy_(values)
        return 0

    def _error(self, pair: Pair, factors: Tensor, mean: Tensor) -> float:
        """What rounding does to the outputs, if errors of different inputs are independent."""
        total = 0.0
        for layer in pair.layers:
            scaled = layer.tensor.detach() * factors
            rounded = grid_of(scaled, self.counts(layer), self.bits, symmetric=self.symmetric).rounded(scaled)
            total += float((((rounded - scaled) / factors).square() * mean).sum())
        return total


def _factors(mean: Tensor, power: float) -> Tensor:
    """Factors that grow with the root mean square of the inputs, (columns,), 1 in the middle."""
    sizes = mean.sqrt().clamp_min(1e-4 * float(mean.max().sqrt())).clamp_min(torch.finfo(mean.dtype).tiny)
    factors = sizes.pow(power)
    return factors / (factors.max() * factors.min()).sqrt()


def _touched(pair: Pair) -> list[Tensor]:
    return [*pair.source.parameters(recurse=False), *(layer.tensor for layer in pair.layers)]


def _pairs(model: nn.Module, targets: Sequence[Target], context: Context) -> list[Pair]:
    """What may feed layers: a norm whose output they take, or the last layer before that puts out as much."""
    by_module = {target.module: target for target in targets}
    put_out: list[tuple[nn.Module, Tensor]] = []
    feeds: dict[nn.Module, list[Target]] = {}

    def before(module: nn.Module, given: tuple[Any, ...]) -> None:
        if module not in by_module or not given or any(by_module[module] in each for each in feeds.values()):
            return
        source = next((each for each, output in reversed(put_out) if output is given[0]), None)
        if source is None:
            width = given[0].shape[-1]
            layers = [each for each, _ in reversed(put_out) if isinstance(each, nn.Linear)]
            source = next((each for each in layers if each.out_features == width), None)
        if source is not None:
            feeds.setdefault(source, []).append(by_module[module])

    def after(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        put_out.append((module, output))

    sources = [module for module in model.modules() if _is_norm(module) or type(module) is nn.Linear]
    hooks = [module.register_forward_pre_hook(before) for module in by_module]
    hooks += [module.register_forward_hook(after) for module in sources]
    try:
        _answers(model, context)
    finally:
        for hook in hooks:
            hook.remove()
    return [Pair(source, tuple(layers)) for source, layers in feeds.items()]


def _is_norm(module: nn.Module) -> bool:
    """Whether it is a norm over the last axis: told by its name, since each family of models has a class of its own."""
    weight = module._parameters.get("weight")
    return weight is not None and weight.dim() == 1 and "norm" in type(module).__name__.lower()


@torch.no_grad()
def _answers(model: nn.Module, context: Context) -> Tensor:
    """What the model says of a few calibration instances."""
    (batch,) = batches(context, 8, 8)
    with moved(model) as device:
        return context.task.logits(model, batch.to(device)).float().cpu()


def _account(found: int, total: int) -> Finding:
    return Finding(
        "factors_moved",
        "info" if found else "warning",
        f"{found} of {total} layers took over factors from what stands before them; the others were rounded as by "
        "uniform_quantization.",
        expected=float(total),
        found=float(found),
    )
