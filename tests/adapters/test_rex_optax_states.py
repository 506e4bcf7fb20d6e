"""Budgets and counts in the states of real optimizers, trainers and checkpoints."""

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import orbax.checkpoint
import pytest
from flax import nnx
from flax.serialization import from_state_dict, to_state_dict
from flax.training.train_state import TrainState
from rex_optax import BudgetedSchedule, BudgetedState, as_schedule, replan, restart, resume

from rex_core import Replan, Schedule, constant, demon, linear

RATE = Schedule(linear, peak_value=0.1, end_value=0.001, init_value=0.01, warmup_steps=3)
HELD = Schedule(linear, peak_value=0.1, warmup_steps=2, decay_ratio=0.2)
PARAMS = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3)}
tree_set = optax.tree_utils.tree_set


def adam(T, schedule=RATE):
    return optax.inject_hyperparams(optax.adam)(BudgetedSchedule(schedule, T))


def trained(optimizer, steps, state=None, params=PARAMS):
    state = optimizer.init(params) if state is None else state
    update = jax.jit(optimizer.update)
    for _ in range(steps):
        updates, state = update(params, state, params)
        params = optax.apply_updates(params, updates)
    return state


def rate_of(state):
    """The rate of the last update, the same of each optimizer in the state."""
    state = getattr(state, "opt_state", state)
    found = optax.tree_utils.tree_get_all_with_path(state, "learning_rate")
    (rate,) = {float(value) for _, value in found if not isinstance(value, BudgetedState)}
    return rate


def rates(optimizer, state, steps):
    """The rates of so many updates."""
    found = []
    update = jax.jit(optimizer.update)
    for _ in range(steps):
        _, state = update(PARAMS, state, PARAMS)
        found.append(rate_of(state))
    return found


def values(plan, steps, T):
    return pytest.approx([plan(t, T) for t in steps], rel=1e-6, abs=1e-8)


def budgets(state):
    found = optax.tree_utils.tree_get_all_with_path(state, "total_steps")
    return [int(value) for _, value in found]


def counts(state):
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, BudgetedState))
    return [int(leaf.count) for leaf in leaves if isinstance(leaf, BudgetedState)]


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: np.array_equal(x, y), a, b)))


