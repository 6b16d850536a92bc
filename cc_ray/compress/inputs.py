"""What layers are fed with: second moments of their inputs over instances of the calibration split.

A layer is seen as y = W x for every position: the columns of W are those of `weight_matrix`, x is the vector of inputs
that they meet. Operations that weigh an error of W by what it does to y need sums over x x^T, or over x^2 alone.
Positions that are padding, by `Task.places`, do not count: of linear layers, and of convolutions of one axis, whose
places lie along the last one. Of two axes nobody says which is that of places, if any: there all counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from cc_ray.compress.base import Context, Finding
from cc_ray.compress.targets import Target, listed
from cc_ray.store.structure import is_transposed_linear
from cc_ray.tasks import moved

BATCH_SIZE: Final = 64

Seen = Callable[[nn.Module, Tensor, Sequence[Tensor]], Tensor]
"""What is looked at of a module, its first input and the places that are real."""
Moments = dict[str, Tensor]
"""By path of a layer, in float32 on the CPU: (groups, columns, columns), or (groups, columns) of the squares alone."""


def has_inputs(target: Target) -> bool:
    """Whether `weight_matrix` and the moments know the kind of layer: linear, or a convolution of one or two axes."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    return target.attribute == "weight" and (isinstance(target.module, kinds) or is_transposed_linear(target.module))


def weight_matrix(target: Target) -> Tensor:
    """The weight as (groups, rows, columns): rows put out, columns take in; a view, or of a transposed layer too."""
    weight = target.tensor
    if is_transposed_linear(target.module):
        return weight.T[None]
    groups = target.module.groups if isinstance(target.module, nn.Conv1d | nn.Conv2d) else 1
    return weight.view(groups, weight.shape[0] // groups, -1)


def like_weight(target: Target, matrix: Tensor) -> Tensor:
    """A matrix as `weight_matrix` makes it, in the shape of the weight again."""
    return matrix[0].T if is_transposed_linear(target.module) else matrix.view(target.tensor.shape)


def in_order_of_use(model: nn.Module, targets: Sequence[Target], context: Context) -> list[Target]:
    """The targets as the model calls their modules on the first calibration instance; those never called come last."""
    called: dict[str, int] = {}

    def hear(path: str, inputs: Any) -> None:
        called.setdefault(path, len(called))

    with moved(model) as device, torch.no_grad(), fed({target.path: target.module for target in targets}, hear):
        for batch in batches(context, 1):
            context.task.logits(model, batch.to(device))
    return sorted(targets, key=lambda target: called.get(target.path, len(called)))


def unreached(targets: Sequence[Target], reached: Collection[str]) -> Iterator[Finding]:
    """What to say of layers that no calibration instance came to: operations then take their inputs for alike.

    Args:
        targets: All that were to be reached.
        reached: Paths of those that were, such as the moments have them.
    """
    missed = [target.path for target in targets if target.path not in reached]
    if missed:
        yield Finding(
            "layers_unreached",
            "warning",
            f"{len(missed)} layers were never called with calibration instances ({listed(missed)}): their weights were "
            "judged by magnitude alone.",
            found=float(len(missed)),
        )


def squared_inputs(model: nn.Module, targets: Sequence[Target], context: Context, instances: int) -> Moments:
    """Mean of x^2 of each column, (groups, columns), over the first calibration instances.

    Args:
        model: Runs as it is, on the step's device.
        targets: Of kinds that `has_inputs` knows.
        context: Gives task and data.
        instances: How many at most.
    """
    return _moments(model, targets, context, instances, _squares)


def input_moments(model: nn.Module, targets: Sequence[Target], context: Context, instances: int) -> Moments:
    """Mean of x x^T, (groups, columns, columns), over the first calibration instances; takes what the other takes."""
    return _moments(model, targets, context, instances, _products)


def inverse_factor(moments: Tensor, damping: float) -> Tensor:
    """The upper triangular factor of the inverse of second moments, both (groups, columns, columns).

    Args:
        moments: As `input_moments` gives them; left as they are.
        damping: What is added to the diagonal first, as a share of its mean; a column that is never fed gets one more.
    """
    damped = moments.to(torch.float64, copy=True)
    diagonal = damped.diagonal(dim1=1, dim2=2)
    diagonal += damping * diagonal.mean(1, keepdim=True) + (diagonal == 0)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True).float()
    return factor


@contextmanager
def fed(modules: Mapping[str, nn.Module], heard: Callable[[str, Any], None]) -> Iterator[None]:
    """Hear the first input of each module, by its name, whenever it is called while the block runs."""
    with ExitStack() as hooks:
        for path, module in modules.items():
            hooks.enter_context(module.register_forward_pre_hook(partial(_hear, heard, path)))
        yield


