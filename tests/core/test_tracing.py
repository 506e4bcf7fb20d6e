"""t, T and the numbers of a schedule under jit, vmap, grad and scan."""

import re

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest
import rex_optax  # noqa: F401  Registers the pytrees.
import torch

from rex_core import (
    Join,
    Restarts,
    Schedule,
    at,
    bind,
    cosine,
    every,
    every_fraction,
    exponential,
    linear,
    one_minus_sqrt,
    polynomial,
    rex,
    step,
)
from tests.core.cases import LARGEST, PLAIN, PROFILES, SAMPLINGS, SCHEDULES, name, together

STEPS = np.array([-7, -1, 0, 1, 9, 10, 11, 37, 50, 90, 99, 100, 101, 250])
T = 100

EVERYTHING = together([*PROFILES, *SAMPLINGS, *SCHEDULES])


@pytest.fixture
def compilations():
    """The compilations of XLA since the test began."""
    seen = []

    def listen(event, duration, **info):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(info)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def test_one_compilation_serves_every_budget(compilations):
    traces = []

    @jax.jit
    def step(t, T):
        traces.append((t, T))
        return EVERYTHING(t, T)

    step(jnp.int32(0), jnp.int32(10))
    assert len(traces) == 1
    assert compilations
    compilations.clear()
    for budget in (10, 11, 99, 1000, 12345, 10**6, 2**24 + 3, 2**30, LARGEST):
        for t in (0, budget // 2, budget):
            step(np.int32(t), np.int32(budget))
    assert len(traces) == 1
    assert compilations == []


def test_one_compilation_serves_every_peak_and_floor(compilations):
    traces = []

    @jax.jit
    def step(schedule, t, T):
        traces.append(schedule)
        return schedule(t, T)

    step(PLAIN.replace(peak_value=1.0), 3, 10)
    compilations.clear()
    for peak, end, warmup in [(0.1, 0.0, 3), (0.3, 0.01, 7), (1e-4, 1e-6, 5)]:
        schedule = PLAIN.replace(peak_value=peak, end_value=end, warmup_steps=warmup)
        for budget in (10, 99, 1000):
            assert step(schedule, 8, budget) == pytest.approx(schedule(8, budget), rel=1e-6)
    assert len(traces) == 1
    assert compilations == []


# A schedule of one number, and values of that number.
SWEEPS = {
    "peak_value": (lambda x: PLAIN.replace(peak_value=x), [0.1, 0.3, 3.0]),
    "end_value": (lambda x: PLAIN.replace(end_value=x), [0.0, 0.1, 1.0]),
    "init_value": (lambda x: PLAIN.replace(init_value=x), [0.0, 0.1, 1.0]),
    "warmup_steps": (lambda x: PLAIN.replace(warmup_steps=x), [0, 1, 10, 50]),
    "warmup_ratio": (lambda x: Schedule(init_value=0.1, warmup_ratio=x), [0.0, 0.07, 0.1, 0.5]),
    "hold_ratio": (lambda x: Schedule(cosine, hold_ratio=x), [0.0, 0.1, 0.29, 0.5]),
    "beta": (lambda x: Schedule(bind(rex, beta=x), warmup_steps=10), [-3.0, 0.0, 0.5, 0.9]),
    "gamma": (lambda x: Schedule(bind(exponential, gamma=x)), [0.0, 0.7, 9.3]),
    "power": (lambda x: Schedule(bind(polynomial, power=x)), [0.5, 1.0, 2.7]),
    "factor": (lambda x: Schedule(bind(step, factor=x)), [0.0, 0.1, 1.0]),
    "steps": (lambda x: Schedule(rex, bind(every, steps=x)), [1, 7, 30]),
    "fraction": (lambda x: Schedule(rex, bind(every_fraction, fraction=x)), [0.05, 1 / 3, 0.7]),
    "join": (lambda x: Join([PLAIN, Schedule(peak_value=x)], [0.5]), [0.1, 2.0]),
    "restarts": (lambda x: Restarts(Schedule(peak_value=x), 3, peak_mult=0.5), [0.1, 2.0]),
    "peak_mult": (lambda x: Restarts(Schedule(), 3, peak_mult=x), [0.5, 1.0, 2.0]),
}


@pytest.fixture(params=SWEEPS)
def sweep(request):
    make, values = SWEEPS[request.param]
    expected = [[make(value)(t, T) for t in STEPS.tolist()] for value in values]
    # 1e-7: the last digit of a factor near 0 that was a difference of numbers near 1.
    return make, values, lambda swept: np.testing.assert_allclose(swept, expected, 2e-6, 1e-7)


@pytest.mark.long
def test_vmap_over_a_schedule_built_inside(sweep):
    make, values, check = sweep
    check(jax.jit(jax.vmap(lambda value: make(value)(jnp.array(STEPS), T)))(jnp.array(values)))


@pytest.mark.long
def test_vmap_over_a_stack_of_schedules(sweep):
    make, values, check = sweep
    stack = jax.tree.map(lambda *leaves: jnp.array(leaves), *map(make, values))
    check(jax.jit(jax.vmap(lambda schedule: schedule(jnp.array(STEPS), T)))(stack))


def test_arrays_of_numbers_are_stacks_too(sweep):
    make, values, check = sweep
    check(make(np.array(values)[:, None])(STEPS, T))


@pytest.mark.parametrize(("make", "values"), SWEEPS.values(), ids=SWEEPS)
def test_numpy_steps_mix_with_a_traced_number(make, values):
    """Wherever the number stands, be it in a bound profile of a schedule of a join."""
    steps = np.array([5, 30])
    value = jax.jit(lambda x: make(x)(steps, T))(values[-1])
    expected = [make(values[-1])(t, T) for t in steps.tolist()]
    np.testing.assert_allclose(value, expected, rtol=2e-6)


@pytest.mark.parametrize("array", [jnp.float32, torch.tensor], ids=["jax", "torch"])
def test_numpy_steps_mix_with_a_known_number(array):
    for schedule in (
        Schedule(bind(rex, beta=array(0.5)), warmup_steps=5),
        Schedule(linear, peak_value=array(0.5)),
        Schedule(rex, bind(every, steps=array(2))),
        Join([Schedule(peak_value=array(0.5)), rex], [0.5]),
        Restarts(Schedule(bind(exponential, gamma=array(2.0))), 2),
    ):
        assert isinstance(schedule(STEPS, T), type(array(1)))


def test_one_program_sweeps_everything():
    peaks, betas, warmups = (
        jnp.array([0.1, 1.0, 0.3]),
        jnp.array([0.0, 0.5, 0.9]),
        jnp.array([0, 5, 9]),
    )
    ends, budgets = jnp.array([0.0, 1e-3, 0.1]), jnp.array([10, 100, 1000])

    @jax.jit
    @jax.vmap
    def values(peak, beta, warmup, end, budget):
        schedule = Schedule(
            bind(rex, beta=beta), peak_value=peak, end_value=end, warmup_steps=warmup
        )
        return schedule(STEPS, budget)

    expected = [
        [
            Schedule(bind(rex, beta=b), peak_value=p, end_value=e, warmup_steps=w)(t, budget)
            for t in STEPS.tolist()
        ]
        for p, b, w, e, budget in zip(
            *(x.tolist() for x in (peaks, betas, warmups, ends, budgets)), strict=True
        )
    ]
    swept = values(peaks, betas, warmups, ends, budgets)
    np.testing.assert_allclose(swept, expected, rtol=2e-6, atol=1e-7)


def gradient_cases():
    """A value of t and one number, and where to differentiate by the number."""

    def schedule(p):
        return PLAIN.replace(warmup_steps=10, hold_ratio=0.1, **p)

    yield "peak_value", lambda t, x: schedule({"peak_value": x})(t, T), [0.1, 2.0]
    yield "end_value", lambda t, x: schedule({"end_value": x})(t, T), [0.0, 0.3]
    yield "init_value", lambda t, x: schedule({"init_value": x})(t, T), [0.0, 0.3]
    yield "beta", lambda t, x: rex(t, T, beta=x), [-3.0, 0.0, 0.5, 0.9]
    yield "bound", lambda t, x: Schedule(bind(rex, beta=x), warmup_steps=10)(t, T), [0.0, 0.9]
    yield "gamma", lambda t, x: exponential(t, T, gamma=x), [0.1, 3.0, 9.3]
    yield "power", lambda t, x: polynomial(t, T, power=x), [0.5, 1.0, 2.0, 2.7]
    yield "factor", lambda t, x: step(t, T, factor=x), [0.1, 0.5]
    yield "peak_mult", lambda t, x: Restarts(Schedule(), 3, peak_mult=x)(t, T), [0.5, 2.0]


@pytest.mark.long
@pytest.mark.parametrize(
    ("function", "places"), [pytest.param(f, x, id=n) for n, f, x in gradient_cases()]
)
def test_gradients_by_numbers(function, places):
    places = np.array(places)

    def slopes():
        gradient = jax.vmap(jax.grad(function, argnums=1), (None, 0))
        return jax.jit(jax.vmap(gradient, (0, None)))(jnp.array(STEPS), jnp.array(places))

    single = slopes()
    with jax.enable_x64(True):
        exact = slopes()
        h = 1e-5
        # NumPy's float64 takes the differences: another road than the one differentiated.
        up, down = (
            np.stack([function(STEPS, x + side) for x in places], axis=1) for side in (h, -h)
        )
    np.testing.assert_allclose(exact, (up - down) / (2 * h), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(single, exact, rtol=1e-4, atol=1e-6)


SMOOTH = [rex, bind(rex, beta=-3.0), linear, cosine, exponential, polynomial]
SMOOTH += [bind(polynomial, power=2.7), one_minus_sqrt]
INSIDE = np.array([1e-3, 1.0, 3.7, 5.0, 9.0, 9.999])


def test_gradients_by_time():
    slope = jax.jit(jax.vmap(jax.jacfwd(together(SMOOTH)), (0, None)))
    assert all(np.all(np.isfinite(slopes)) for slopes in slope(INSIDE, 10.0).values())
    with jax.enable_x64(True):
        slopes, h = slope(INSIDE, 10.0), 1e-6
    for profile in SMOOTH:
        difference = (profile(INSIDE + h, 10.0) - profile(INSIDE - h, 10.0)) / (2 * h)
        np.testing.assert_allclose(slopes[name(profile)], difference, rtol=1e-5)


def test_gradients_by_time_outside_the_budget():
    """The value is held there, even where the slope at the end is infinite."""
    profiles = [*SMOOTH, bind(polynomial, power=0.5)]
    outside = jnp.array([-1e9, -1.0, -1e-3, 10.001, 11.0, 1e9])
    slopes = jax.jit(jax.vmap(jax.jacrev(together(profiles)), (0, None)))(outside, 10.0)
    assert {case: slope.tolist() for case, slope in slopes.items()} == {
        name(profile): [0.0] * 6 for profile in profiles
    }


def test_gradient_by_the_budget():
    """How much a longer budget changes the value now: t/T^2 for a linear decay."""
    slope = jax.grad(linear, argnums=1)(3.0, 10.0)
    assert slope == pytest.approx(0.03, rel=1e-6)


@pytest.mark.long
def test_gradients_by_the_budget_are_finite_at_its_ends():
    """Where a power or a root of 0 has no slope."""
    roots = [bind(polynomial, power=0.5), bind(polynomial, power=1.0)]
    slope = jax.jit(jax.vmap(jax.jacrev(together([*SMOOTH, *roots]), argnums=1), (0, None)))
    for case, slopes in slope(jnp.array([-1.0, 0.0, 10.0, 11.0]), 10.0).items():
        assert np.all(np.isfinite(slopes)), case
    warmups = jax.vmap(jax.grad(lambda w: Schedule(polynomial, warmup_steps=w)(10.0, 10.0)))
    assert np.all(np.isfinite(warmups(jnp.array([0.0, 1.0, 5.0]))))


@pytest.mark.parametrize("function", SMOOTH[:6], ids=name)
def test_gradients_in_torch(function):
    t = torch.tensor([0.5, 3.0, 9.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: function(t, 10), t)
    peak = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    schedule = PLAIN.replace(profile=function)
    steps = torch.tensor([-1, 0, 2, 50, 100, 101], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: schedule.replace(peak_value=p)(steps, T), peak)


def test_gradient_by_beta_in_torch():
    beta = torch.tensor([-3.0, 0.0, 0.9], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([[0.0], [50.0], [100.0], [101.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda b: rex(t, T, beta=b), beta)


def test_scan_keeps_the_types_of_its_carry():
    schedule = Schedule(cosine, warmup_ratio=0.1, end_value=0.01)

    def update(carry, _):
        t, budget, weight = carry
        rate = schedule(t, budget)
        return (t + 1, budget, weight - rate * weight), rate

    @jax.jit
    def train(budget):
        start = (jnp.int32(0), jnp.int32(budget), jnp.float32(1.0))
        return jax.lax.scan(update, start, length=60)

    for budget in (20, 60, 61):
        (t, _, weight), rates = train(budget)
        assert t == 60
        assert weight.dtype == rates.dtype == jnp.float32
        np.testing.assert_allclose(rates, [schedule(t, budget) for t in range(60)], 1e-6, 1e-8)


def test_while_loop_until_the_rate_is_zero():
    for budget in (3, 10, 999):
        steps = jax.lax.while_loop(
            lambda t, T=budget: linear(t, T) > 0, lambda t: t + 1, jnp.int32(0)
        )
        assert steps == budget


def test_a_donated_schedule():
    """Its numbers are buffers like any other: a sweep may overwrite them."""
    train = jax.jit(
        lambda schedule, t: (jax.tree.map(lambda leaf: leaf * 1, schedule), schedule(t, T)),
        donate_argnums=0,
    )
    schedule = jax.tree.map(jnp.asarray, PLAIN)
    for t in range(5):
        schedule, value = train(schedule, t)
        assert value == pytest.approx(PLAIN(t, T), rel=1e-6)


@pytest.mark.long
def test_no_64_bit_type_without_x64():
    steps = jax.ShapeDtypeStruct((5,), jnp.int32)
    lowered = jax.jit(EVERYTHING).lower(steps, steps)
    assert all(out.dtype.itemsize == 4 for out in jax.tree.leaves(lowered.out_info))
    program = lowered.compile().as_text()
    assert re.search(r"\b[fsu]32\[", program)
    assert not re.search(r"\b[fsu]64\[", program)


def test_x64_counts_beyond_int32():
    with jax.enable_x64(True):
        budget = 10**15
        left = jax.jit(linear)(jnp.int64(budget - 1), budget)
        assert left.dtype == jnp.float64
        assert left == 1 / budget
        moment = jax.jit(lambda t: at(t, budget, milestones=(0.7,)))
        assert [int(moment(7 * 10**14 + i)) for i in (-1, 0)] == [0, 7 * 10**14]


def test_gradients_are_schedules_too():
    """Whatever is in the place of a ratio: a slope is no fraction, and may be NaN."""
    for schedule in (
        Schedule(init_value=0.1, warmup_ratio=0.5, hold_ratio=0.25),
        Schedule(bind(rex, beta=0.9), peak_value=0.1, hold_ratio=0),
        Join([Schedule(warmup_ratio=0.1), linear], [0.5]),
    ):
        slopes = jax.jit(jax.grad(lambda s: s(30.0, 100.0), allow_int=True))(schedule)
        assert jax.tree.structure(slopes) == jax.tree.structure(schedule)
        leaves = [leaf for leaf in jax.tree.leaves(slopes) if leaf.dtype == jnp.float32]
        assert np.all(np.isfinite(leaves))
        for number in (np.nan, np.inf, -0.3):
            mapped = jax.tree.map(lambda _, n=number: n, schedule)
            assert jax.tree.structure(mapped) == jax.tree.structure(schedule)


def test_whole_numbers_for_ratios_are_arguments_like_others():
    call = jax.jit(lambda schedule, t, T: schedule(t, T))
    for schedule in (Schedule(warmup_ratio=0), Schedule(hold_ratio=0, warmup_ratio=0.1)):
        assert call(schedule, 3, 10) == pytest.approx(schedule(3, 10), rel=1e-6)


def test_a_beta_that_is_1_when_it_is_traced():
    """It counts as the largest float below 1."""
    below = np.nextafter(np.float32(1), np.float32(0))
    for t in (0, 50, 100):
        value = jax.jit(lambda t, b: rex(t, 100, beta=b))(t, 1 - 1e-9)
        assert value == rex(jnp.int32(t), 100, beta=below)
        assert value == pytest.approx(0.0 if t == 100 else 1.0, rel=2.0**-23)


NO_BUDGETS = [0, -5, -(2**31), 0.0, -1.0, np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("budget", NO_BUDGETS)
def test_a_traced_budget_that_is_none_counts_as_spent(budget):
    for schedule, end in [
        (linear, 0),
        (Schedule(end_value=0.25, init_value=0.5, warmup_steps=10), 0.25),
        (Schedule(end_value=0.25, init_value=0.5, warmup_ratio=0.5), 0.25),
        (Join([lambda t, T: 1.0 + 0.0 * linear(t, T), Schedule(end_value=0.25)], [0.5]), 0.25),
        (Restarts(Schedule(end_value=0.25), 3), 0.25),
    ]:
        for t in (0, 5, 50):
            assert jax.jit(schedule)(t, budget) == end


def test_whole_floats_of_warmup_are_counts():
    """A float32 detour would lose the last steps beyond 2^24."""
    T = 10**8
    for warmup in (jnp.array([10.0]), np.array([10.0]), torch.tensor([10.0])):
        schedule = Schedule(linear, warmup_steps=warmup)
        for t in (jnp.int32(T - 1), T - 1) if isinstance(warmup, jax.Array) else (T - 1,):
            assert float(schedule(t, T)[0]) == pytest.approx(1 / (T - 10), rel=1e-6)
