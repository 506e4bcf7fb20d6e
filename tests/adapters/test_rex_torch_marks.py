"""Whose value counts: after a load, in a second phase, in a group that was added later."""

import copy
import io
import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from pytorch_optimizer import AliG
from rex_torch import (
    HyperparamScheduler,
    get_rex_schedule_with_warmup,
    lambda_lr,
    schedule_lr,
)
from torch.optim import SGD, AdamW, Optimizer, Rprop
from torch.optim.lr_scheduler import ExponentialLR, LinearLR, SequentialLR

from rex_core import Schedule, WallClock, bind, demon

T = 20
SHAPE = Schedule()


def sgd(*settings, lr=0.1, **others):
    """An optimizer with a parameter group for each dictionary of settings, or one."""
    groups = [{"params": [parameter()], **each} for each in settings or ({},)]
    return SGD(groups, lr=lr, **others)


def parameter():
    return torch.nn.Parameter(torch.ones(3))


def run(scheduler, steps):
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()


def lrs(optimizer):
    return [float(group["lr"]) for group in optimizer.param_groups]


def at(t):
    """The rate of 0.1 after t steps."""
    return pytest.approx(0.1 * SHAPE(t, T))


def saved(scheduler, steps):
    """The states of a run after some steps."""
    run(scheduler, steps)
    return copy.deepcopy((scheduler.optimizer.state_dict(), scheduler.state_dict()))


def test_a_rate_set_after_the_optimizer_loaded_a_state():
    optimizer = sgd()
    scheduler = lambda_lr(optimizer, SHAPE, T)
    state, _ = saved(scheduler, 5)
    optimizer.load_state_dict(state)
    run(scheduler, 1)  # Nobody has set anything.
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.param_groups[0]["lr"] = 1e-4
    with pytest.raises(ValueError, match="lr of parameter group 0 must be its 'initial_lr'"):
        lambda_lr(optimizer, SHAPE, T)
    with pytest.warns(UserWarning, match=r"lr of parameter group 0 is 0.0001, which this"):
        run(scheduler, 1)
    assert lrs(optimizer) == [at(7)]


def test_second_phase_beside_a_scheduler_of_another_setting():
    optimizer = sgd(momentum=0.9)
    rate = lambda_lr(optimizer, SHAPE, T)
    momentum = HyperparamScheduler(optimizer, T, momentum=demon(0.9))
    for _ in range(3):
        optimizer.step()
        rate.step()
        momentum.step()
    optimizer.param_groups[0]["lr"] = 0.01
    with pytest.raises(ValueError, match="must be its 'initial_lr'"):
        lambda_lr(optimizer, SHAPE, T)


def test_second_phase_of_a_group_that_was_left_alone():
    optimizer = sgd({}, {"lr": 0.5})
    run(lambda_lr(optimizer, [SHAPE, None], T), 3)
    optimizer.param_groups[1]["lr"] = 0.05
    with pytest.raises(ValueError, match="lr of parameter group 1 must be its 'initial_lr'"):
        lambda_lr(optimizer, SHAPE, T)


def test_a_scheduler_of_momentum_leaves_no_first_rate():
    optimizer = sgd(momentum=0.9)
    HyperparamScheduler(optimizer, T, momentum=demon(0.9))
    optimizer.param_groups[0]["lr"] = 0.01
    lambda_lr(optimizer, SHAPE, T)
    assert lrs(optimizer) == [0.01]


def test_a_new_rate_on_a_loaded_optimizer_is_named_at_the_first_step():
    state, _ = saved(lambda_lr(sgd(), SHAPE, T), 5)
    optimizer = sgd()
    optimizer.load_state_dict(state)
    optimizer.param_groups[0]["lr"] = 0.01
    scheduler = lambda_lr(optimizer, SHAPE, T)
    optimizer.step()
    with pytest.warns(UserWarning, match=r"was 0.01 when this scheduler was made, and its 'init"):
        scheduler.step()
    run(scheduler, 1)  # Said once.


def test_a_resumed_run_is_not_warned():
    states = saved(lambda_lr(sgd(momentum=0.9), SHAPE, T), 5)
    optimizer = sgd(momentum=0.9)
    optimizer.load_state_dict(states[0])
    scheduler = lambda_lr(optimizer, SHAPE, T)
    scheduler.load_state_dict(states[1])
    run(scheduler, 1)
    assert lrs(optimizer) == [at(6)]


def test_schedulers_made_one_after_the_other_are_not_warned():
    optimizer = sgd()
    parts = [
        LinearLR(optimizer, start_factor=0.1, total_iters=2),
        lambda_lr(optimizer, SHAPE, T),
    ]
    scheduler = SequentialLR(optimizer, parts, [2])
    run(scheduler, 4)
    assert lrs(optimizer) == [at(2)]