# Each optimizer, with the budget as an argument: where the state of its schedule is nested.
NESTED = {
    "alone": adam,
    "chain": lambda T: optax.chain(optax.clip(1.0), adam(T)),
    "multi_transform": lambda T: optax.multi_transform(
        {"w": adam(T), "b": optax.inject_hyperparams(optax.sgd)(BudgetedSchedule(RATE, T))},
        {"w": "w", "b": "b"},
    ),
    "masked": lambda T: optax.masked(adam(T), {"w": True, "b": False}),
    "MultiSteps": lambda T: optax.MultiSteps(adam(T), 2),
    "apply_if_finite": lambda T: optax.apply_if_finite(adam(T), 3),
    "schedule_free": lambda T: optax.contrib.schedule_free(
        optax.inject_hyperparams(optax.sgd)(BudgetedSchedule(RATE, T)), 0.1
    ),
    "momentum too": lambda T: optax.inject_hyperparams(optax.sgd)(
        BudgetedSchedule(RATE, T), momentum=BudgetedSchedule(demon(0.9), T)
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("make", NESTED.values(), ids=NESTED)
def test_however_deep_the_state_is(make):
    state = trained(make(20), 8)
    (spent,) = {*counts(state)}
    replanned = replan(state, 30)
    assert {*budgets(replanned)} == {30}
    after = trained(make(20), 2, replanned)
    last = counts(after)[0] - 1
    assert rate_of(after) == pytest.approx(Replan(RATE, spent, 20)(last, 30), rel=1e-6)
    resumed = resume(state, make(40).init(PARAMS))
    assert {*budgets(resumed)} == {40}
    assert {*counts(resumed)} == {spent}
    restarted = restart(state, make(40).init(PARAMS))
    assert {*budgets(restarted)} == {40}
    assert {*counts(restarted)} == {0}
    for changed in (replanned, resumed, restarted):
        assert jax.tree.structure(changed) == jax.tree.structure(state)
        assert [(a.shape, a.dtype, a.weak_type) for a in jax.tree.leaves(changed)] == [
            (a.shape, a.dtype, a.weak_type) for a in jax.tree.leaves(state)
        ]


def test_resume_is_the_curve_of_the_code():
    """A finished run goes on; without resume it would train at the end value."""
    state = trained(adam(20), 20)
    assert rate_of(trained(adam(40), 1, state)) == np.float32(RATE.end_value)
    resumed = resume(state, adam(40).init(PARAMS))
    assert rates(adam(40), resumed, 21) == values(RATE, range(20, 41), 40)


def test_resume_keeps_all_but_the_budget():
    state = replan(trained(adam(20), 8), 30)
    state.hyperparams["b1"] = jnp.float32(0.8)
    fresh = adam(40).init(PARAMS)
    resumed = resume(state, fresh)
    assert equal(resumed.inner_state, state.inner_state)
    assert resumed.hyperparams == state.hyperparams
    assert resumed.count == 8
    budgeted, before = (s.hyperparams_states["learning_rate"] for s in (resumed, fresh))
    assert equal(budgeted, before._replace(count=jnp.int32(8)))


@pytest.mark.long
def test_resume_and_replan_go_together():
    """The rest of the curve of the code over another budget, with the places of its phases."""
    state = resume(trained(adam(20), 8), adam(40, HELD).init(PARAMS))
    state = replan(state, 30, decay_now=True)
    plan = Replan(HELD, 8, 40, decay_now=True)
    assert rates(adam(40, HELD), state, 23) == values(plan, range(8, 31), 30)


def test_a_run_that_is_spent_names_the_ways_on():
    with pytest.raises(ValueError, match=r"resume gives .* the code, restart starts a new phase"):
        replan(trained(adam(20), 20), 40)


def test_restart_keeps_the_moments_and_what_corrects_their_bias():
    state = trained(adam(20), 20)
    fresh = adam(10, HELD).init(PARAMS)
    restarted = restart(state, fresh)
    assert equal(restarted.inner_state, state.inner_state)
    assert restarted.inner_state[0].count == 20
    assert equal(restarted._replace(inner_state=()), fresh._replace(inner_state=()))
    assert rates(adam(10, HELD), restarted, 11) == values(HELD, range(11), 10)


def test_restart_takes_the_constants_of_the_new_phase():
    def make(decay):
        return optax.inject_hyperparams(optax.adamw)(BudgetedSchedule(RATE, 20), weight_decay=decay)

    state = trained(make(0.1), 5)
    assert restart(state, make(0.3).init(PARAMS)).hyperparams["weight_decay"] == np.float32(0.3)
    assert resume(state, make(0.3).init(PARAMS)).hyperparams["weight_decay"] == np.float32(0.1)


def test_restart_of_as_schedule():
    optimizer = optax.chain(optax.adam(as_schedule(RATE, 20)), optax.add_decayed_weights(0.0))
    state = trained(optimizer, 20)
    restarted = restart(state, optimizer.init(PARAMS))
    assert restarted[0][1].count == 0
    assert restarted[0][0].count == 20
    assert equal(restarted[0][0], state[0][0])
    injected = optax.inject_hyperparams(optax.sgd)(as_schedule(RATE, 20))
    assert counts_of_wrapped(restart(trained(injected, 7), injected.init(PARAMS))) == 0


def counts_of_wrapped(state):
    return state.hyperparams_states["learning_rate"].count


def test_restart_of_multi_steps_keeps_what_is_accumulated():
    optimizer = optax.MultiSteps(adam(20), every_k_schedule=lambda step: 3)
    state = trained(optimizer, 8)
    restarted = restart(state, optimizer.init(PARAMS))
    assert (restarted.gradient_step, restarted.mini_step) == (0, 2)
    assert equal(restarted.acc_grads, state.acc_grads)


def test_restart_of_a_plateau():
    """The scale that a metric has set belongs to the phase that is over."""
    optimizer = optax.chain(adam(20), optax.contrib.reduce_on_plateau(patience=1, rtol=0.5))
    state = optimizer.init(PARAMS)
    for _ in range(4):
        _, state = optimizer.update(PARAMS, state, PARAMS, value=jnp.float32(1.0))
    assert state[1].scale < 1
    assert restart(state, optimizer.init(PARAMS))[1].scale == 1
    assert resume(state, optimizer.init(PARAMS))[1].scale == state[1].scale


def test_one_compilation_serves_all_three():
    optimizer = adam(20)
    traces = []

    def traced(*arguments):
        traces.append(None)
        return optimizer.update(*arguments)

    update = jax.jit(traced, donate_argnums=1)
    fresh = adam(30).init(PARAMS)
    state = optimizer.init(PARAMS)
    _, state = update(PARAMS, state, PARAMS)
    for change in (
        lambda s: replan(s, 25),
        lambda s: resume(s, fresh),
        lambda s: restart(s, fresh),
        lambda s: replan(replan(s, 40), 60),
        lambda s: resume(jax.tree.map(np.asarray, s), fresh),
    ):
        _, state = update(PARAMS, change(state), PARAMS)
    assert len(traces) == 1
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(fresh))


WRONG = {
    "another optimizer": (
        optax.inject_hyperparams(optax.sgd)(BudgetedSchedule(RATE, 20)),
        r"the structure of fresh: hyperparams/b1 is in opt_state alone; .*; and \d+ more",
    ),
    "another schedule": (
        optax.inject_hyperparams(optax.adam)(as_schedule(RATE, 20)),
        "hyperparams_states/learning_rate/total_steps is in opt_state alone",
    ),
    "one schedule more": (
        optax.inject_hyperparams(optax.adam)(
            BudgetedSchedule(RATE, 20), b1=BudgetedSchedule(constant, 20)
        ),
        "hyperparams_states/b1/count is in fresh alone",
    ),
}


@pytest.mark.parametrize("change", [resume, restart])
@pytest.mark.parametrize(("optimizer", "message"), WRONG.values(), ids=WRONG)
def test_structures_that_differ(change, optimizer, message):
    with pytest.raises(ValueError, match=message):
        change(adam(20).init(PARAMS), optimizer.init(PARAMS))


@pytest.mark.parametrize("change", [resume, restart])
def test_what_else_is_refused(change):
    state, fresh = trained(adam(20), 8), adam(40).init(PARAMS)
    other = {"w": jnp.zeros((5, 3)), "b": jnp.ones(3)}
    message = r"inner_state/0/mu/w has shape \(2, 3\), and \(5, 3\) in fresh"
    with pytest.raises(ValueError, match=message):
        change(state, adam(40).init(other))
    message = "fresh must be the state of tx.init, with counts of 0, and comes second; got 8 for "
    with pytest.raises(ValueError, match=message):
        change(fresh, state)
    sgd = optax.sgd(0.1, momentum=0.9).init(PARAMS)
    with pytest.raises(ValueError, match="fresh must have the state of a"):
        change(sgd, sgd)
    abstract = jax.eval_shape(adam(40).init, PARAMS)
    with pytest.raises(ValueError, match="fresh must have arrays; got ShapeDtypeStruct"):
        change(state, abstract)


def test_a_train_state():
    network = flax.linen.Dense(3)
    params = network.init(jax.random.key(0), jnp.ones((1, 2)))

    def create(T):
        return TrainState.create(apply_fn=network.apply, params=params, tx=adam(T))

    step = jax.jit(lambda state: state.apply_gradients(grads=state.params))
    state = create(20)
    for _ in range(8):
        state = step(state)
    compilations = step._cache_size()
    again = step(replan(state, 30))
    assert rate_of(again) == pytest.approx(RATE(8, 20), rel=1e-6)
    for change, t in ((resume, 8), (restart, 0)):
        for fresh in (create(40), create(40).opt_state):
            found = change(state, fresh)
            assert isinstance(found, TrainState)
            assert found.step == 8
            assert found.tx is state.tx
            assert equal(found.params, state.params)
            assert rate_of(step(found)) == pytest.approx(RATE(t, 40), rel=1e-6)
    assert step._cache_size() == compilations


# nnx


class Model(nnx.Module):
    def __init__(self, rngs):
        self.inner = nnx.Linear(2, 3, rngs=rngs)
        self.outer = nnx.Linear(3, 1, rngs=rngs)

    def __call__(self, x):
        return self.outer(nnx.relu(self.inner(x)))


def nnx_optimizer(T, schedule=RATE, make=adam):
    model = Model(nnx.Rngs(0))
    return model, nnx.Optimizer(model, make(T, schedule), wrt=nnx.Param)


@nnx.jit
def nnx_step(model, optimizer):
    grads = nnx.grad(lambda model: jnp.square(model(jnp.ones((4, 2))) - 1).mean())(model)
    optimizer.update(model, grads)


def variables(tree):
    return jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, nnx.Variable))


