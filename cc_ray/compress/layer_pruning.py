"""Take whole residual blocks out of a model: those that change their input least, or whose loss costs least.

Source: Men et al., 2024, "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect",
https://arxiv.org/abs/2403.03853 (block influence); one after the other by loss as in Song et al., 2024, "SLEB:
Streamlining LLMs through Redundancy Verification and Elimination of Transformer Blocks",
https://arxiv.org/abs/2402.09025
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Family, Finding, Operation, operation
from cc_ray.compress.inputs import batches, without_padding
from cc_ray.compress.running import check_runs
from cc_ray.compress.targets import NORMS, Patterns, is_layer, listed, matches, unmatched
from cc_ray.errors import NotApplicableError
from cc_ray.store.structure import change
from cc_ray.tasks import Split, moved


@operation("layer_pruning")
class LayerPruning(Operation):
    """Removes members of lists of modules that put out what they take in, in the same shape."""

    family: ClassVar[Family | None] = "structure"
    works_on: ClassVar[str] = "residual blocks in a list"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    reshapes: ClassVar[bool] = True
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"count": 1},
        {"count": 1, "choice": "loss", "instances": 32},
        {"count": 1, "choice": "last"},
    )

    count: Annotated[int, Field(ge=1, le=4096)]
    """Blocks that go."""
    choice: Literal["influence", "loss", "last"] = "influence"
    """Which: those of least influence, 1 - cosine of input and output; one after the other the block without which the
    loss is least; or the last ones."""
    instances: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Calibration instances at most that influence or loss are measured on."""
    include: Patterns = ()
    """Only blocks of these paths; empty: all."""
    exclude: Patterns = ()
    """Not blocks of these paths."""

    def suit(self, model: nn.Module) -> None:
        """Make sure that there are lists with so many blocks."""
        known = _blocks(model)
        chosen = [path for path in known if self._chosen(path)]
        if len(chosen) < self.count:
            narrowed = f" that include={listed(self.include)} and exclude={listed(self.exclude)} leave"
            among = narrowed if self.include or self.exclude else ""
            raise NotApplicableError(
                self.name,
                f"{self.count} blocks are to go, and it has {len(chosen)}{among}: a block is a member of a ModuleList "
                f"or Sequential with layers of its own, like others there; it has {listed(known)}.",
            )

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """See which blocks keep the shape, choose, and take them out."""
        known = _blocks(model)
        for pattern in (*self.include, *self.exclude):
            if not any(matches(pattern, path) for path in known):
                context.findings.append(unmatched(pattern))
        influence = self._influence(model, [path for path in known if self._chosen(path)], context)
        if len(influence) < self.count:
            raise NotApplicableError(
                self.name,
                f"{self.count} blocks are to go, but only {listed(influence)} put out what they take in, in one shape "
                "and once a pass.",
            )
        gone = self._worst(model, influence, context)
        for path in gone:
            context.findings.append(_account(path, influence[path]))
        _remove(model, gone)
        check_runs(self.name, model, context, "its forward asks for a block by its number; exclude that block")
        return model

    def _chosen(self, path: str) -> bool:
        included = not self.include or any(matches(pattern, path) for pattern in self.include)
        return included and not any(matches(pattern, path) for pattern in self.exclude)

    @torch.no_grad()
    def _influence(self, model: nn.Module, paths: Sequence[str], context: Context) -> dict[str, float]:
        """Mean of 1 - cosine over instances and real positions, of blocks that keep the shape; in the model's order."""
        heard = {path: _Heard() for path in paths}
        places: list[Tensor] = []
        with moved(model) as device, ExitStack() as hooks:
            for path, one in heard.items():
                module = model.get_submodule(path)
                hooks.enter_context(module.register_forward_hook(partial(_hear, one, places), with_kwargs=True))
            given = batches(context, self.instances)
            for batch in given:
                inputs = batch.to(device)
                places[:] = context.task.places(inputs)
                context.task.logits(model, inputs)
        fitting = {path: one for path, one in heard.items() if one.fits and one.calls == len(given)}
        return {path: one.total / one.positions for path, one in fitting.items()}

    def _worst(self, model: nn.Module, influence: Mapping[str, float], context: Context) -> list[str]:
        if self.choice == "last":
            return list(influence)[-self.count :]
        if self.choice == "influence":
            return sorted(influence, key=lambda path: influence[path])[: self.count]
        gone: list[str] = []
        while len(gone) < self.count:
            losses = {path: self._loss(model, [*gone, path], context) for path in influence if path not in gone}
            gone.append(min(losses, key=lambda path: losses[path]))
        return gone

    @torch.no_grad()
    def _loss(self, model: nn.Module, without: Sequence[str], context: Context) -> float:
        data = context.task.data("calibration")
        given = batches(context, self.instances)
        labels = data.labels[: self.instances].tensor_split(len(given))
        with _without(model, without), moved(model) as device:
            found = [
                float(context.task.loss(model, inputs.to(device), wanted.to(device))) * len(inputs)
                for inputs, wanted in zip(given, labels, strict=True)
            ]
        return sum(found) / sum(len(inputs) for inputs in given)


