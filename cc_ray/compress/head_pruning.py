"""Remove whole attention heads: the projections of queries, keys, values and outputs get smaller.

Where several query heads share keys and values they go together. Positions of the heads left keep their order. In T5
the first block of a stack makes position biases, a number for each head, that all blocks of the stack add: these lose
the same heads, the first block's biases included.

Source: Michel, Levy and Neubig, 2019, "Are Sixteen Heads Really Better than One?", https://arxiv.org/abs/1905.10650
(importance by the gradient of a gate on each head)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Family, Finding, Operation, operation
from cc_ray.compress.cutting import INPUTS, OUTPUTS, keep, matrix
from cc_ray.compress.gates import slopes
from cc_ray.compress.running import check_runs
from cc_ray.compress.targets import Patterns, is_layer, listed, matches
from cc_ray.errors import NotApplicableError
from cc_ray.store.structure import change
from cc_ray.tasks import Split

_QUERIES: Final = ("q_proj", "query", "q", "q_lin", "q_attn")
_KEYS: Final = ("k_proj", "key", "k", "k_lin")
_VALUES: Final = ("v_proj", "value", "v", "v_lin")
_FUSED: Final = ("c_attn", "qkv")
_OUTPUTS: Final = ("o_proj", "out_proj", "o", "out_lin", "c_proj", "proj")
_BIASES: Final = "relative_attention_bias"
_HEADS: Final = ("num_attention_heads", "num_heads", "n_heads")
_SIZES: Final = ("head_dim", "attention_head_size", "key_value_proj_dim")
_WIDTHS: Final = ("all_head_size", "inner_dim", "split_size")
"""Widths of all heads together, by the names that attention modules give them."""


@operation("head_pruning")
class HeadPruning(Operation):
    """Takes the same share of heads out of every attention module, those that matter least."""

    family: ClassVar[Family | None] = "structure"
    works_on: ClassVar[str] = "attention of transformers"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    reshapes: ClassVar[bool] = True
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"ratio": 0.5},
        {"ratio": 0.5, "importance": "taylor", "instances": 32},
    )

    ratio: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Share of the heads of each attention module that goes, in (0, 1); at least one head stays."""
    importance: Literal["norm", "taylor"] = "norm"
    """Of a head: the L2 norm of its weights, or by how much the loss changes to first order if it is shut; of heads
    that go together in all blocks (T5), the sum."""
    instances: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Calibration instances at most that gradients are taken of."""
    include: Patterns = ()
    """Only attention modules of these paths; empty: all."""
    exclude: Patterns = ()
    """Not those of these paths."""

    def suit(self, model: nn.Module) -> None:
        """Make sure that there are attention modules whose heads are known."""
        self._attentions(model)

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Score the heads of all attention modules, then cut."""
        found = self._attentions(model)
        scores = self._scores(model, found, context)
        gone: dict[str, list[int]] = {}
        for together in _together(found):
            groups = together[0].groups
            count = min(round(self.ratio * groups), groups - 1)
            total = torch.stack([scores[one.path] for one in together]).sum(0)
            lowest = sorted(total.argsort(stable=True)[:count].tolist())
            gone |= {one.path: lowest for one in together}
            for one in together if count else ():
                _cut(model, one, lowest, context)
        context.findings.append(_account(found, gone))
        check_runs(self.name, model, context, "its forward holds a fixed number of heads; exclude that attention")
        return model

    def _scores(self, model: nn.Module, found: Sequence[_Attention], context: Context) -> dict[str, Tensor]:
        if self.importance == "norm":
            return _norms(found)
        measured = slopes(model, {one.outward: one.groups for one in found}, context, self.instances)
        return {one.path: measured[one.outward] for one in found}

    def _attentions(self, model: nn.Module) -> list[_Attention]:
        known = list(_known(model))
        chosen = [each for each in known if self._chosen(each.path) and each.groups > 1]
        if not chosen:
            raise NotApplicableError(
                self.name,
                "it has no attention modules with several heads of a size that they name, and with projections of "
                f"queries, keys, values and outputs by usual names; known are {listed(a.path for a in known)}.",
            )
        for together in _together(known):
            left = [one.path for one in together if one not in chosen]
            if 0 < len(left) < len(together):
                raise NotApplicableError(
                    self.name,
                    f"the heads of {listed(one.path for one in together)} share position biases and go together, but "
                    f"include and exclude leave {listed(left)} out: choose all of them or none.",
                )
        return chosen

    def _chosen(self, path: str) -> bool:
        included = not self.include or any(matches(pattern, path) for pattern in self.include)
        return included and not any(matches(pattern, path) for pattern in self.exclude)


@dataclass(frozen=True)
class _Attention:
    """An attention module: where its projections are, and how its heads lie in them."""

    path: str
    module: nn.Module
    inward: tuple[str, ...]
    """Paths of the projections of queries, keys and values, in this order; one alone holds all three."""
    outward: str
    """Path of the projection of what the heads give."""
    size: int
    """Width of a head."""
    shared: int
    """Query heads that share keys and values."""
    groups: int
    """Heads of keys and values."""