def nnx_rate(optimizer):
    return float(optimizer.opt_state.hyperparams["learning_rate"][...])


@pytest.mark.parametrize("whole", [True, False], ids=["optimizer", "opt_state"])
def test_an_nnx_optimizer(whole):
    model, optimizer = nnx_optimizer(20, HELD)
    other = nnx_optimizer(40, HELD)[1]
    fresh = other if whole else other.opt_state
    for _ in range(6):
        nnx_step(model, optimizer)
    held = variables(optimizer)
    once = Replan(HELD, 6, 20)
    twice = Replan(once, 9, 30, decay_now=True)
    for change, plan, t, T in (
        (lambda state: replan(state, 30), once, 6, 30),
        (lambda state: replan(state, 50, decay_now=True), twice, 9, 50),
        (lambda state: resume(state, fresh), HELD, 12, 40),
        (lambda state: restart(state, fresh), HELD, 0, 40),
        (lambda state: replan(state, 60), Replan(HELD, 3, 40), 3, 60),
    ):
        given = optimizer if whole else optimizer.opt_state
        moments = [v[...].copy() for v in variables(optimizer.opt_state.inner_state)]
        assert change(given) is given
        assert all(a is b for a, b in zip(variables(optimizer), held, strict=True))
        assert equal([v[...] for v in variables(optimizer.opt_state.inner_state)], moments)
        for ahead in range(3):
            nnx_step(model, optimizer)
            assert nnx_rate(optimizer) == pytest.approx(plan(t + ahead, T), rel=1e-6)