@pytest.mark.parametrize("arguments", [{}, {"last_epoch": 5}])
def test_another_rate_than_the_loaded_one(arguments):
    optimizer = sgd(momentum=0.9)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(3)
    states = saved(lambda_lr(optimizer, SHAPE, T), 6)
    optimizer = sgd(lr=0.01, momentum=0.9)
    optimizer.load_state_dict(states[0])
    with pytest.warns(UserWarning, match=r"was 0.01 when it was made, and its loaded state has"):
        lambda_lr(optimizer, SHAPE, T, **arguments)


def resumed(there, here):
    """Go on with a run. The optimizer loads its state before the scheduler is made."""
    there.param_groups[0]["params"][0].grad = torch.ones(3)
    states = saved(lambda_lr(there, SHAPE, T), 3)
    here.load_state_dict(states[0])
    lambda_lr(here, SHAPE, T).load_state_dict(states[1])


@pytest.mark.parametrize(
    ("kind", "there", "here", "firsts"),
    [
        (AdamW, {"lr": 0.1}, {"lr": 0.3}, "[0.1, 0.1]"),
        (AdamW, {"rates": (1e-3, 1e-4)}, {"rates": (1e-4, 1e-5)}, "[0.001, 0.0001]"),
    ],
)
def test_a_new_rate_that_a_loaded_state_replaces(kind, there, here, firsts):
    def made(lr=1e-3, rates=None):
        rates = rates or (lr, lr)
        return kind([{"params": [parameter()], "lr": rate} for rate in rates], lr=lr)

    message = "its loaded state has the first rates " + re.escape(firsts)
    with pytest.warns(UserWarning, match=message) as found:
        resumed(made(**there), made(**here))
    assert len(found) == 1


def test_the_rates_of_groups_are_not_said_to_be_the_default():
    """A loaded state replaces them. Before the load they are compared."""

    def made():
        return AdamW([{"params": [parameter()], "lr": 1e-4}])

    with pytest.warns(UserWarning, match=r"default lr of the optimizer was 0\.001.*\[0\.0001\]"):
        resumed(made(), made())
    states = saved(lambda_lr(made(), SHAPE, T), 3)
    optimizer = made()
    scheduler = lambda_lr(optimizer, SHAPE, T)
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    assert lrs(optimizer) == [pytest.approx(1e-4 * SHAPE(3, T))]


def test_groups_of_their_own_rates_in_a_fresh_sequence_are_not_warned():
    optimizer = sgd({"lr": 0.2}, {"lr": 0.4})
    parts = [LinearLR(optimizer, total_iters=2), lambda_lr(optimizer, SHAPE, T)]
    run(SequentialLR(optimizer, parts, [2]), 2)
    assert lrs(optimizer) == [0.2, 0.4]


def test_layer_scales_that_are_in_the_rates_are_not_applied_twice():
    optimizer = sgd({"lr": 0.05, "lr_scale": 0.5}, {"lr_scale": 1.0})
    scheduler = lambda_lr(optimizer, SHAPE, T)
    assert lrs(optimizer) == [0.05, 0.1]
    run(scheduler, 4)
    assert lrs(optimizer) == [pytest.approx(0.05 * SHAPE(4, T)), at(4)]


@pytest.mark.parametrize(
    "kind", [float, torch.tensor, np.float32], ids=["float", "tensor", "numpy"]
)
def test_layer_scales_in_rates_that_are_rounded(kind):
    optimizer = sgd({"lr": kind(0.1), "lr_scale": 1.0}, {"lr": kind(0.1 * 0.65), "lr_scale": 0.65})
    lambda_lr(optimizer, SHAPE, T)
    assert lrs(optimizer) == [pytest.approx(0.1), pytest.approx(0.065)]


def test_an_added_group_leaves_the_scales_of_the_others():
    """Its own scale is in its rate if the rate is that of the others times the scale."""
    optimizer = sgd({"lr_scale": 1.0}, {"lr": 0.05, "lr_scale": 0.5})
    scheduler = lambda_lr(optimizer, SHAPE, T)
    run(scheduler, 1)
    for added in ({}, {"lr": 0.025}):
        optimizer.add_param_group({"params": [parameter()], "lr_scale": 0.25, **added})
        run(scheduler, 1)
    expected = [factor * 0.1 * SHAPE(3, T) for factor in (1, 0.5, 0.25, 0.25)]
    assert lrs(optimizer) == pytest.approx(expected)
    again = sgd(*({"lr_scale": scale} for scale in (1.0, 0.5, 0.25, 0.25)))
    for group, other in zip(again.param_groups, optimizer.param_groups, strict=True):
        group["lr"] = other["initial_lr"]
    resumed = lambda_lr(again, SHAPE, T)
    resumed.load_state_dict(scheduler.state_dict())
    assert lrs(again) == pytest.approx(expected)


