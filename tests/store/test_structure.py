import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from cc_ray.errors import StoreError
from cc_ray.store.artifacts import load_model, save_model
from cc_ray.store.layout import Draft
from cc_ray.store.structure import NUMBERS, change, changes_of, fit, kinds
from cc_ray.store.weights import METADATA_KEY, Change, read_weights


class Attention(nn.Module):
    """Heads that shapes do not tell."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.num_heads = heads
        self.project = nn.Linear(8, 8, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        heads: Tensor = self.project(inputs).unflatten(-1, (self.num_heads, -1))
        return inputs + heads.softmax(-1).flatten(-2)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.wide = nn.Conv2d(6, 8, (3, 5), stride=(2, 1), padding=(1, 2))
        self.blocks = nn.ModuleList([Attention() for _ in range(3)])
        self.head = nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.wide(self.stem(inputs)).mean((2, 3))
        for block in self.blocks:
            hidden = block(hidden)
        scores: Tensor = self.head(hidden)
        return scores


def build() -> nn.Module:
    return Model().eval()


def filled(layer: nn.Module | None, ranks: int) -> None:
    """Give two layers in place of one tensors of so many channels between them."""
    assert isinstance(layer, nn.Sequential)
    pair: list[Any] = list(layer)
    for place, one in enumerate(pair):
        axes: list[int] = [*one.weight.shape]
        axes[place] = ranks
        one.weight = nn.Parameter(torch.randn(axes))
        if one.bias is not None:
            one.bias = nn.Parameter(torch.randn(one.bias.shape))
        fit(one)


def changed() -> nn.Module:
    """A model with a change of every kind."""
    torch.manual_seed(0)
    model = build()
    change(model, "bias", "stem.0")
    change(model, "identity", "stem.1")
    filled(change(model, "factored", "stem.0"), 2)
    filled(change(model, "separated", "wide"), 3)
    change(model, "removed", "blocks.1")
    change(model, "numbers", "blocks.2", num_heads=2)
    filled(change(model, "factored", "head"), 2)
    return model


def outputs(model: nn.Module) -> Tensor:
    inputs = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores: Tensor = model(inputs)
    return scores


def test_a_change_of_every_kind_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = changed()
    assert {each.kind for each in changes_of(model)} == set(kinds())

    saved, base = save_model(Draft(tmp_path), model), build()
    state = torch.get_rng_state()
    loaded = load_model(Draft(tmp_path), saved.digest, base)

    assert torch.equal(outputs(loaded), outputs(model))
    assert str(loaded) == str(model)
    assert save_model(Draft(tmp_path), loaded) == saved
    assert not any(parameter.is_meta for parameter in loaded.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_a_copy_carries_the_changes_and_its_original_stays_as_it_was() -> None:
    model = changed()

    child = copy.deepcopy(model)
    change(child, "removed", "blocks.0")

    assert changes_of(child) == (*changes_of(model), Change(kind="removed", path="blocks.0"))
    assert changes_of(build()) == ()


def test_what_is_left_of_a_list_keeps_its_names(tmp_path: Path) -> None:
    model = changed()

    names = {name for name, _ in model.named_parameters() if name.startswith("blocks")}

    assert names == {"blocks.0.project.weight", "blocks.2.project.weight"}
    weights = read_weights(Draft(tmp_path), save_model(Draft(tmp_path), model).digest)
    assert {name for name in weights if name.startswith("blocks")} == names


def test_files_without_changes_are_those_of_before(tmp_path: Path) -> None:
    saved = save_model(Draft(tmp_path), build())

    header = Draft(tmp_path).artifact(saved.digest).read_bytes()[:2000]
    assert b'{\\"format\\":1}' in header


HOSTILE: list[tuple[Any, str]] = [
    ({"kind": "exec", "path": "head"}, "'exec' is no kind of change"),
    ({"kind": "removed", "path": "head"}, "'head' is no member of a list"),
    ({"kind": "removed", "path": "blocks.7"}, "there is no module 'blocks.7'"),
    ({"kind": "removed", "path": "blocks.__class__"}, "there is no module"),
    ({"kind": "factored", "path": "__class__.__init__"}, "there is no module"),
    ({"kind": "factored", "path": ""}, "there is no module"),
    ({"kind": "factored", "path": "blocks"}, "'blocks' is a ModuleList: a linear layer"),
    ({"kind": "factored", "path": "head", "numbers": {"rank": 10**12}}, "takes no number 'rank'"),
    ({"kind": "separated", "path": "head"}, "'head' is a Linear: a linear layer, or a convolution"),
    ({"kind": "bias", "path": "head"}, "without bias is expected"),
    ({"kind": "identity", "path": "head"}, "a batch norm is expected"),
    ({"kind": "numbers", "path": "blocks.0", "numbers": {"training": 1}}, "takes no number 'training'"),
    ({"kind": "numbers", "path": "blocks.0", "numbers": {"num_heads": 5}}, "num_heads=5 does not fit, it has 4"),
    ({"kind": "numbers", "path": "blocks.0", "numbers": {"num_heads": -1}}, "does not fit"),
    ({"kind": "numbers", "path": "head", "numbers": {"num_heads": 1}}, "does not fit, it has None"),
    ({"kind": "numbers", "path": "head", "numbers": {"num_heads": "1"}}, "damaged"),
    ({"kind": "removed", "path": "blocks.1", "code": "x"}, "damaged"),
    ({"kind": "removed", "path": "blocks.1"}, "it differs in blocks.1.project.weight"),
]


@pytest.mark.parametrize(("told", "said"), HOSTILE)
def test_what_a_file_may_not_ask_for_is_refused(told: Any, said: str, tmp_path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in build().state_dict().items()}
    header = {"format": 2, "changes": [told]}
    growing = tmp_path / "growing"
    save_file(arrays, growing, {METADATA_KEY: json.dumps(header)})
    digest = _named(growing, tmp_path)

    with pytest.raises(StoreError, match=said):
        load_model(Draft(tmp_path), digest, build())


def _named(growing: Path, root: Path) -> str:
    digest = hashlib.sha256(growing.read_bytes()).hexdigest()
    target = Draft(root).artifact(digest)
    target.parent.mkdir(parents=True)
    growing.rename(target)
    return digest


def test_numbers_are_attributes_of_attention_alone() -> None:
    assert not any(hasattr(nn.Module(), name) for name in NUMBERS)
    assert all(not name.startswith("_") for name in NUMBERS)