def test_an_nnx_optimizer_is_changed_as_a_whole_or_not_at_all():
    def make(T, schedule):
        return optax.inject_hyperparams(optax.sgd)(
            BudgetedSchedule(HELD, T), momentum=BudgetedSchedule(linear, T)
        )

    model, optimizer = nnx_optimizer(20, make=make)
    for _ in range(3):
        nnx_step(model, optimizer)
    before = nnx.to_pure_dict(nnx.state(optimizer))
    with pytest.raises(ValueError, match="schedule must be a Schedule"):
        replan(optimizer, 30, decay_now=True)
    assert equal(nnx.to_pure_dict(nnx.state(optimizer)), before)


def test_in_a_compiled_function_of_nnx():
    model, optimizer = nnx_optimizer(20)

    @nnx.jit
    def change(optimizer, T):
        replan(optimizer, T)

    for _ in range(5):
        nnx_step(model, optimizer)
    change(optimizer, 30)
    nnx_step(model, optimizer)
    assert nnx_rate(optimizer) == pytest.approx(Replan(RATE, 5, 20)(5, 30), rel=1e-6)


def test_a_checkpoint_of_nnx(tmp_path):
    model, optimizer = nnx_optimizer(20)
    for _ in range(20):
        nnx_step(model, optimizer)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state((model, optimizer)))
        checkpointer.wait_until_finished()
        again = nnx_optimizer(40)
        restored = checkpointer.restore(tmp_path / "state", nnx.state(again))
    nnx.update(again, restored)
    model, optimizer = again
    fresh = adam(40).init(nnx.state(model, nnx.Param))
    assert resume(optimizer, fresh) is optimizer
    for t in (20, 21):
        nnx_step(model, optimizer)
        assert nnx_rate(optimizer) == pytest.approx(RATE(t, 40), rel=1e-6)


