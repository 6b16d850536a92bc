"""Fold batch norms into the linear layers and convolutions before them: same outputs, fewer layers.

A batch norm in evaluation mode scales and shifts channels by fixed numbers; the layer before it can do both.

Source: Jacob et al., 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", https://arxiv.org/abs/1712.05877 (section 3.2)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from cc_ray.compress.base import Context, Family, Finding, Operation, operation
from cc_ray.compress.targets import listed
from cc_ray.errors import NotApplicableError
from cc_ray.store.structure import change
from cc_ray.tasks import Split

TOLERANCE: Final = 1e-4
"""Largest difference of outputs that rounding explains, as a share of the largest output."""
INSTANCES: Final = 16


@operation("fuse_layers")
class FuseLayers(Operation):
    """Takes out every batch norm whose input is the output of one layer that nothing else reads."""

    family: ClassVar[Family | None] = "structure"
    works_on: ClassVar[str] = "batch norms behind linear layers and convolutions"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    reshapes: ClassVar[bool] = True

    def suit(self, model: nn.Module) -> None:
        """Make sure that there is a batch norm with running statistics."""
        if not _norms(model):
            raise NotApplicableError(
                self.name, "it has no batch norm with running statistics, so there is nothing to fold."
            )

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """See which layer feeds which batch norm, fold, and compare outputs."""
        norms = _norms(model)
        inputs = context.task.data("calibration").inputs[:INSTANCES]
        pairs = _pairs(model, inputs, context)
        if not pairs:
            raise NotApplicableError(
                self.name,
                f"none of its {len(norms)} batch norms directly follows a linear layer or convolution whose output "
                "nothing else reads.",
            )
        before = _outputs(model, inputs, context)
        for layer, norm in pairs.items():
            _fold(model, layer, norm)
        context.findings.append(_account(pairs, [path for path in norms if path not in pairs.values()], len(norms)))
        context.findings.append(_difference(before, _outputs(model, inputs, context)))
        return model


@dataclass
class _Seen:
    """Nodes of the graph of a pass that layers put out and batch norms took in, by path; how often each was called."""

    made: dict[str, Any] = field(default_factory=dict)
    taken: dict[str, Any] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)


def _norms(model: nn.Module) -> list[str]:
    return [path for path, module in model.named_modules() if _is_norm(module)]


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | _ConvNd) and not isinstance(module, _ConvTransposeNd)


def _pairs(model: nn.Module, inputs: Tensor, context: Context) -> dict[str, str]:
    """Paths of layers with those of the batch norms that alone read what they put out."""
    seen = _Seen()
    uses = Counter(id(held) for module in model.modules() for held in module._parameters.values() if held is not None)
    with _watched(model, seen), _differentiable(model), torch.enable_grad():
        readers = _readers(context.task.logits(model, inputs))
    found = {}
    for norm, node in seen.taken.items():
        layers = [path for path, made in seen.made.items() if made is node]
        if len(layers) == 1 and node is not None and readers[node] == 1 and seen.calls[norm] == 1:
            layer = model.get_submodule(layers[0])
            alone = all(uses[id(held)] == 1 for held in layer._parameters.values() if held is not None)
            if alone and seen.calls[layers[0]] == 1:
                found[layers[0]] = norm
    return found


@contextmanager
def _watched(model: nn.Module, seen: _Seen) -> Iterator[None]:
    with ExitStack() as hooks:
        for path, module in model.named_modules():
            if _is_layer(module):
                hooks.enter_context(module.register_forward_hook(partial(_note_made, seen, path)))
            elif _is_norm(module):
                hooks.enter_context(module.register_forward_pre_hook(partial(_note_taken, seen, path)))
        yield


def _note_made(seen: _Seen, path: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
    # Of a linear layer over positions the features are not the axis that a batch norm scales.
    fits = output.dim() == 2 if isinstance(module, nn.Linear) else True
    seen.made[path] = output.grad_fn if fits else None
    seen.calls[path] += 1


def _note_taken(seen: _Seen, path: str, module: nn.Module, inputs: Any) -> None:
    seen.taken[path] = inputs[0].grad_fn
    seen.calls[path] += 1


@contextmanager
def _differentiable(model: nn.Module) -> Iterator[None]:
    """All parameters want gradients while the block runs, so that every operation leaves a node."""
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(True)
    try:
        yield
    finally:
        for parameter, before in wanted.items():
            parameter.requires_grad_(before)


def _readers(output: Tensor) -> Counter[Any]:
    """How many operations read what each node of a graph puts out."""
    found: Counter[Any] = Counter()
    seen, waiting = {output.grad_fn}, [output.grad_fn]
    while waiting:
        node: Any = waiting.pop()
        for below, _ in node.next_functions:
            if below is not None:
                found[below] += 1
                if below not in seen:
                    seen.add(below)
                    waiting.append(below)
    return found


@torch.no_grad()
def _fold(model: nn.Module, path: str, norm_path: str) -> None:
    norm: Any = model.get_submodule(norm_path)
    layer: Any = model.get_submodule(path)
    if layer.bias is None:
        layer = change(model, "bias", path)
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    shift = 0.0 if norm.bias is None else norm.bias.double()
    by_channel = scale.view(-1, *[1] * (layer.weight.dim() - 1))
    layer.weight.copy_(layer.weight.double() * by_channel)
    layer.bias.copy_((layer.bias.double() - norm.running_mean.double()) * scale + shift)
    change(model, "identity", norm_path)


def _outputs(model: nn.Module, inputs: Tensor, context: Context) -> Tensor:
    with torch.no_grad():
        return context.task.logits(model, inputs).double()


def _account(pairs: dict[str, str], left: list[str], count: int) -> Finding:
    rest = f"; {listed(left)} stay, since no layer feeds them alone" if left else ""
    return Finding(
        "norms_folded",
        "info",
        f"{len(pairs)} of {count} batch norms were folded into the layers before them{rest}.",
        expected=float(count),
        found=float(len(pairs)),
    )


def _difference(before: Tensor, after: Tensor) -> Finding:
    found = float((after - before).abs().max())
    allowed = TOLERANCE * float(before.abs().max())
    return Finding(
        "outputs_compared",
        "info" if found <= allowed else "error",
        f"outputs for {len(before)} calibration instances differ by {found:.2g} at most, "
        f"{'within' if found <= allowed else 'beyond'} the {allowed:.2g} that rounding explains.",
        expected=allowed,
        found=found,
    )
