"""bfloat16 weights in PyTorch: kept libraries that take small updates, under our schedulers."""

import io

import pytest
import torch
from rex_torch import HyperparamScheduler, lambda_lr
from torch.nn.functional import cross_entropy

from rex_core import Schedule
from tests.adapters.digits_torch import IMAGES, LABELS, batch, network

pytestmark = pytest.mark.long

optimi = pytest.importorskip("optimi", reason="pip install torch-optimi")

T = 600
SGD_RATE = Schedule("linear", peak_value=0.03)
ADAM_RATE = Schedule("linear", peak_value=3e-4)


def adamw(parameters, lr, **settings):
    return optimi.AdamW(parameters, lr=lr, betas=(0.9, 0.99), **settings)


OPTIMIZERS = {"SGD": (optimi.SGD, SGD_RATE), "AdamW": (adamw, ADAM_RATE)}


def steps(model, optimizer, scheduler, first, last):
    dtype = model[0].weight.dtype
    for t in range(first, last):
        images, labels = batch(t)
        optimizer.zero_grad()
        cross_entropy(model(images.to(dtype)).float(), labels).backward()
        optimizer.step()
        scheduler.step()


def loss(model):
    with torch.no_grad():
        return float(cross_entropy(model(IMAGES.to(model[0].weight.dtype)).float(), LABELS))


def trained(make, rate, dtype, **settings):
    model = network().to(dtype)
    optimizer = make(model.parameters(), lr=1.0, **settings)
    steps(model, optimizer, HyperparamScheduler(optimizer, T, lr=rate), 0, T)
    return loss(model)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_kahan_summation_of_optimi(name):
    make, rate = OPTIMIZERS[name]
    reference = trained(make, rate, torch.float32)
    nearest = trained(make, rate, torch.bfloat16, kahan_sum=False)
    kahan = trained(make, rate, torch.bfloat16)
    assert nearest - reference > 0.05 * reference
    assert abs(kahan - reference) < 0.2 * (nearest - reference)


def test_a_checkpoint_has_what_is_owed():
    def start():
        model = network().bfloat16()
        optimizer = optimi.SGD(model.parameters(), lr=0.02)
        return model, optimizer, lambda_lr(optimizer, Schedule("linear"), T)

    whole = start()
    steps(*whole, 0, 40)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in whole], file)
    file.seek(0)
    resumed = start()
    for part, state in zip(resumed, torch.load(file), strict=True):
        part.load_state_dict(state)
    owed = [state["kahan_comp"] for state in resumed[1].state.values()]
    assert all(part.dtype == torch.bfloat16 for part in owed)
    assert any(part.any() for part in owed)
    for parts in (whole, resumed):
        steps(*parts, 40, 60)
    for one, two in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(one, two)


# The compiler of PyTorch imports what PyTorch deprecates.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_stochastic_rounding_of_torchao():
    """AdamW in a step that torchao compiles: its rate is a tensor, which schedulers fill."""
    torchao = pytest.importorskip("torchao.optim", reason="pip install torchao")
    peak, ulp = 1e-4, 2.0**-8  # Weights just below 1: half of an ulp is 0.002.
    rate = Schedule("linear", peak_value=peak)
    for make in (
        lambda optimizer: HyperparamScheduler(optimizer, 40, lr=rate),
        lambda optimizer: lambda_lr(optimizer, rate.replace(peak_value=1.0), 40),
    ):
        means = {}
        for stochastic in (False, True):
            torch.manual_seed(0)
            weights = torch.nn.Parameter(torch.full((2000,), 1 - ulp, dtype=torch.bfloat16))
            optimizer = torchao.AdamW8bit(
                [weights], lr=peak, weight_decay=0, bf16_stochastic_round=stochastic
            )
            scheduler = make(optimizer)
            tensor = optimizer.param_groups[0]["lr"]
            for t in range(40):
                assert optimizer.param_groups[0]["lr"] is tensor
                assert float(tensor) == pytest.approx(rate(t, 40), rel=1e-6)
                weights.grad = torch.ones_like(weights)
                optimizer.step()
                scheduler.step()
            means[stochastic] = float(weights.detach().double().mean())
        # Adam's updates of constant gradients are the rate itself.
        moved = sum(rate(t, 40) for t in range(40))
        assert means[False] == 1 - ulp
        # Five standard deviations of the mean of as many sums.
        assert abs(1 - ulp - means[True] - moved) < 5 * (moved * ulp / 2000) ** 0.5