# Checkpoints


def as_orbax_gives_it(state, path):
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(path / "state")


@pytest.mark.long
@pytest.mark.parametrize("make", NESTED.values(), ids=NESTED)
def test_a_checkpoint_restored_without_a_target(make, tmp_path):
    """Dictionaries and lists take the structure of fresh."""
    state, fresh = trained(make(20), 6), make(40).init(PARAMS)
    restored = as_orbax_gives_it(state, tmp_path)
    assert equal(resume(restored, fresh), resume(state, fresh))
    assert equal(restart(restored, fresh), restart(state, fresh))
    structures = [jax.tree.structure(resume(each, fresh)) for each in (restored, state)]
    assert structures[0] == structures[1]
    assert equal(replan(resume(restored, fresh), 50), replan(resume(state, fresh), 50))


def test_flax_serialization_and_numpy():
    state, fresh = trained(adam(20), 6), adam(40).init(PARAMS)
    as_dictionaries = to_state_dict(state)
    as_numpy = jax.tree.map(np.asarray, state)
    for restored in (as_dictionaries, as_numpy, from_state_dict(fresh, as_dictionaries)):
        assert equal(resume(restored, fresh), resume(state, fresh))
        replanned = jax.tree.leaves(replan(restored, 30))
        assert len(replanned) == len(jax.tree.leaves(state))
        assert sum(np.array_equal(leaf, 30) for leaf in replanned) == 1


# What breaks a state, and the ways of other optimizers


@pytest.mark.parametrize("jitted", [True, False])
@pytest.mark.parametrize("value", [0.01, jnp.float32(0.01)])
def test_tree_set_of_a_scheduled_rate_is_refused_at_the_next_update(value, jitted):
    optimizer = adam(20)
    state = tree_set(trained(optimizer, 3), learning_rate=value)
    update = jax.jit(optimizer.update) if jitted else optimizer.update
    with pytest.raises(ValueError, match=r"tree_set\(opt_state, learning_rate=...\) overwrites"):
        update(PARAMS, state, PARAMS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_steps": 2000.0}, r"total_steps of the state must be an integer, .*; got 2000.0"),
        ({"total_steps": jnp.float32(2000)}, "total_steps of the state must be an integer"),
        ({"total_steps": 0}, r"total_steps of the state must be an integer in \[1, .*; got 0"),
        ({"total_steps": np.int64(2**31)}, "total_steps of the state must be .*; got .*2147483648"),
    ],
    ids=str,
)
def test_numbers_set_in_a_state_are_checked(changes, message):
    state = tree_set(adam(20).init(PARAMS), **changes)
    with pytest.raises(ValueError, match=message):
        adam(20).update(PARAMS, state, PARAMS)


def test_a_rate_that_is_no_schedule_can_be_set():
    optimizer = optax.inject_hyperparams(optax.adam)(0.1)
    state = tree_set(trained(optimizer, 3), learning_rate=jnp.float32(0.01))
    assert rate_of(trained(optimizer, 1, state)) == np.float32(0.01)


