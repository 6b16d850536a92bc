import copy
import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from cc_ray.errors import StoreError
from cc_ray.store.artifacts import is_int8, load_model, save_model, scale_of, set_scale
from cc_ray.store.layout import Layout
from cc_ray.store.tables import Store
from cc_ray.store.weights import METADATA_KEY


def build() -> nn.Module:
    layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 32), nn.LayerNorm(32), nn.Linear(32, 4)).eval()


def inputs() -> Tensor:
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _store(tmp_path: Path) -> None:
    Store(tmp_path, create=True)


def returns(layout: Layout, model: nn.Module, base: nn.Module) -> nn.Module:
    """Save and load; the outputs must be equal bit for bit, and so must the bytes of the loaded model's file."""
    saved = save_model(layout, model)
    loaded = load_model(layout, saved.digest, base)
    assert torch.equal(loaded(inputs()), model(inputs()))
    assert save_model(layout, loaded) == saved
    assert saved.size_bytes == layout.artifact(saved.digest).stat().st_size
    return loaded


def header_bytes(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def test_a_float_model_comes_back(tmp_path: Path) -> None:
    returns(Layout(tmp_path), build(), build())


def test_the_bytes_of_the_tensors_add_up_to_the_file(tmp_path: Path) -> None:
    model = build()
    model.get_parameter("5.weight").data[:, ::2] = 0
    saved = save_model(Layout(tmp_path), model)

    file = Layout(tmp_path).artifact(saved.digest)
    assert sum(saved.tensor_bytes.values()) == saved.size_bytes - header_bytes(file)
    assert saved.tensor_bytes["5.weight"] == 32 * 128 // 8 + 32 * 64 * 4
    assert saved.tensor_bytes["7.weight"] == 4 * 32 * 4


def test_the_name_is_the_digest_of_the_bytes_and_equal_models_share_it(tmp_path: Path) -> None:
    model = build()
    one, two = save_model(Layout(tmp_path), model), save_model(Layout(tmp_path), copy.deepcopy(model))

    assert one == two
    content = Layout(tmp_path).artifact(one.digest).read_bytes()
    assert hashlib.sha256(content).hexdigest() == one.digest
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"store.json", f"{one.digest}.safetensors"}


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import torch
        from pathlib import Path
        from torch import nn
        from cc_ray.store.artifacts import save_model
        from cc_ray.store.layout import Layout
        torch.manual_seed(3)
        print(save_model(Layout(Path({str(tmp_path)!r})), nn.Linear(6, 7)).digest)
    """)

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    torch.manual_seed(3)
    assert run.stdout.strip() == save_model(Layout(tmp_path), nn.Linear(6, 7)).digest


def test_shapes_come_from_the_file(tmp_path: Path) -> None:
    layers = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.Flatten()]
    smaller = nn.Sequential(*layers, nn.Linear(96, 20), nn.LayerNorm(20), nn.Linear(20, 4)).eval()

    loaded = returns(Layout(tmp_path), smaller, build())

    assert str(loaded) == str(smaller)
    assert loaded.get_submodule("3").groups == 6


def test_shapes_of_other_layers_come_from_the_file_too(tmp_path: Path) -> None:
    def model(width: int) -> nn.Module:
        return nn.ModuleList(
            [nn.Embedding(3, width), nn.GroupNorm(2, width), nn.ConvTranspose1d(width, 2 * width, 3, groups=2)]
        )

    loaded = load_model(Layout(tmp_path), save_model(Layout(tmp_path), model(4)).digest, model(8))

    assert str(loaded) == str(model(4))


def test_of_several_groups_one_may_be_left(tmp_path: Path) -> None:
    base = nn.Sequential(nn.Conv2d(2, 2, 3, groups=2))
    pruned = nn.Sequential(nn.Conv2d(1, 1, 3))

    loaded = load_model(Layout(tmp_path), save_model(Layout(tmp_path), pruned).digest, copy.deepcopy(base))

    assert torch.equal(loaded(torch.ones(1, 1, 4, 4)), pruned(torch.ones(1, 1, 4, 4)))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_on_a_grid_take_their_bits_and_keep_their_scale(tmp_path: Path, bits: int) -> None:
    model, top = build(), 2 ** (bits - 1) - 1
    weight = model.get_parameter("5.weight").data
    scale = weight.abs().amax(1, keepdim=True) / top
    weight.copy_((weight / scale).round().int() * scale)
    set_scale(model.get_submodule("5"), scale)

    loaded = returns(Layout(tmp_path), model, build())

    found = scale_of(loaded.get_submodule("5"))
    assert found is not None and torch.equal(found, scale)
    saved = save_model(Layout(tmp_path), model)
    assert saved.tensor_bytes["5.weight"] == 32 * 128 * bits // 8 + 32 * 4 + 2
    assert not any("scale" in name for name in saved.tensor_bytes)


def test_a_weight_that_left_its_grid_is_saved_as_it_is(tmp_path: Path) -> None:
    model = build()
    set_scale(model.get_submodule("5"), torch.full((32, 1), 0.1))

    loaded = returns(Layout(tmp_path), model, build())

    assert scale_of(loaded.get_submodule("5")) is not None
    assert save_model(Layout(tmp_path), model).tensor_bytes["5.weight"] == 32 * 128 * 4 + 32 * 4


@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
@pytest.mark.parametrize("sparse", [False, True])
def test_torchao_tensors_come_back(tmp_path: Path, config: str, sparse: bool) -> None:
    import torchao.quantization as quantization

    model = build()
    if sparse:
        model.get_parameter("5.weight").data[:, 20:] = 0
    quantization.quantize_(model, getattr(quantization, config)(set_inductor_config=False))

    loaded = returns(Layout(tmp_path), model, build())

    weight = loaded.get_parameter("5.weight")
    assert is_int8(weight) and not weight.requires_grad
    expected = 32 * 128 // 8 + 32 * 20 if sparse else 32 * 128
    assert save_model(Layout(tmp_path), model).tensor_bytes["5.weight"] <= expected + 32 * 5


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    def tied() -> nn.ModuleDict:
        model = nn.ModuleDict({"embed": nn.Embedding(9, 4), "head": nn.Linear(4, 9)})
        model["head"].weight = model["embed"].weight
        return model

    untied = nn.ModuleDict({"embed": nn.Embedding(9, 4), "head": nn.Linear(4, 9)})
    model = tied()
    saved = save_model(Layout(tmp_path), model)

    for base in (tied(), untied):
        loaded = load_model(Layout(tmp_path), saved.digest, base)
        assert loaded.get_parameter("head.weight") is loaded.get_parameter("embed.weight")
        assert torch.equal(loaded.get_parameter("head.weight"), model.get_parameter("head.weight"))
    assert set(saved.tensor_bytes) == {"embed.weight", "head.bias"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_come_back(tmp_path: Path, dtype: torch.dtype) -> None:
    model = nn.Linear(64, 64).to(dtype)
    model.weight.data[:, 8:] = 0

    saved = save_model(Layout(tmp_path), model)
    loaded = load_model(Layout(tmp_path), saved.digest, nn.Linear(64, 64))

    assert loaded.weight.dtype == dtype
    assert torch.equal(loaded.get_parameter("weight"), model.weight)


def test_a_loaded_model_can_be_trained_further(tmp_path: Path) -> None:
    loaded = load_model(Layout(tmp_path), save_model(Layout(tmp_path), build()).digest, build())

    loaded(inputs()).sum().backward()

    assert all(parameter.grad is not None for parameter in loaded.parameters())


def test_a_tensor_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("wave", torch.zeros(2, dtype=torch.complex64))

    with pytest.raises(StoreError, match=r"'wave' is a Tensor of torch\.complex64"):
        save_model(Layout(tmp_path), model)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    saved = save_model(Layout(tmp_path), build())

    with pytest.raises(StoreError, match=r"does not fit the architecture of 2 tensors.*0\.bias"):
        load_model(Layout(tmp_path), saved.digest, nn.Linear(2, 2))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no model file"):
        load_model(Layout(tmp_path), "0" * 64, build())


def test_a_name_that_is_no_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not the digest"):
        load_model(Layout(tmp_path), "../../etc/passwd", build())


@pytest.mark.parametrize("at", [0, 200, -1])
def test_a_flipped_bit_is_found(tmp_path: Path, at: int) -> None:
    saved = save_model(Layout(tmp_path), build())
    file = Layout(tmp_path).artifact(saved.digest)
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)

    with pytest.raises(StoreError, match="is damaged"):
        load_model(Layout(tmp_path), saved.digest, build())


def test_the_next_writer_mends_a_damaged_file(tmp_path: Path) -> None:
    model = build()
    saved = save_model(Layout(tmp_path), model)
    Layout(tmp_path).artifact(saved.digest).write_bytes(b"half of")

    save_model(Layout(tmp_path), model)

    load_model(Layout(tmp_path), saved.digest, build())


def forge(layout: Layout, header: str, **tensors: np.ndarray) -> str:
    """A file under its true digest whose content nobody should trust."""
    layout.root.mkdir(exist_ok=True)
    file = layout.root / "forged"
    save_file(tensors, file, {METADATA_KEY: header})
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    layout.artifact(digest).parent.mkdir(parents=True, exist_ok=True)
    file.rename(layout.artifact(digest))
    return digest


W, B = np.zeros((2, 2), np.float32), np.zeros(2, np.float32)
ENTRY = '{"encoding":"bitmap","dtype":"float32","shape":[2,2]}'
FORGERIES: list[tuple[str, dict[str, np.ndarray], str]] = [
    ("", {"weight": W, "bias": B}, "damaged"),
    ("[" * 100_000, {"weight": W, "bias": B}, "damaged"),
    ('{"format":1,"code":"import os"}', {"weight": W, "bias": B}, "damaged"),
    ('{"format":99,"new":1}', {"weight": W, "bias": B}, r"format 99; this program reads up to 4\. Upgrade"),
    ('{"format":1}', {"weight": W}, "does not fit"),
    ('{"format":1}', {"weight": W, "bias": B, "__class__": B}, "does not fit"),
    ('{"format":1}', {"weight": B, "bias": B}, "does not fit"),
    ('{"format":1,"groups":{"":2}}', {"weight": W, "bias": B}, "does not fit"),
    ('{"format":1,"groups":{"":0}}', {"weight": W, "bias": B}, "damaged"),
    ('{"format":1,"tied":{"weight":"gone"}}', {"bias": B}, "does not fit"),
    ('{"format":1,"tied":{"weight":"bias"}}', {"weight": W, "bias": B}, "does not fit"),
    ('{"format":1,"entries":{"weight":' + ENTRY + "}}", {"weight": W, "bias": B}, "does not account"),
    ('{"format":1}', {"weight": W, "bias": B, "bias#more": B}, "does not account"),
    (
        '{"format":1,"entries":{"weight":' + ENTRY.replace("[2,2]", "[2,1000000000000]") + "}}",
        {"weight#mask": np.zeros(1, np.uint8), "weight#values": B, "bias": B},
        "tensor 'weight': a mask of 2000000000000 bits is expected",
    ),
]


@pytest.mark.parametrize(("header", "tensors", "said"), FORGERIES)
def test_a_forged_file_is_a_store_error(tmp_path: Path, header: str, tensors: dict[str, np.ndarray], said: str) -> None:
    digest = forge(Layout(tmp_path), header, **tensors)

    with pytest.raises(StoreError, match=said):
        load_model(Layout(tmp_path), digest, nn.Linear(2, 2))


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    torch.save(build(), tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    target = layout.artifact(hashlib.sha256(content).hexdigest())
    target.parent.mkdir(parents=True)
    target.write_bytes(content)

    with pytest.raises(StoreError, match="is damaged"):
        load_model(layout, target.stem, build())


def test_a_disk_that_refuses_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)

    with pytest.raises(StoreError, match=r"No space left on device\. Nothing was saved"):
        save_model(Layout(tmp_path), build())
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["store.json"]


def test_a_root_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="cannot save a model below"):
        save_model(Layout(tmp_path / "file"), build())


def test_a_writer_that_dies_leaves_no_visible_file(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import os
        from pathlib import Path
        from torch import nn
        from cc_ray.store import artifacts
        from cc_ray.store.layout import Layout
        os.replace = lambda *_: os._exit(9)
        artifacts.save_model(Layout(Path({str(tmp_path)!r})), nn.Linear(6, 7))
    """)

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9

    assert not list(Layout(tmp_path).artifacts.rglob("*.safetensors"))
    assert len(list(Layout(tmp_path).partial.iterdir())) == 1, "the sweep finds it there"