def _known(model: nn.Module) -> Iterator[_Attention]:
    for path, module in model.named_modules():
        children = {name for name, child in module.named_children() if is_layer(child)}
        names = [_first(children, wanted) for wanted in (_QUERIES, _KEYS, _VALUES)]
        fused = _first(children, _FUSED)
        inward = tuple(f"{path}.{name}" for name in ((fused,) if fused else names) if name)
        outward = _outward(model, path, children)
        size = next((found for name in _SIZES if isinstance(found := vars(module).get(name), int)), 0)
        if path and outward and size > 0 and len(inward) == (1 if fused else 3):
            yield from _measured(model, path, module, inward, outward, size)


def _together(found: Sequence[_Attention]) -> list[list[_Attention]]:
    """Attentions that lose the same heads: those at one place of all blocks of a T5 stack; any other one alone."""
    sets: dict[str, list[_Attention]] = {}
    for one in found:
        shares = "has_relative_attention_bias" in vars(one.module)
        place = re.sub(r"\.\d+\.", ".*.", one.path, count=1) if shares else one.path
        sets.setdefault(place, []).append(one)
    return list(sets.values())


def _outward(model: nn.Module, path: str, children: set[str]) -> str:
    if name := _first(children, _OUTPUTS):
        return f"{path}.{name}"
    # BERT keeps it beside: attention.self holds the heads, attention.output.dense takes what they give.
    beside = f"{path.rpartition('.')[0]}.output.dense"
    try:
        return beside if is_layer(model.get_submodule(beside)) else ""
    except AttributeError:
        return ""


def _measured(
    model: nn.Module, path: str, module: nn.Module, inward: tuple[str, ...], outward: str, size: int
) -> Iterator[_Attention]:
    """The attention, if the shapes of its projections are those of whole heads."""
    rows = [matrix(model, name).shape[0] for name in inward]
    queries, keys, values = rows if len(rows) == 3 else (rows[0] // 3,) * 3
    whole = queries % size == 0 and keys == values and keys % size == 0 and queries % max(keys, 1) == 0
    if whole and keys and matrix(model, outward).shape[1] == queries:
        yield _Attention(path, module, inward, outward, size, queries // keys, keys // size)


def _first(names: set[str], wanted: Sequence[str]) -> str:
    return next((name for name in wanted if name in names), "")


def _norms(found: Sequence[_Attention]) -> dict[str, Tensor]:
    """L2 norm of all weights of each group of heads, (groups,)."""
    scores = {}
    for one in found:
        root = one.module
        inside = [name.removeprefix(f"{one.path}.") for name in one.inward]
        squares = [matrix(root, name).square().sum(1) for name in inside]
        parts = squares[0].chunk(3) if len(squares) == 1 else squares
        scores[one.path] = torch.stack([part.view(one.groups, -1).sum(1) for part in parts]).sum(0).sqrt()
    return scores


def _cut(model: nn.Module, one: _Attention, gone: Sequence[int], context: Context) -> None:
    left = torch.tensor([group for group in range(one.groups) if group not in set(gone)])
    keys = _places(left, one.size)
    queries = _places(left, one.size * one.shared)
    if len(one.inward) == 1:
        width = one.groups * one.size
        rows = [torch.cat([keys, keys + width, keys + 2 * width])]
    else:
        rows = [queries, keys, keys]
    for path, kept in zip(one.inward, rows, strict=True):
        keep(model, path, kept, OUTPUTS, context)
    keep(model, one.outward, queries, INPUTS, context)
    if isinstance(getattr(one.module, _BIASES, None), nn.Embedding):
        keep(model, f"{one.path}.{_BIASES}", left, INPUTS, context)
    change(model, "numbers", one.path, **_numbers(one, len(left)))


def _places(heads: Tensor, width: int) -> Tensor:
    return (heads[:, None] * width + torch.arange(width)).flatten()


def _numbers(one: _Attention, groups: int) -> dict[str, int]:
    """The module's own numbers with so many groups of heads left."""
    heads = groups * one.shared
    told = dict.fromkeys(_HEADS, heads) | dict.fromkeys(_WIDTHS, heads * one.size) | {"num_key_value_heads": groups}
    return {name: value for name, value in told.items() if type(vars(one.module).get(name)) is int}


def _account(found: Sequence[_Attention], gone: Mapping[str, Sequence[int]]) -> Finding:
    total, cut = sum(one.groups * one.shared for one in found), sum(len(gone[o.path]) * o.shared for o in found)
    told = [
        f"{one.path} {one.groups * one.shared} → {(one.groups - len(gone[one.path])) * one.shared}" for one in found
    ]
    return Finding(
        "heads_removed",
        "info" if cut else "warning",
        f"{cut} of {total} attention heads were removed in {len(found)} modules, among them {', '.join(told[:3])}.",
        expected=float(total),
        found=float(cut),
    )
