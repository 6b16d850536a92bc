import sys
from pathlib import Path

import pytest
import torch

from cc_ray.compress.exporting import export
from cc_ray.errors import CcRayError
from cc_ray.store.weights import ExportKind
from tests.compress.tiny import TASK, base_model, outputs, run


@pytest.mark.parametrize(
    "to", [pytest.param("onnx", marks=pytest.mark.slow), "torch_export", "executorch", "safetensors"]
)
def test_a_file_is_read_back_and_answers_alike(to: ExportKind, tmp_path: Path) -> None:
    if to == "executorch":
        pytest.importorskip("executorch", reason="ExecuTorch is not installed: pip install 'cc-ray[executorch]'")
    model = run("low_rank", base_model("cnn"), amount=0.5, include=["first"]).model
    model = run("uniform_quantization", model, bits=6).model

    made = export(TASK, "cnn", model, tmp_path / "model", to)

    assert made.finding.severity == "info", made.finding.message
    assert made.size_bytes == (tmp_path / "model").stat().st_size
    assert torch.allclose(outputs(made.program), outputs(model), atol=1e-5)
    with pytest.raises(CcRayError, match="is there already"):
        export(TASK, "cnn", model, tmp_path / "model", to)


def test_what_is_not_installed_is_named_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "executorch.exir", None)
    monkeypatch.setitem(sys.modules, "executorch.backends.xnnpack.partition.xnnpack_partitioner", None)

    with pytest.raises(CcRayError, match=r"pip install 'cc-ray\[executorch\]'"):
        export(TASK, "cnn", base_model("cnn"), tmp_path / "model", "executorch")

    assert not (tmp_path / "model").exists()


def test_tied_embeddings_and_quantized_layers_come_back(tmp_path: Path) -> None:
    from tests.compress.transformers import WORDS_TASK, build
    from tests.compress.transformers import outputs as words
    from tests.compress.transformers import run as run_words

    class Built(type(WORDS_TASK)):  # type: ignore[misc]
        def build(self, base: str) -> torch.nn.Module:
            return build(base)

    model = run_words("head_pruning", build("gpt2"), ratio=0.5).model
    made = export(Built(), "gpt2", model, tmp_path / "model", "safetensors")

    assert torch.equal(words(made.program), words(model))
    assert made.size_bytes < 1.2 * 4 * sum(parameter.numel() for parameter in model.parameters()) + 8_000
