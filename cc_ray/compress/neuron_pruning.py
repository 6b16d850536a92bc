"""Remove whole neurons of the feed-forward blocks of transformers: both of their linear layers get smaller.

A feed-forward block is a layer that goes to the inner width and one that comes back; in gated blocks (Llama, T5 1.1)
two layers go there and their neurons go together. `channel_pruning` does the same for whatever its graph of
dependencies sees; this one knows blocks by the names and shapes of their layers, transformers' `Conv1D` too.

Source: Molchanov et al., 2019, "Importance Estimation for Neural Network Pruning", https://arxiv.org/abs/1906.10771
(taylor); An et al., 2024, "Fluctuation-based Adaptive Structured Pruning for Large Language Models",
https://arxiv.org/abs/2312.11983 (what a neuron puts out with the norm of what reads it)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Family, Finding, Operation, operation
from cc_ray.compress.cutting import INPUTS, OUTPUTS, keep, matrix
from cc_ray.compress.gates import slopes
from cc_ray.compress.inputs import feed
from cc_ray.compress.running import check_runs
from cc_ray.compress.targets import Patterns, is_layer, listed, matches
from cc_ray.errors import NotApplicableError
from cc_ray.tasks import Split

_PAIRS: Final = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("wi_0", "wi_1"), "wo"),
    (("w1", "w3"), "w2"),
    (("up_proj",), "down_proj"),
    (("wi",), "wo"),
    (("c_fc",), "c_proj"),
    (("fc1",), "fc2"),
    (("lin1",), "lin2"),
    (("linear1",), "linear2"),
    (("intermediate.dense",), "output.dense"),
)
"""What goes to the inner width and what comes back, by the names that models give them."""


@operation("neuron_pruning")
class NeuronPruning(Operation):
    """Takes the same share of neurons out of every feed-forward block, those that matter least."""

    family: ClassVar[Family | None] = "structure"
    works_on: ClassVar[str] = "feed-forward blocks of transformers"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    reshapes: ClassVar[bool] = True
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"ratio": 0.5},
        {"ratio": 0.5, "importance": "taylor", "instances": 32},
        {"ratio": 0.25, "importance": "activation", "instances": 32},
    )

    ratio: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Share of the neurons of each block that goes, in (0, 1); at least one neuron stays."""
    importance: Literal["norm", "taylor", "activation"] = "norm"
    """Of a neuron: the L2 norm of its weights; by how much the loss changes to first order if it is shut; or the root
    mean square of what it puts out, times the norm of the weights that read it."""
    instances: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Calibration instances at most that gradients or activations are taken of."""
    include: Patterns = ()
    """Only blocks below these paths; empty: all."""
    exclude: Patterns = ()
    """Not those below these paths."""

    def suit(self, model: nn.Module) -> None:
        """Make sure that there are feed-forward blocks."""
        self._blocks(model)

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Score the neurons of all blocks, then cut."""
        blocks = self._blocks(model)
        scores = self._scores(model, blocks, context)
        told = []
        for block in blocks:
            count = min(round(self.ratio * block.width), block.width - 1)
            left = scores[block.outward].argsort(stable=True)[count:].sort().values
            for path in block.inward:
                keep(model, path, left, OUTPUTS, context)
            keep(model, block.outward, left, INPUTS, context)
            told.append((block, count))
        context.findings.append(_account(told))
        check_runs(self.name, model, context, "its forward holds a fixed inner width; exclude that block")
        return model

    def _blocks(self, model: nn.Module) -> list[_Block]:
        known = list(_known(model))
        chosen = [block for block in known if self._chosen(block.outward)]
        if not chosen:
            raise NotApplicableError(
                self.name,
                "it has no feed-forward blocks, pairs of linear layers by usual names whose shapes fit; known are "
                f"{listed(block.outward for block in known)}.",
            )
        return chosen

    def _chosen(self, path: str) -> bool:
        included = not self.include or any(matches(pattern, path) for pattern in self.include)
        return included and not any(matches(pattern, path) for pattern in self.exclude)

    def _scores(self, model: nn.Module, blocks: Sequence[_Block], context: Context) -> dict[str, Tensor]:
        if self.importance == "norm":
            return {block.outward: _norm(model, block) for block in blocks}
        if self.importance == "taylor":
            return slopes(model, {block.outward: block.width for block in blocks}, context, self.instances)
        return _activations(model, blocks, context, self.instances)


@dataclass(frozen=True)
class _Block:
    """A feed-forward block."""

    inward: tuple[str, ...]
    """Paths of the layers that go to the inner width."""
    outward: str
    """Path of the one that comes back."""
    width: int


def _known(model: nn.Module) -> Iterator[_Block]:
    for path, _ in model.named_modules():
        for inward, outward in _PAIRS:
            names = [f"{path}.{name}".lstrip(".") for name in (*inward, outward)]
            if all(_is_linear(model, name) for name in names):
                width = matrix(model, names[-1]).shape[1]
                if width > 1 and all(matrix(model, name).shape[0] == width for name in names[:-1]):
                    yield _Block(tuple(names[:-1]), names[-1], width)
                    break


def _is_linear(model: nn.Module, path: str) -> bool:
    try:
        layer = model.get_submodule(path)
    except AttributeError:
        return False
    return is_layer(layer) and isinstance(layer.weight, Tensor) and layer.weight.dim() == 2


def _norm(model: nn.Module, block: _Block) -> Tensor:
    squares = [matrix(model, path).square().sum(1) for path in block.inward]
    return torch.stack([*squares, matrix(model, block.outward).square().sum(0)]).sum(0).sqrt()


@torch.no_grad()
def _activations(model: nn.Module, blocks: Sequence[_Block], context: Context, instances: int) -> dict[str, Tensor]:
    sums = {block.outward: torch.zeros(block.width) for block in blocks}
    counts = dict.fromkeys(sums, 0)

    def hear(path: str, given: Tensor) -> None:
        inputs = given.flatten(0, -2).float()
        sums[path] += inputs.square().sum(0).cpu()
        counts[path] += len(inputs)

    feed(model, {path: model.get_submodule(path) for path in sums}, context, instances, hear)
    readers = {path: matrix(model, path).float().norm(dim=0) for path in sums}
    return {path: (total / max(counts[path], 1)).sqrt() * readers[path] for path, total in sums.items()}


def _account(told: Sequence[tuple[_Block, int]]) -> Finding:
    total, gone = sum(block.width for block, _ in told), sum(count for _, count in told)
    shown = [f"{block.outward} {block.width} → {block.width - count}" for block, count in told[:3]]
    return Finding(
        "neurons_removed",
        "info" if gone else "warning",
        f"{gone} of {total} neurons were removed in {len(told)} feed-forward blocks, among them {', '.join(shown)}.",
        expected=float(total),
        found=float(gone),
    )