def feed(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    context: Context,
    instances: int,
    heard: Callable[[str, Tensor], None],
    seen: Seen | None = None,
) -> None:
    """Let the model answer calibration instances, and hear what each module takes in, without what is padding.

    Args:
        model: Runs as it is, on the step's device.
        modules: Those that are heard, by the name that they are told by.
        context: Gives task and data.
        instances: How many at most.
        heard: Takes a name and what was seen of the first input, detached.
        seen: Makes that of a module, its first input (n, ...), and places; `without_padding` if left out.
    """
    look = seen or without_padding
    with moved(model) as device, torch.no_grad():
        for batch in batches(context, instances):
            inputs = batch.to(device)
            places = context.task.places(inputs)

            def hear(path: str, given: Tensor, places: Sequence[Tensor] = places) -> None:
                heard(path, look(modules[path], given.detach(), places))

            with fed(modules, hear):
                context.task.logits(model, inputs)


def without_padding(module: nn.Module, values: Tensor, places: Sequence[Tensor]) -> Tensor:
    """What a module takes in or puts out at real places, (places, width); all of it where it does not go by places.

    Args:
        module: Convolutions of two axes and more keep all.
        values: (n, length, width), or (n * length, width); of a convolution of one axis (n, width, length).
        places: As `Task.places` gives them. Of those of one length, which cannot be told apart, a place is real that is
            so in any.
    """
    if isinstance(module, nn.Conv1d):
        real = _along_last_axis(values, places)
        return values if real is None else values.movedim(1, -1)[real]
    fitting = [each for each in places if values.shape[:-1] in (each.shape, (each.numel(),))]
    if isinstance(module, _ConvNd) or not fitting:
        return values
    return values.flatten(0, -2)[torch.stack(fitting).any(0).flatten()]


def _along_last_axis(values: Tensor, places: Sequence[Tensor]) -> Tensor | None:
    """Which places of (n, width, length) are real, (n, length); None where no sequence has that length."""
    fitting = [each for each in places if values.dim() == 3 and each.shape == (len(values), values.shape[-1])]
    return torch.stack(fitting).any(0) if fitting else None


def batches(context: Context, instances: int, size: int = BATCH_SIZE) -> tuple[Tensor, ...]:
    """Inputs of the first calibration instances, in batches of nearly equal size."""
    inputs = context.task.data("calibration").inputs[:instances]
    return inputs.tensor_split(-(-len(inputs) // size))


def _moments(
    model: nn.Module,
    targets: Sequence[Target],
    context: Context,
    instances: int,
    summed: Callable[[Tensor], Tensor],
) -> Moments:
    modules = {target.path: target.module for target in targets}
    sums: Moments = {}
    counts = dict.fromkeys(modules, 0)

    def hear(path: str, seen: Tensor) -> None:
        columns = seen.float()
        found = summed(columns).cpu()
        sums[path] = sums[path] + found if path in sums else found
        counts[path] += columns.shape[-1]

    feed(model, modules, context, instances, hear, _columns)
    return {path: total / counts[path] for path, total in sums.items()}


def _hear(heard: Callable[[str, Any], None], path: str, module: nn.Module, given: tuple[Any, ...]) -> None:
    if given:
        heard(path, given[0])


def _squares(columns: Tensor) -> Tensor:
    return columns.square().sum(-1)


def _products(columns: Tensor) -> Tensor:
    return columns @ columns.mT


def _columns(module: nn.Module, inputs: Tensor, places: Sequence[Tensor]) -> Tensor:
    """The vectors that the columns of the weight meet at real places, (groups, columns, positions)."""
    if not isinstance(module, nn.Conv1d | nn.Conv2d):
        return without_padding(module, inputs, places).reshape(-1, inputs.shape[-1]).T[None]
    # What is said of one axis is said of two, of which the first has length 1.
    flat = isinstance(module, nn.Conv1d)
    kernel, stride, dilation = (_pair(each) for each in (module.kernel_size, module.stride, module.dilation))
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = nn.functional.pad(inputs, module._reversed_padding_repeated_twice, mode=mode)
    padded = padded[:, :, None] if flat else padded
    unfolded = nn.functional.unfold(padded, kernel, dilation, 0, stride)
    count, _, positions = unfolded.shape
    columns = unfolded.view(count, module.groups, -1, positions).permute(1, 2, 0, 3).flatten(2)
    real = _along_last_axis(inputs, places) if flat else None
    return columns if real is None else columns[..., _windows(module, real, positions).flatten()]


def _windows(module: nn.Conv1d | nn.Conv2d, real: Tensor, positions: int) -> Tensor:
    """Which windows of a convolution of one axis have their middle at a real place, (n, positions)."""
    (kernel,), (stride,), (dilation,) = module.kernel_size, module.stride, module.dilation
    before, _ = module._reversed_padding_repeated_twice
    middles = torch.arange(positions, device=real.device) * stride - before + dilation * (kernel - 1) // 2
    return real[:, middles.clamp(0, real.shape[1] - 1)]


def _pair(lengths: tuple[int, ...]) -> tuple[int, int]:
    return (1, lengths[0]) if len(lengths) == 1 else (lengths[0], lengths[1])