def test_an_added_group_beside_scales_that_are_applied():
    optimizer = sgd({"lr_scale": 1.0}, {"lr_scale": 0.5})
    scheduler = lambda_lr(optimizer, SHAPE, T)
    run(scheduler, 1)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.2, "lr_scale": 0.25})
    run(scheduler, 1)
    assert lrs(optimizer) == pytest.approx([r * SHAPE(2, T) for r in (0.1, 0.05, 0.05)])


def test_layer_scales_beside_equal_rates_are_applied():
    optimizer = sgd({"lr_scale": 0.5}, {"lr_scale": None}, {})
    lambda_lr(optimizer, SHAPE, T)
    assert lrs(optimizer) == [0.05, 0.1, 0.1]


def test_layer_scales_of_numpy_leave_a_safe_state():
    optimizer = sgd({"lr_scale": np.float64(0.5)}, {})
    scheduler = lambda_lr(optimizer, SHAPE, T)
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["_last_lr"] == [0.05, 0.1]


@pytest.mark.parametrize(("lr", "factor"), [({"lr": 0.5}, 5), ({}, 1)])
def test_a_group_added_as_a_copy(lr, factor):
    optimizer = sgd()
    scheduler = lambda_lr(optimizer, SHAPE, T)
    run(scheduler, 5)
    optimizer.add_param_group({**optimizer.param_groups[0], "params": [parameter()], **lr})
    run(scheduler, 1)
    assert lrs(optimizer)[1] == pytest.approx(factor * 0.1 * SHAPE(6, T))


def test_a_rate_edited_in_a_checkpoint_is_not_forgotten_silently():
    states = saved(lambda_lr(sgd(), SHAPE, T), 5)
    states[0]["param_groups"][0]["lr"] = 1e-4
    optimizer = sgd()
    scheduler = lambda_lr(optimizer, SHAPE, T)
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    with pytest.warns(UserWarning, match=r"lr of parameter group 0 is 0.0001"):
        run(scheduler, 1)


@pytest.mark.parametrize("names", [("lr",), ("momentum", "lr"), ("weight_decay", "lr")])
def test_a_setting_that_only_the_saved_scheduler_set(names):
    curve = Schedule(peak_value=0.1)

    def made(*names):
        optimizer = sgd(momentum=0.1, weight_decay=0.1)
        return HyperparamScheduler(optimizer, T, **dict.fromkeys(names, curve))

    _, state = saved(made(*names), 5)
    scheduler = made("weight_decay")
    others = ", ".join(sorted({*names} - {"weight_decay"}))
    with pytest.warns(UserWarning, match=f"^{others} in state_dict was set by the saved") as found:
        scheduler.load_state_dict(state)
    assert found[0].filename == __file__
    assert scheduler.last_epoch == 5
    for name in names:
        del state[f"_last_{name}"]
    scheduler.load_state_dict(state)


def test_equal_functions_that_may_change_stay_two():
    @dataclass
    class Factor:
        number: float = 1.0

        def __call__(self, t, T):
            return self.number

    first, second = Factor(), Factor()
    optimizer = sgd({}, {})
    scheduler = lambda_lr(optimizer, [first, second], T)
    second.number = 0.5
    run(scheduler, 1)
    assert lrs(optimizer) == [0.1, 0.05]


def test_a_second_controller_is_named_once():
    optimizer = sgd()
    scheduler, other = lambda_lr(optimizer, SHAPE, T), ExponentialLR(optimizer, 0.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(5):
            run(scheduler, 1)
            other.step()
    assert len([each for each in caught if "did not set" in str(each.message)]) == 1


def test_a_state_of_fewer_groups():
    _, state = saved(lambda_lr(sgd(), SHAPE, T), 5)
    optimizer = sgd({}, {"lr": 0.3})
    scheduler = lambda_lr(optimizer, SHAPE, T)
    scheduler.load_state_dict(state)
    assert lrs(optimizer) == [at(5), pytest.approx(0.3 * SHAPE(5, T))]
    run(scheduler, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_lrs": [None]}, "base_lrs in state_dict must be a list"),
        ({"base_lrs": ["0.1"]}, "base_lrs in state_dict must be a list"),
        ({"lr_lambdas": [5]}, "lr_lambdas in state_dict must be a list"),
        ({"_last_lr": 5}, "_last_lr in state_dict must be a list; got 5"),
        ({"base_lrs": [0.2]}, r"base_lrs in state_dict must be \[0.1\]"),
    ],
)
def test_a_refused_state_changes_nothing(change, message):
    clock = WallClock(3600)
    clock.pause()
    scheduler = lambda_lr(sgd(), SHAPE, clock)
    scheduler.optimizer.step()
    before = copy.deepcopy(scheduler.state_dict())
    with pytest.raises(ValueError, match=message):
        scheduler.load_state_dict(scheduler.state_dict() | change | {"clock": {"t": 1800.0}})
    assert scheduler.state_dict() == before
    scheduler.step()


