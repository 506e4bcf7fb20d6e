"""Budgets that change in mid-run, in the state of a BudgetedSchedule, against `Replan`."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import orbax.checkpoint
import pytest
from rex_optax import BudgetedSchedule, replan

from rex_core import (
    Clamp,
    Join,
    Replan,
    Restarts,
    Schedule,
    bind,
    cosine,
    demon,
    every_fraction,
    exponential,
    linear,
    one_minus_sqrt,
    step,
)
from tests.conformance import reference

LARGEST = 2**31 - 1
RATE = Schedule(peak_value=0.1, end_value=0.001, init_value=0.01, warmup_steps=6)
HELD = Schedule(one_minus_sqrt, peak_value=0.3, warmup_ratio=0.1, hold_ratio=0.5)
DECAY = Schedule(cosine, bind(every_fraction, fraction=0.25), peak_value=0.01, end_value=1e-4)
SCHEDULES = {"learning_rate": RATE, "b1": demon(0.9), "b2": HELD, "weight_decay": DECAY}

# The budget at first, and then (when it changes, to what).
CHANGES = {
    "longer": (20, [(8, 45)]),
    "shorter": (40, [(10, 25)]),
    "to the next step": (40, [(10, 11)]),
    "as it is": (30, [(10, 30)]),
    "inside warmup": (30, [(3, 50)]),
    "inside hold": (40, [(12, 60)]),
    "before the first step": (20, [(0, 35)]),
    "twice": (20, [(8, 45), (30, 50)]),
    "twice in a row": (20, [(8, 45), (8, 25)]),
    "there and back, in warmup": (30, [(2, 60), (4, 30)]),
    "many times": (100, [(t, 100 - t if t % 10 else 100 + t) for t in range(5, 40, 5)]),
}


def optimizer():
    schedules = {name: BudgetedSchedule(schedule, 20) for name, schedule in SCHEDULES.items()}
    return optax.inject_hyperparams(optax.adamw)(**schedules)


@pytest.fixture(scope="module")
def step_of():
    """One compiled step for all tests."""
    return jax.jit(lambda state: optimizer().update(jnp.ones(()), state, jnp.zeros(()))[1])


def start(T):
    return optax.tree_utils.tree_set(optimizer().init(jnp.zeros(())), total_steps=jnp.int32(T))


def plan_of(schedule, first, changes):
    """The pure function, and its budget, after the changes."""
    T = first
    for t0, following in changes:
        schedule, T = Replan(schedule, t0, T), following
    return schedule, T


def check(state, t, first, changes):
    for name, schedule in SCHEDULES.items():
        plan, T = plan_of(schedule, first, changes)
        assert float(state.hyperparams[name]) == pytest.approx(plan(t, T), rel=2e-6, abs=1e-7)


@pytest.mark.long
@pytest.mark.parametrize(("first", "changes"), CHANGES.values(), ids=CHANGES)
def test_every_hyperparameter_follows_its_replan(step_of, first, changes):
    state, t = start(first), 0
    leaves = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), state)
    for i, (t0, T) in enumerate(changes):
        while t < t0:
            state = step_of(state)
            check(state, t, first, changes[:i])
            t += 1
        before = step_of(state).hyperparams
        state = replan(state, T)
        for name, value in step_of(state).hyperparams.items():
            assert float(value) == pytest.approx(float(before[name]), rel=2e-6, abs=1e-7)
    while t < T + 2:
        state = step_of(state)
        check(state, t, first, changes)
        t += 1
    for name, schedule in SCHEDULES.items():
        assert state.hyperparams[name] == np.float32(schedule(first, first))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), state) == leaves


def test_one_compilation_serves_all():
    rate = BudgetedSchedule(RATE, 20)
    sgd = optax.inject_hyperparams(optax.sgd)(rate, momentum=BudgetedSchedule(demon(), 20))
    update = jax.jit(lambda state: sgd.update(jnp.ones(()), state)[1])
    state = update(sgd.init(jnp.zeros(())))
    for T in (30, 18, 25, LARGEST):
        state = update(replan(state, T))
        state = update(optax.tree_utils.tree_set(state, total_steps=jnp.int32(T - 2)))
    assert state.count == 9
    assert update._cache_size() == 1


def test_total_steps_set_is_the_same_curve_over_another_budget(step_of):
    """Before any replan that is the schedule; after it, the replan as if it had been to that."""
    state = start(20)
    for _ in range(8):
        state = step_of(state)
    changed = optax.tree_utils.tree_set(state, total_steps=jnp.int32(60))
    check(step_of(changed), 8, 60, [])
    state = step_of(replan(state, 45))
    changed = optax.tree_utils.tree_set(state, total_steps=jnp.int32(25))
    check(step_of(changed), 9, 20, [(8, 25)])
    check(step_of(replan(changed, 50)), 9, 20, [(8, 25), (9, 50)])
    spent = step_of(optax.tree_utils.tree_set(state, total_steps=jnp.int32(5)))
    assert spent.hyperparams["learning_rate"] == np.float32(RATE.end_value)


@pytest.mark.long
def test_a_checkpoint_has_it(step_of, tmp_path):
    state = start(20)
    for t in range(12):
        state = step_of(replan(state, 45) if t == 8 else state)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", start(20))
    restored, state = step_of(restored), step_of(state)
    compilations = step_of._cache_size()
    for t in range(13, 46):
        if t == 30:
            restored, state = replan(restored, 40), replan(state, 40)
        restored, state = step_of(restored), step_of(state)
        assert restored.hyperparams == state.hyperparams
        check(restored, t, 20, [(8, 45), (30, 40)] if t >= 30 else [(8, 45)])
    assert step_of._cache_size() == compilations


def test_a_restored_state_of_numpy_arrays(step_of):
    state = jax.tree.map(np.asarray, step_of(start(1000)))
    check(step_of(replan(replan(state, LARGEST), 2000)), 1, 1000, [(1, LARGEST), (1, 2000)])


@pytest.mark.long
@pytest.mark.parametrize(
    "schedule",
    [
        Join([RATE, Schedule(exponential)], [0.5]),
        Restarts(Schedule(linear, warmup_steps=1.5), 3, period_mult=2),
        Schedule(step, warmup_steps=3),
        Replan(RATE, 5, 40),
        linear,
        bind(exponential, gamma=9.0),
        lambda t, T: jnp.cos(t / T),
        lambda t, T: (T - t) / T,
        Schedule(lambda t, T: 1 - t / T, lambda t, T: t // 2, warmup_steps=3),
    ],
    ids=lambda schedule: getattr(schedule, "__name__", type(schedule).__name__),
)
def test_any_schedule(schedule):
    budgeted = BudgetedSchedule(schedule, 30)
    value = jax.jit(budgeted)
    state = budgeted.init()
    call = jax.jit(schedule)
    for t in (0, 1, 7, 17, 29, 30):
        planned = state._replace(count=jnp.int32(t))
        assert value(planned) == pytest.approx(float(call(t, 30)), rel=3e-7)
    state = replan(state._replace(count=jnp.int32(7)), 45)
    states = jax.vmap(lambda t: state._replace(count=t))(jnp.arange(7, 46))
    expected = jax.jit(jax.vmap(lambda t: Replan(schedule, 7, 30)(t, 45)))(jnp.arange(7, 46))
    np.testing.assert_allclose(jax.jit(jax.vmap(value))(states), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.long
def test_never_replanned_it_is_the_schedule_to_the_last_bit():
    schedules = [linear, RATE, HELD, DECAY, Join([RATE, linear], [0.3])]
    budgets = [1000, 10**6, LARGEST]
    for schedule in schedules:
        budgeted = BudgetedSchedule(schedule, 1000)
        state = budgeted.init()
        value = jax.jit(lambda t, T, f=budgeted, s=state: f(s._replace(count=t, total_steps=T)))
        call = jax.jit(schedule)
        for T in budgets:
            for t in (0, 5, T // 7, T // 2, T - 3, T - 1, T):
                assert value(jnp.int32(t), jnp.int32(T)) == call(jnp.int32(t), jnp.int32(T))


@pytest.mark.long
@pytest.mark.parametrize("x64", [False, True])
def test_the_last_steps_keep_their_digits(x64):
    """Of the longest runs, and after several changes: 2 roundings for each, and those of linear."""
    with jax.enable_x64(x64):
        schedule = BudgetedSchedule(linear, LARGEST - 10)
        value = jax.jit(schedule)
        state, T, left, t0 = schedule.init(), LARGEST - 10, Fraction(LARGEST - 10), 0
        for t, following in [
            (10**9, LARGEST),
            (LARGEST - 10**6, LARGEST - 3),
            (LARGEST - 2000, LARGEST),
        ]:
            state = replan(state._replace(count=jnp.int32(t)), following)
            left, t0, T = left * Fraction(T - t, T - t0), t, following
        for t in range(LARGEST - 1000, LARGEST + 1):
            exact = left * Fraction(T - t, T - t0) / (LARGEST - 10)
            exact = mpmath.mpf(exact.numerator) / exact.denominator
            found = np.float32(value(state._replace(count=jnp.int32(t))))
            assert reference.ulps(np.array([found]), [exact])[0] <= 10
    assert found == 0


@pytest.mark.long
def test_in_a_compiled_loop_and_in_lanes():
    """Traced, a budget that is not above the count leaves nothing; nothing is NaN."""
    schedule = BudgetedSchedule(HELD, 30)
    change = jax.jit(jax.vmap(replan, (None, 0)))
    for t in (0, 1, 10, 29, 30, 31, LARGEST):
        budgets = jnp.array([-LARGEST, -1, 0, 1, t - 1, t, min(t, LARGEST - 1) + 1, LARGEST])
        states = change(schedule.init()._replace(count=jnp.int32(t)), budgets)
        for ahead in (0, 1, 10**6):
            later = states._replace(count=states.count + jnp.int32(min(ahead, LARGEST - t)))
            values = jax.vmap(schedule)(later)
            assert np.all((values >= 0) & (values <= np.float32(0.3)))
            over = (states.total_steps <= t) | (t >= 30)
            assert np.all(np.where(over, values, 0) == 0)
    states = change(schedule.init()._replace(count=jnp.int32(10)), jnp.array([20, 60]))
    values = jax.vmap(schedule)(states._replace(count=jnp.array([15, 35])))
    expected = Replan(HELD, 10, 30)(np.array([15, 35]), np.array([20, 60]))
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_a_budget_of_the_caller_has_no_replan():
    schedule = BudgetedSchedule(RATE, 30)
    state = replan(schedule.init()._replace(count=jnp.int32(12)), 100)
    assert schedule(state, t=8.0, T=20.0) == pytest.approx(RATE(8.0, 20.0))
    assert schedule(state, T=40) == pytest.approx(RATE(12, 40))


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "digits"),
    # Of a float t, t' has 24 bits.
    [(int, 3e-6), (jnp.int32, 3e-6), (np.int64, 3e-6), (float, 3e-5), (jnp.float32, 3e-5)],
)
def test_tokens(kind, digits):
    """What an update is told to be spent is what a replan is told."""
    schedule = BudgetedSchedule(RATE, 1000)
    value = jax.jit(lambda state, t: schedule(state, t=t))
    state, plan, T = schedule.init(), RATE, 1000
    for t, following in [(3, 1000), (400, 2000), (500, 800), (500, 5000)]:
        assert float(value(state, kind(t))) == pytest.approx(plan(t, T), rel=digits)
        state, plan, T = replan(state, following, t=t), Replan(plan, t, T), following
        for later in (t, t + 1, (t + T) // 2, T - 1, T, T + 9):
            expected = pytest.approx(plan(later, T), rel=digits)
            assert float(value(state, kind(later))) == expected
            assert float(schedule(state, t=kind(later))) == expected
    assert value._cache_size() == 1


def test_time_without_a_replan_is_taken_as_it_is():
    schedule = BudgetedSchedule(RATE, 2**20)
    for t in (0.25, 5.125, 2.0**20 - 0.5):
        found = jax.jit(schedule)(schedule.init(), t=jnp.float32(t))
        assert found == jax.jit(RATE)(jnp.float32(t), jnp.float32(2**20))


@pytest.mark.parametrize(
    ("count", "budget", "message"),
    [
        (12, 12, "total_steps must be above t = 12, what is spent; got 12"),
        (12, 7, "total_steps must be above t = 12, what is spent; got 7"),
        (12, 0, r"total_steps must be an integer in \[1, 2147483647\]; got 0"),
        (12, 2**31, "total_steps must be an integer in .*; got 2147483648"),
        (12, 13.5, "total_steps must be an integer in .*; got 13.5"),
        (20, 40, "the old total_steps must be above t, .* got 20, and t = 20"),
    ],
)
def test_budgets_that_are_refused(count, budget, message):
    state = {"rate": BudgetedSchedule(RATE, 20).init()._replace(count=jnp.int32(count))}
    with pytest.raises(ValueError, match=message):
        replan(state, budget)


def test_a_state_without_a_budget_is_refused():
    state = optax.sgd(0.1, momentum=0.9).init(jnp.zeros(3))
    with pytest.raises(ValueError, match="opt_state must have the state of a BudgetedSchedule"):
        replan(state, 100)


def test_a_function_of_ones_own_has_the_digits_of_integers():
    """Between steps it has those of a float32; before a replan it always is at a step."""
    schedule = BudgetedSchedule(lambda t, T: (T - t) / T, LARGEST)
    value = jax.jit(schedule)
    state = schedule.init()._replace(count=jnp.int32(LARGEST - 3))
    assert float(value(state)) == pytest.approx(3 / LARGEST, rel=1e-6)
    assert float(value(replan(state, LARGEST - 2))) == pytest.approx(3 / LARGEST, rel=1e-6)


def test_a_state_that_is_donated():
    """Every array of it is one of its own."""
    optimizer = optax.inject_hyperparams(optax.sgd)(
        BudgetedSchedule(RATE, 20), momentum=BudgetedSchedule(demon(0.9), 20)
    )
    update = jax.jit(optimizer.update, donate_argnums=1)
    params = jnp.ones(3)
    _, state = update(params, optimizer.init(params), params)
    for total_steps in (30, np.int64(40), jnp.int32(50)):
        _, state = update(params, replan(state, total_steps), params)
        assert optax.tree_utils.tree_get_all_with_path(state, "total_steps")[0][1] == total_steps
    set_inside = jax.jit(lambda state, T: optax.tree_utils.tree_set(state, total_steps=T))
    _, state = update(params, set_inside(state, jnp.int32(60)), params)
    assert update._cache_size() == 1


def test_a_function_of_whole_steps_is_refused_at_once():
    table = jnp.linspace(1, 0, 101)
    with pytest.raises(ValueError, match=r"schedule must take a t between two steps.*; got <func"):
        BudgetedSchedule(lambda t, T: table[t], 100)
    schedule = BudgetedSchedule(lambda t, T: table[jnp.floor(t).astype(int)], 100)
    assert jax.jit(schedule)(schedule.init()._replace(count=jnp.int32(7))) == table[7]


def test_shapes_that_are_refused():
    state = BudgetedSchedule(RATE, 20).init()
    with pytest.raises(ValueError, match=r"total_steps must be of a shape that broadcasts to \(\)"):
        replan(state, np.array([30, 40]))
    with pytest.raises(ValueError, match=r"t must be of a shape that broadcasts to \(\)"):
        replan(state, 30, t=np.array([3, 4]))


COOLED = {
    "decay_ratio": Schedule(one_minus_sqrt, peak_value=0.3, warmup_steps=4, decay_ratio=0.2),
    "decay_steps": Schedule(linear, peak_value=0.3, end_value=0.01, decay_steps=9),
    "a third": Schedule(cosine, peak_value=0.3, warmup_ratio=0.05, hold_ratio=1 / 3),
    "clamped": Clamp(Schedule(linear, hold_ratio=0.7), least=0.02),
    "replanned": Replan(Schedule(one_minus_sqrt, warmup_steps=4, decay_ratio=0.3), 17, 50),
    "cooled": Replan(Schedule(linear, decay_ratio=0.3), 20, 50, decay_now=True),
}


@pytest.mark.long
@pytest.mark.parametrize("schedule", COOLED.values(), ids=COOLED)
def test_decay_now(schedule):
    """The budget that was set before counts, and what was replanned before."""
    budgeted = BudgetedSchedule(schedule, 100)
    value = jax.jit(budgeted)
    for T0, t0, T in [(100, 30, 60), (997, 400, 450), (60, 58, 90), (LARGEST, 10**9, 10**9 + 77)]:
        state = budgeted.init()._replace(total_steps=jnp.int32(T0), count=jnp.int32(t0))
        plan, state = Replan(schedule, t0, T0, decay_now=True), replan(state, T, decay_now=True)
        for t in range(t0, T + 2, max(1, (T - t0) // 20)):
            found = value(state._replace(count=jnp.int32(t)))
            assert float(found) == pytest.approx(plan(t, T), rel=1e-6, abs=1e-7)
    assert value._cache_size() == 1


def test_decay_now_after_other_replans_and_before_them(step_of):
    """Of a curve with a hold, and of those without one, for which it changes nothing."""
    schedules = {"learning_rate": HELD, "b1": demon(0.9)}
    factory = optax.inject_hyperparams(optax.adam)
    adam = factory(**{name: BudgetedSchedule(s, 40) for name, s in schedules.items()})
    update = jax.jit(lambda state: adam.update(jnp.ones(()), state, jnp.zeros(()))[1])
    state, T, plans = adam.init(jnp.zeros(())), 40, schedules
    for t in range(60):
        for t0, following, decay_now in [
            (8, 60, False),
            (12, 44, True),
            (12, 50, True),
            (20, 60, 0),
        ]:
            if t == t0:
                state = replan(state, following, decay_now=bool(decay_now))
                plans = {
                    name: Replan(plan, t0, T, decay_now=bool(decay_now))
                    for name, plan in plans.items()
                }
                T = following
        state = update(state)
        for name, plan in plans.items():
            assert float(state.hyperparams[name]) == pytest.approx(plan(t, T), rel=2e-6, abs=1e-7)
    assert update._cache_size() == 1


@pytest.mark.parametrize(
    "schedule",
    [linear, Join([RATE, linear], [0.5]), Restarts(RATE, 2), RATE * linear, lambda t, T: 1 - t / T],
    ids=["profile", "Join", "Restarts", "Product", "function"],
)
def test_decay_now_needs_a_schedule_with_a_decay(schedule):
    state = BudgetedSchedule(schedule, 30).init()._replace(count=jnp.int32(10))
    message = "schedule must be a Schedule, or a Clamp or Replan of one, for decay_now"
    with pytest.raises(ValueError, match=message):
        Replan(schedule, 10, 30, decay_now=True)
    with pytest.raises(ValueError, match=message):
        replan(state, 40, decay_now=True)


def test_decay_now_in_a_warmup_is_refused():
    state = BudgetedSchedule(RATE, 40).init()._replace(count=jnp.int32(5))
    message = "t0 must not be in the warmup, which ends at 6 of T0 = 40, for decay_now; got 5"
    with pytest.raises(ValueError, match=message):
        Replan(RATE, 5, 40, decay_now=True)
    with pytest.raises(ValueError, match=message):
        replan(state, 50, decay_now=True)
    with pytest.raises(ValueError, match="decay_now must be True or False; got 'yes'"):
        replan(state, 50, decay_now="yes")
    found = replan(state._replace(count=jnp.int32(6)), 50, decay_now=True)
    assert BudgetedSchedule(RATE, 40)(found) == np.float32(RATE.peak_value)


def test_decay_now_of_a_schedule_that_is_traced():
    """Its places are not known to the state; its values are."""

    @jax.jit
    def run(warmup):
        schedule = BudgetedSchedule(Schedule(linear, warmup_steps=warmup, hold_ratio=0.5), 30)
        return schedule.init(), schedule(schedule.init()._replace(count=jnp.int32(3)))

    state, value = run(4)
    assert value == np.float32(0.75)
    with pytest.raises(ValueError, match="of plain numbers; got the state of another"):
        replan(state._replace(count=jnp.int32(10)), 40, decay_now=True)


def test_the_phases_are_those_of_the_code_that_runs():
    """A checkpoint of other code has them right after one update."""
    old, new = (
        BudgetedSchedule(Schedule(linear, warmup_steps=w, hold_ratio=0.5), 40) for w in (3, 12)
    )
    state = new.update(old.init()._replace(count=jnp.int32(9)))
    with pytest.raises(ValueError, match="the warmup, which ends at 12 of T0 = 40"):
        replan(state, 50, decay_now=True)