@pytest.mark.parametrize("make", [as_schedule, BudgetedSchedule])
@pytest.mark.parametrize(
    "schedule",
    [BudgetedSchedule(RATE, 20), as_schedule(RATE, 20), optax.cosine_decay_schedule(0.1, 20)],
    ids=["BudgetedSchedule", "as_schedule", "optax"],
)
def test_what_is_already_a_schedule_of_optax_is_refused(make, schedule):
    with pytest.raises(ValueError, match=r"schedule must be a function of \(t, T\)"):
        make(schedule, 20)


def finite(optimizer, steps=20):
    params, state = PARAMS, optimizer.init(PARAMS)
    update = jax.jit(optimizer.update)
    for _ in range(steps):
        updates, state = update(params, state, params)
        params = optax.apply_updates(params, updates)
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((params, state)))


ADAPTIVE = {
    "prodigy": optax.contrib.prodigy,
    "dadapt_adamw": optax.contrib.dadapt_adamw,
}


@pytest.mark.long
@pytest.mark.parametrize("factory", ADAPTIVE.values(), ids=ADAPTIVE)
def test_a_first_rate_of_zero_and_optimizers_that_find_the_rate(factory):
    """What the docstrings say: NaN from 0, and all is well from an init_value above 0."""
    from_zero = Schedule(peak_value=1.0, warmup_ratio=0.25)
    above = from_zero.replace(init_value=0.01)
    inject = optax.inject_hyperparams(factory)
    for make in (
        lambda schedule: factory(as_schedule(schedule, 20)),
        lambda schedule: inject(BudgetedSchedule(schedule, 20)),
    ):
        assert not finite(make(from_zero))
        assert finite(make(above))
        assert finite(make(Schedule(peak_value=1.0)))


def test_prodigys_safeguard():
    schedule = as_schedule(Schedule(peak_value=1.0, warmup_ratio=0.25), 20)
    assert finite(optax.contrib.prodigy(schedule, safeguard_warmup=True))


def test_schedule_free_takes_a_warmup_from_zero():
    schedule = as_schedule(Schedule(constant, peak_value=0.1, warmup_steps=5), 20)
    assert finite(optax.contrib.schedule_free(optax.sgd(schedule), schedule))
    assert finite(optax.contrib.schedule_free_adamw(schedule))


def test_adafactor_has_arguments_that_must_be_static():
    schedule = BudgetedSchedule(RATE, 20)
    params = {"w": jnp.ones((130, 140))}
    optimizer = optax.inject_hyperparams(optax.adafactor)(schedule)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        trained(optimizer, 1, params=params)
    inject = optax.inject_hyperparams(
        optax.adafactor, static_args=("min_dim_size_to_factor", "dtype_momentum")
    )
    for momentum in (None, 0.9):
        optimizer = inject(schedule, momentum=momentum)
        state = replan(trained(optimizer, 8, params=params), 30)
        state = trained(optimizer, 1, state, params)
        assert rate_of(state) == pytest.approx(RATE(8, 20), rel=1e-6)


# Several devices


@pytest.mark.long
def test_states_of_several_devices_stacked():
    """As pmap and vmap have them: one state for each."""
    optimizer = adam(20)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), optimizer.init(PARAMS))
    params = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), PARAMS)
    update = jax.jit(jax.vmap(optimizer.update))
    _, many = update(params, many, params)
    fresh = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), adam(40).init(PARAMS))
    for state in (replan(many, 30), replan(many, jnp.array([30, 30, 30])), resume(many, fresh)):
        _, state = update(params, state, params)
        T = int(state.hyperparams_states["learning_rate"].total_steps[0])
        plan = RATE if T == 40 else Replan(RATE, 1, 20)
        np.testing.assert_allclose(state.hyperparams["learning_rate"], [plan(1, T)] * 3, rtol=1e-6)
    assert update._cache_size() == 1