@pytest.mark.parametrize(
    ("here", "there"), [(0.3, 0.1 * 3), (0.1, torch.tensor(0.1)), (torch.tensor(0.1), 0.1)]
)
def test_first_rates_that_differ_by_a_rounding_are_one(here, there):
    _, state = saved(lambda_lr(sgd(lr=there), SHAPE, T), 5)
    lambda_lr(sgd(lr=here), SHAPE, T).load_state_dict(state)


def test_the_first_rate_of_a_group_left_alone_does_not_matter():
    _, state = saved(lambda_lr(sgd({}, {"lr": 0.5}), [SHAPE, None], T), 5)
    scheduler = lambda_lr(sgd({}, {"lr": 0.7}), [SHAPE, None], T)
    scheduler.load_state_dict(state)
    assert lrs(scheduler.optimizer) == [at(5), 0.7]


def test_tensors_in_a_list_of_betas_are_not_shared():
    betas = [torch.tensor(0.9), torch.tensor(0.99)]
    groups = [{"params": [parameter()], "betas": betas} for _ in range(2)]
    optimizer = torch.optim.Adam(groups)
    HyperparamScheduler(optimizer, T, momentum=[demon(0.8), None])
    assert [float(group["betas"][0]) for group in optimizer.param_groups] == pytest.approx(
        [0.8, 0.9]
    )


@pytest.mark.parametrize("epoch", [torch.tensor(3.5), np.float32(3.5), 3.5])
def test_between_two_steps(epoch):
    optimizer = sgd()
    lambda_lr(optimizer, SHAPE, T).step(epoch)
    assert lrs(optimizer) == [at(3.5)]


class Wrapper(Optimizer):
    """An optimizer around another one, without the constructor of its base class."""

    def __init__(self, inner):
        self.inner = inner
        self.param_groups, self.state = inner.param_groups, inner.state

    def step(self, closure=None):
        return self.inner.step(closure)


def test_an_optimizer_without_defaults():
    optimizer = Wrapper(sgd())
    run(lambda_lr(optimizer, SHAPE, T), 2)
    assert lrs(optimizer.inner) == [at(2)]


def test_settings_of_an_optimizer_whose_rate_is_none():
    class Relative(SGD):
        """As Adafactor's relative steps."""

        def step(self, closure=None):
            return None

    optimizer = Relative([parameter()], lr=0.1, weight_decay=0.1)
    optimizer.param_groups[0]["lr"] = None
    scheduler = HyperparamScheduler(optimizer, T, weight_decay=Schedule(peak_value=0.1))
    run(scheduler, 2)
    assert optimizer.param_groups[0]["weight_decay"] == at(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lambda_lr(Rprop([parameter()]), SHAPE, T), "lr must be left alone for Rprop"),
        (lambda: lambda_lr(sgd(lr=torch.tensor(1)), SHAPE, T), "a tensor of one float"),
        (
            lambda: lambda_lr(
                sgd(lr=torch.tensor(0.1, requires_grad=True), differentiable=True), SHAPE, T
            ),
            "needs no gradient",
        ),
        (lambda: lambda_lr(sgd(), SHAPE, T, absolute="False"), "absolute must be True or False"),
        (
            lambda: HyperparamScheduler(AliG([parameter()], momentum=0.9), T, momentum=demon(0.9)),
            "optimizer must have an lr in its parameter groups, .* AliG has none",
        ),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, T), "num_warmup_steps must be"),
        ((5, None), "num_training_steps must be"),
        ((5, T, 0.5, "x"), "min_lr_ratio must be"),
    ],
)
def test_errors_name_the_arguments_of_the_caller(arguments, message):
    with pytest.raises(ValueError, match=message):
        get_rex_schedule_with_warmup(sgd(), *arguments)


@pytest.mark.parametrize(
    ("profile", "params"),
    [
        ("geometric", {"ratio": 0.1}),
        ("inverse_sqrt", {"timescale": 5}),
        ("interpolate", {"values": (1.0, 0.5, 0.0)}),
    ],
)
def test_schedule_lr_with_profiles_that_need_a_parameter(profile, params):
    optimizer = sgd()
    run(schedule_lr(optimizer, T, profile=profile, **params), 5)
    assert lrs(optimizer) == [pytest.approx(0.1 * bind(profile, **params)(5, T))]


def test_a_type_error_within_a_schedule_stays_one():
    def broken(t, T):
        return "1" + t

    with pytest.raises(TypeError, match="concatenate"):
        lambda_lr(sgd(), broken, T)
