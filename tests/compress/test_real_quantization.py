"""Real models after quantization, against figures that independent code found (float arithmetic, one run)."""

import pytest

from cc_ray.recipe import Step
from tests.compress.real import ROOT, Cifar, Stories, accuracy, compressed, nats_per_token

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ROOT.exists(), reason=f"{ROOT} is not there"),
]
EVERYTHING = ["model.embed_tokens.weight", "model.layers"]


def test_resnet_after_rounding() -> None:
    task = Cifar()
    model = task.train("resnet20", 0)
    assert accuracy(model) == pytest.approx(0.9125, abs=1e-4)

    # Known on twice as many images: one standard error is 1.3 points here.
    for bits, expected in ((8, 0.9184), (6, 0.9184), (4, 0.9043), (3, 0.7317), (2, 0.0981)):
        found = accuracy(compressed(task, model, Step("uniform_quantization", {"bits": bits})).model)
        assert found == pytest.approx(expected, abs=0.04 if bits > 2 else 0.06), bits


def test_resnet_survives_3_bits_where_errors_are_made_up_for() -> None:
    task = Cifar()
    model = task.train("resnet20", 0)

    assert accuracy(compressed(task, model, Step("gptq_quantization", {"bits": 3})).model) > 0.80
    assert accuracy(compressed(task, model, Step("palettization", {"bits": 4})).model) > 0.87
    assert accuracy(compressed(task, model, Step("quantize_static")).model) == pytest.approx(0.9125, abs=0.013)


def test_a_llama_after_rounding() -> None:
    task = Stories()
    model = task.train("stories260k", 0)
    assert nats_per_token(model, 100) == pytest.approx(1.4076, abs=1e-4)

    for bits, expected in ((4, 1.627), (3, 3.708)):
        step = Step("uniform_quantization", {"bits": bits, "include": EVERYTHING})
        assert nats_per_token(compressed(task, model, step).model, 100) == pytest.approx(expected, abs=2e-3)


def test_a_llama_loses_less_where_errors_are_made_up_for() -> None:
    task = Stories()
    model = task.train("stories260k", 0)

    plain, careful = (
        nats_per_token(compressed(task, model, Step(name, {"bits": 3, **more})).model, 20)
        for name, more in (("uniform_quantization", {}), ("gptq_quantization", {"instances": 16}))
    )

    assert careful < plain - 0.5
