"""Gradient norms of one training in both frameworks, and where a profile of them goes."""

import copy
import json
import pickle

import jax
import numpy as np
import optax
import pytest
import torch
from optuna.trial import FixedTrial
from rex_keras import as_schedule
from rex_optax import BudgetedSchedule, gradient_norms, record_gradient_norms
from rex_optuna import suggest_schedule
from rex_torch import GradientNorms, HyperparamScheduler, lambda_lr
from torch.nn.functional import cross_entropy

from rex_core import Join, Schedule, from_dict, linear, loss_bound, refine, to_dict
from tests.adapters.digits_torch import batch, network
from tests.adapters.norms import NORMS, T, both
from tests.adapters.test_rex_optax_norms import start, train_in_optax


def in_torch(total_steps, **norm):
    return GradientNorms(torch.optim.SGD([torch.zeros(1)], lr=0.1), total_steps, **norm)


@pytest.mark.parametrize("make", [record_gradient_norms, in_torch])
def test_arguments_that_are_refused(make):
    for total_steps in (0, -1, 2.5, np.nan, 2**31, "3", None, True):
        with pytest.raises(
            ValueError, match=r"^total_steps must be an integer in \[1, 2147483647\]"
        ):
            make(total_steps)
    for norm in ("L2", "max", 2, None, ["l2"]):
        with pytest.raises(ValueError, match=r"^norm must be 'l2' or 'l1'; got "):
            make(T, norm=norm)


@pytest.mark.long
@both
def test_the_two_record_the_same(norm):
    """One network in both, from the same weights, with the same batches and updates."""
    params = start()
    model = torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10, bias=False)
    )
    with torch.no_grad():
        for own, array in zip(
            model.parameters(), (params["w1"].T, params["b1"], params["w2"].T), strict=True
        ):
            own.copy_(torch.tensor(np.asarray(array)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    record = GradientNorms(optimizer, T, norm=norm)
    for t in range(T):
        optimizer.zero_grad()
        images, labels = batch(t)
        cross_entropy(model(images), labels).backward()
        optimizer.step()
    tx = optax.chain(record_gradient_norms(T, norm=norm), optax.sgd(0.1))
    opt_state, _ = train_in_optax(tx)
    np.testing.assert_allclose(gradient_norms(opt_state), record.numpy(), rtol=1e-4)


LONG = 1200


@pytest.fixture(scope="module", params=NORMS)
def found(request):
    """A profile from a run that is longer than a profile has values, and its schedule."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lambda_lr(optimizer, linear, LONG)
    record = GradientNorms(optimizer, LONG, norm=request.param)
    for t in range(LONG):
        optimizer.zero_grad()
        images, labels = batch(t)
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        scheduler.step()
    profile = refine(record.numpy(), LONG, norm=request.param)
    assert len(profile.params["values"]) == 1001
    return profile, Schedule(profile, peak_value=0.1, warmup_ratio=0.1)


def test_a_refined_profile_is_a_value(found):
    profile, schedule = found
    for value in (profile, schedule, Join([schedule, linear], [0.5])):
        assert from_dict(json.loads(json.dumps(to_dict(value)))) == value
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
    steps = np.arange(LONG)
    assert schedule(steps, LONG).tolist() == [schedule(t, LONG) for t in range(LONG)]
    assert loss_bound(profile, LONG) > loss_bound(linear, LONG)  # Its norms were not flat.


@pytest.mark.long
@pytest.mark.parametrize("T", [50, LONG, 5000])
def test_a_refined_profile_is_the_rate_in_every_framework(found, T):
    _, schedule = found
    t = T // 10
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    other = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedulers = (
        lambda_lr(optimizer, schedule.replace(peak_value=1.0), T),
        HyperparamScheduler(other, T, lr=schedule),
    )
    budgeted = optax.inject_hyperparams(optax.sgd)(BudgetedSchedule(schedule, T))
    state, update = budgeted.init(1.0), jax.jit(budgeted.update)
    for _ in range(t):
        for scheduler in schedulers:
            scheduler.optimizer.step()
            scheduler.step()
        _, state = update(1.0, state)
    _, state = update(1.0, state)
    rate = schedule(t, T)
    assert rate > 0
    assert other.param_groups[0]["lr"] == rate
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate, rel=1e-14)
    assert float(state.hyperparams["learning_rate"]) == pytest.approx(rate, rel=1e-6)
    assert float(as_schedule(schedule, T)(t)) == pytest.approx(rate, rel=1e-6)


def test_a_refined_profile_is_searched(found):
    profile, _ = found
    space = {"profiles": {"refined": profile, "linear": linear}, "peak_value": (0.01, 1)}
    trial = FixedTrial({"profile": "refined", "peak_value": 0.1})
    assert suggest_schedule(trial, 100, **space) == Schedule(profile, peak_value=0.1)