@dataclass
class _Heard:
    """What was heard of one block."""

    total: float = 0.0
    positions: int = 0
    calls: int = 0
    fits: bool = True


def _hear(heard: _Heard, places: Sequence[Tensor], module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
    before, after = _first_tensor((*args, *kwargs.values())), _first_tensor(output)
    heard.calls += 1
    if before is None or after is None or before.shape != after.shape or before.dtype != after.dtype:
        heard.fits = False
        return
    axis = 1 if before.dim() > 3 else -1
    first, last = (without_padding(module, each, places).float() for each in (before, after))
    alike = nn.functional.cosine_similarity(first, last, dim=axis)
    heard.total += float((1 - alike).sum())
    heard.positions += alike.numel()


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    return next((one for one in value if isinstance(one, Tensor)), None) if isinstance(value, tuple | list) else None


def _blocks(model: nn.Module) -> list[str]:
    """Paths of the innermost members of lists that have several layers, and no parameter that no other member has."""
    found = []
    for path, holder in model.named_modules():
        if isinstance(holder, nn.ModuleList | nn.Sequential):
            found += [f"{path}.{name}".lstrip(".") for name in _members(holder)]
    return [path for path in found if not any(other.startswith(f"{path}.") for other in found)]


def _members(holder: nn.Module) -> Iterator[str]:
    held = {name: {inner for inner, _ in one.named_parameters()} for name, one in holder.named_children()}
    for name, one in holder.named_children():
        others = set[str]().union(*(names for other, names in held.items() if other != name))
        layers = sum(is_layer(module) or isinstance(module, NORMS) for module in one.modules())
        if layers > 1 and held[name] <= others:
            yield name


@contextmanager
def _without(model: nn.Module, paths: Sequence[str]) -> Iterator[None]:
    """The model without some members of lists while the block runs."""
    holders = {path: model.get_submodule(path.rpartition(".")[0]) for path in paths}
    before = {id(holder): dict(holder._modules) for holder in holders.values()}
    try:
        for path, holder in holders.items():
            del holder._modules[path.rpartition(".")[2]]
        yield
    finally:
        for holder in holders.values():
            holder._modules.clear()
            holder._modules.update(before[id(holder)])


def _remove(model: nn.Module, paths: Sequence[str]) -> None:
    """Take blocks out; the places in a cache of keys and values that those after them use move up."""
    for path in paths:
        places = {place for _, place in _cached(model, path)}
        change(model, "removed", path)
        holder = path.rpartition(".")[0]
        for other, place in list(_cached(model, holder)):
            if before := sum(gone < place for gone in places):
                change(model, "numbers", other, layer_idx=place - before)


def _cached(model: nn.Module, below: str) -> Iterator[tuple[str, int]]:
    for path, module in model.get_submodule(below).named_modules(prefix=below):
        place = vars(module).get("layer_idx")
        if type(place) is int:
            yield path, place


def _account(path: str, influence: float) -> Finding:
    return Finding(
        "block_removed",
        "info",
        f"'{path}' is gone; its influence, 1 - cosine of what it took in and put out, was {influence:.4f}.",
        layer=path,
        found=influence,
    )
