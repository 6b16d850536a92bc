"""Remove whole channels and neurons that matter least: the model really gets smaller.

Channels that a residual connection ties together go together. In transformers only the inner neurons of feed-forward
blocks go; the hidden size and the attention heads stay. So do channels that a grouped convolution takes in or puts out,
unless each is a group of its own. Taken in several steps with `fine_tune` between them, channels go iteratively.

Source: Li et al., 2017, "Pruning Filters for Efficient ConvNets", https://arxiv.org/abs/1608.08710; dependencies by
Fang et al., 2023, "DepGraph: Towards Any Structural Pruning", https://arxiv.org/abs/2301.12900; `taylor` by Molchanov
et al., 2019, "Importance Estimation for Neural Network Pruning", https://arxiv.org/abs/1906.10771
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Family, Finding, operation
from cc_ray.compress.gradients import loss_changes
from cc_ray.compress.targets import SHOWN, Targeted, listed
from cc_ray.errors import NotApplicableError
from cc_ray.tasks import Split

_MIXES_CHANNELS: Final = ("ScaledDotProduct", "Bmm", "Softmax")
"""Autograd operations after which a channel is no longer one channel: attention heads."""


BATCH_SIZE: Final = 16
"""Instances of one loss of `taylor`; scores are averaged over batches."""


@operation("channel_pruning")
class ChannelPruning(Targeted):
    """Takes the same share out of every group of channels that depend on one another."""

    family: ClassVar[Family | None] = "structure"
    reads: ClassVar[tuple[Split, ...]] = ("train", "calibration")
    reshapes: ClassVar[bool] = True
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"ratio": 0.5}, {"ratio": 0.3, "importance": "taylor"})

    ratio: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Share of the channels of each group that goes, in (0, 1); at least one channel stays."""
    importance: Literal["l1", "l2", "taylor", "random"] = "l2"
    """What a channel's weights are judged by, in all layers and batch norms that it runs through: their L1 norm, their
    squared L2 norm, how much the task's loss depends on them (|w dL/dw|), or chance, the baseline to beat."""
    split: Literal["calibration", "train"] = "calibration"
    """Of `taylor`: whose instances and labels give the gradients."""
    instances: Annotated[int, Field(ge=1, le=10_000_000)] = 512
    """Of `taylor`: how many of them, at most."""

    def suit(self, model: nn.Module) -> None:
        """Make sure that there are layers, and none through which channels cannot be followed in reasonable time."""
        super().suit(model)
        tangled = [path for path, module in model.named_modules() if _is_tangled(module)]
        if tangled:
            raise NotApplicableError(
                self.name,
                f"channels cannot be followed through {listed(tangled)}: recurrent layers and rotary positions mix "
                "them in ways that the analysis of dependencies does not know; prune single weights instead.",
            )

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Find the groups of dependent channels, score all of them, then cut."""
        chosen = {target.module for target in self.targets(model, context)}
        example = context.task.data("train").inputs[:1]
        groups = [group for group in _groups(model, example, context) if _producers(group) <= chosen]
        if not groups:
            raise NotApplicableError(self.name, self._nothing_to_cut())
        worths = self._worths(model, groups, context)
        cuts = [(group, self._lowest(worth)) for group, worth in zip(groups, worths, strict=True)]
        paths = {module: path for path, module in model.named_modules()}
        context.findings.append(_account(cuts, paths))
        context.kept.update(_cut(model, cuts))
        self._check_runs(model, example, context)
        return model

    def check(self, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
        """Warn where the ratio rounds to no channel at all."""
        before, after = (sum(parameter.numel() for parameter in model.parameters()) for model in (parent, child))
        if after == before:
            yield Finding(
                "not_smaller",
                "warning",
                f"no channel was removed: a share of {self.ratio:g} rounds to none in every group; use a larger ratio.",
                expected=self.ratio,
                found=0.0,
            )

    def _worths(self, model: nn.Module, groups: list[Any], context: Context) -> list[Tensor]:
        """How much each channel of each group matters."""
        if self.importance == "random":
            generator = torch.Generator().manual_seed(context.seed)
            return [torch.rand(len(group[0].idxs), generator=generator) for group in groups]
        if self.importance != "taylor":
            return [_norms(group, 1 if self.importance == "l1" else 2) for group in groups]
        weights = list(model.parameters())
        changes = loss_changes(model, weights, context, self.split, self.instances, BATCH_SIZE)
        with _holding(weights, changes):
            return [_norms(group, 1) for group in groups]

    def _lowest(self, worth: Tensor) -> list[int]:
        """Positions of the channels that matter least; of equal ones the first."""
        count = min(round(self.ratio * len(worth)), len(worth) - 1)
        return sorted(worth.argsort(stable=True)[:count].tolist())

    def _check_runs(self, model: nn.Module, example: Tensor, context: Context) -> None:
        try:
            with torch.no_grad():
                context.task.logits(model, example)
        except RuntimeError as error:
            raise NotApplicableError(
                self.name,
                f"it does not run with fewer channels, probably because its forward holds a fixed width ({error}); "
                "exclude the layers before that place.",
            ) from error

    def _nothing_to_cut(self) -> str:
        chosen = f" among include={listed(self.include)}" if self.include else ""
        return (
            f"it has no channels that could go{chosen}; outputs, hidden sizes and attention heads always stay, and "
            "channels that layers share go only if all of these are chosen."
        )


def _is_tangled(module: nn.Module) -> bool:
    return isinstance(module, nn.RNNBase) or "Rotary" in type(module).__name__


def _groups(model: nn.Module, example: Tensor, context: Context) -> list[Any]:
    """The prunable groups of channels that only go together, each with all of its channels."""
    import torch_pruning

    graph = torch_pruning.DependencyGraph()
    with torch.enable_grad():
        graph.build_dependency(model, example, forward_fn=context.task.logits, verbose=False)
    return [group for group in graph.get_all_groups() if _is_prunable(group)]


def _is_prunable(group: Any) -> bool:
    """Whether only layers and batch norms carry the channels, and some layer takes them in."""
    from torch_pruning import ops, prune_conv_in_channels, prune_linear_in_channels

    fixed = {getattr(ops.OPTYPE, kind) for kind in ("LN", "GN", "IN", "EMBED", "PARAMETER", "MHA", "LSTM", "OUTPUT")}
    nodes = [item.dep.target for item in group]
    consumed = any(item.dep.handler in (prune_conv_in_channels, prune_linear_in_channels) for item in group)
    mixed = any(name in node.name for node in nodes for name in _MIXES_CHANNELS)
    grouped = any(node.type == ops.OPTYPE.CONV and node.module.groups > 1 for node in nodes)
    return consumed and not mixed and not grouped and not any(node.type in fixed for node in nodes)


def _producers(group: Any) -> set[nn.Module]:
    """The layers that lose output channels."""
    from torch_pruning import prune_conv_out_channels, prune_depthwise_conv_out_channels, prune_linear_out_channels

    outwards = (prune_conv_out_channels, prune_depthwise_conv_out_channels, prune_linear_out_channels)
    return {item.dep.target.module for item in group if item.dep.handler in outwards}


def _norms(group: Any, power: int) -> Tensor:
    """Sum of |w|^power of each channel, averaged over the layers and batch norms of the group."""
    from torch_pruning.pruner.importance import GroupMagnitudeImportance

    norms: Tensor = GroupMagnitudeImportance(p=power, normalizer=None)(group)
    return norms


@contextmanager
def _holding(weights: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """Let parameters hold other values while the block runs."""
    own = [weight.data for weight in weights]
    try:
        for weight, value in zip(weights, values, strict=True):
            weight.data = value
        yield
    finally:
        for weight, value in zip(weights, own, strict=True):
            weight.data = value


def _cut(model: nn.Module, cuts: list[tuple[Any, list[int]]]) -> dict[str, list[list[int]]]:
    """Remove channels.

    While they are removed every parameter holds the positions of its values: what is left tells which values those are.

    Returns:
        For each parameter that got smaller, by name, the indices along each axis that are left.
    """
    values = {name: parameter.data for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.data = torch.arange(parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
    for group, channels in cuts:
        if channels:
            group.prune(channels)
    kept = {}
    for name, parameter in model.named_parameters():
        positions, before = parameter.data.long(), values[name]
        parameter.data = before.flatten()[positions]
        if positions.shape != before.shape:
            kept[name] = [_along(positions, axis, before.shape) for axis in range(before.dim())]
    return kept


def _along(positions: Tensor, axis: int, shape: torch.Size) -> list[int]:
    line = positions.movedim(axis, 0).flatten(1)[:, 0] if positions.dim() > 1 else positions
    return [int(index) for index in torch.unravel_index(line, shape)[axis]]


def _account(cuts: list[tuple[Any, list[int]]], paths: Mapping[nn.Module, str]) -> Finding:
    widths = {paths[group[0].dep.target.module]: (len(group[0].idxs), len(channels)) for group, channels in cuts}
    total, gone = (sum(counts) for counts in zip(*widths.values(), strict=True))
    shown = [f"{path} {width} → {width - cut}" for path, (width, cut) in widths.items()][:SHOWN]
    return Finding(
        "channels_removed",
        "info",
        f"{gone} of {total} channels were removed in {len(widths)} groups of dependent layers, among them "
        f"{', '.join(shown)}.",
        found=gone / total,
    )
