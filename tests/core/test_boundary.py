"""Shares of a budget: exact for every ratio up to the denominator that is stated."""

import math
import sys
import time
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rex_core import Join, Restarts, Schedule, at, bind, constant, every_fraction, step
from rex_core.boundary import MAX_DENOMINATOR, MAX_MILESTONES, Boundary, meant
from tests.core.cases import LARGEST

LIMIT = 2**26


def none(t, T):
    return 0.0 * constant(t, T)


drop = bind(step, milestones=(1,), factor=0.0)  # 1 at the start, 0 from the first step on.


DENOMINATORS = st.integers(2, 1000) | st.integers(2, LIMIT) | st.integers(LIMIT - 1000, LIMIT)
# Any of them, small ones, and those near 1, where doubles have the largest distances.
RATIOS = DENOMINATORS.flatmap(
    lambda d: (
        st.integers(1, d - 1)
        | st.integers(1, min(d - 1, 1000))
        | st.integers(max(1, d - 1000), d - 1)
    ).map(lambda n: Fraction(n, d))
)


def budget_for(ratio, rest, many):
    """A budget T with n·T = rest (mod d): at a whole step, or a hair beside one."""
    n, d = ratio.numerator, ratio.denominator
    T = rest * pow(n, -1, d) % d
    return min(T + d * (many % max((LARGEST - T) // d, 1)), LARGEST) or d


CASES = st.tuples(RATIOS, st.sampled_from([0, 1, -1, 2]), st.integers(0, 2**31)).map(
    lambda case: (case[0], budget_for(*case))
)


def test_the_stated_limit():
    assert MAX_DENOMINATOR == LIMIT


@pytest.mark.long
@given(RATIOS)
@example(Fraction(LIMIT - 2, LIMIT - 1))
@example(Fraction(LIMIT // 2, LIMIT - 1))
@example(Fraction(1, LIMIT))
@settings(max_examples=1000)
def test_every_ratio_is_its_own_meaning(ratio):
    assert meant(float(ratio)) == ratio
    assert meant(np.float64(ratio)) == ratio
    assert meant(ratio) == ratio


def test_neighbours_are_told_apart():
    """The ratios that are closest to each other: n/d and n'/d' with |n·d' - n'·d| = 1."""
    random = np.random.default_rng(0)
    for _ in range(2000):
        d = int(random.integers(LIMIT // 2, LIMIT))
        n = int(random.integers(d // 2, d))
        if math.gcd(n, d) != 1:
            continue
        # The neighbour of largest denominator.
        other = pow(n, -1, d)
        other += (LIMIT - other) // d * d
        neighbour = Fraction((n * other - 1) // d, other)
        assert abs(neighbour - Fraction(n, d)) == Fraction(1, d * other)
        assert meant(n / d) == Fraction(n, d)
        assert meant(float(neighbour)) == neighbour


@given(CASES)
@settings(max_examples=500)
def test_switches_are_exact_in_python(case):
    ratio, T = case
    share, place = float(ratio), math.ceil(ratio * T)
    join, reads = Join([none, constant], [share]), bind(at, milestones=(share,))
    falls, hold = bind(step, milestones=(share,), factor=0.0), Schedule(drop, hold_ratio=share)
    assert [join(place + i, T) for i in (-1, 0)] == ([0, 1] if place < T else [0, 0])
    assert [reads(place + i, T) for i in (-1, 0)] == [0, place]
    assert [falls(place + i, T) for i in (-1, 0)] == [1, 0]
    if place < T:
        assert [hold(place + i, T) for i in (-1, 0, 1)] == [1, 1, 0]
    steps = np.array([place - 1, place])
    assert reads(steps, T).tolist() == [0, place]
    assert falls(steps, T).tolist() == [1, 0]


def some_cases(count, seed):
    """Ratios of every size, and a budget of each in which it is next to a whole step."""
    random = np.random.default_rng(seed)
    cases = []
    while len(cases) < count:
        d = int(random.integers(2, 2 ** int(random.integers(2, 27)) + 1))
        n = int(random.integers(1, d))
        ratio = Fraction(n, d)
        if random.random() < 0.5:
            ratio = max(ratio, 1 - ratio)
        T = budget_for(ratio, int(random.integers(-1, 2)), int(random.integers(2**31)))
        if 0 < math.ceil(ratio * T) < T:
            cases.append((ratio, T))
    return cases


@pytest.mark.long
def test_arrays_of_ratios_in_int32():
    """One program for 5000 of them."""
    cases = some_cases(5000, 1)
    shares = np.array([float(ratio) for ratio, _ in cases])
    budgets = np.array([T for _, T in cases], np.int32)
    places = np.array([math.ceil(ratio * T) for ratio, T in cases], np.int32)

    @jax.jit
    def values(t, T):
        return (
            Schedule(drop, hold_ratio=shares)(t, T),
            Schedule(constant, warmup_ratio=shares, warmup_profile=drop)(t, T),
        )

    held, rising = values(places - 1, budgets)
    assert np.all(held == 1)
    assert np.all(rising == 0)
    held, rising = values(places + 1, budgets)
    assert np.all(held == 0)
    assert np.all(rising == 1)
    held, rising = values(places, budgets)
    assert np.all(held == 1)
    assert np.all(rising == 1)
    decays = Schedule(drop, decay_ratio=shares)
    starts = np.array([math.ceil((1 - ratio) * T) for ratio, T in cases], np.int32)
    assert np.all(decays(jnp.asarray(starts), budgets) == 1)
    assert np.all(decays(jnp.asarray(starts + 1), budgets) == 0)


def test_reads_at_exact_steps_in_int32():
    cases = [(ratio, T) for ratio, T in some_cases(3000, 2) if ratio >= Fraction(1, 100)]
    shares = np.array([float(ratio) for ratio, _ in cases])
    budgets = np.array([T for _, T in cases], np.int32)
    reads = jax.jit(lambda t, T: every_fraction(t, T, fraction=shares))
    for many in (1, 2, 3, 7, 99):
        places = [math.ceil(min(many * ratio, 1) * T) for ratio, T in cases]
        inside = np.array([many * ratio <= 1 for ratio, _ in cases])
        found = np.asarray(reads(np.array(places, np.int32), budgets))
        assert np.array_equal(found[inside], np.array(places)[inside])
        before = np.asarray(reads(np.array(places, np.int32) - 1, budgets))
        assert np.all((before < places)[inside])


@pytest.mark.long
def test_milestones_in_int32():
    """One program for a Join, a step and an `at` of 24 random places, every one at its edge."""
    ratios = sorted({ratio for ratio, _ in some_cases(24, 3)})
    milestones = tuple(map(float, ratios))
    functions = [
        bind(at, milestones=milestones),
        bind(step, milestones=milestones, factor=0.5),
        Join([Schedule(constant, peak_value=i) for i in range(len(ratios) + 1)], milestones),
    ]
    program = jax.jit(lambda t, T: [function(t, T) for function in functions])
    for index, ratio in enumerate(ratios):
        for rest in (-1, 0, 1):
            T = budget_for(ratio, rest, 2**30 + index)
            edges = [math.ceil(each * T) for each in ratios]
            steps = np.array([t for edge in edges for t in (edge - 1, edge)], np.int32)
            passed = [sum(edge <= t for edge in edges) for t in steps.tolist()]
            read, factor, joined = program(steps, np.int32(T))
            assert read.tolist() == [[0, *edges][i] for i in passed]
            assert factor.tolist() == [0.5**i for i in passed]
            if len({0, *edges, T}) == len(edges) + 2:  # None of the shares is empty.
                assert joined.tolist() == passed


def test_a_boundary_of_steps_and_shares():
    for steps, shares, T, place in [
        (0, (0.7,), 10, 7),
        (0, (1 / 3,), 10, 4),
        (3, (0.7,), 11, 11),
        (-3, (1,), 10, 7),
        (0, (1, -0.3), 10, 7),
        (0, (1, -0.35), 10, 7),
        (0, (0.05, 0.75), 10, 8),
    ]:
        boundary = Boundary(steps, *shares)
        assert boundary.of(T) == place
        assert boundary.at(np.array(T), np.array(0), np) == place
        assert jax.jit(lambda T, b=boundary: b.at(T, T, jnp))(T) == place


def test_beyond_the_limit():
    """A ratio of more digits is the nearest of those within the limit, never 0."""
    assert meant(1e-12) == Fraction(1, LIMIT)
    share = 0.123456789012345
    assert meant(share) == Fraction(share).limit_denominator(LIMIT)
    for T in (10**6, LARGEST):
        assert abs(at(T, T, milestones=(share,)) - share * T) <= 1 + T / LIMIT


@pytest.mark.long
def test_the_memory_of_ratios_is_bounded():
    """Distinct shares, as a search draws them, leave no more behind than a few of them."""
    shares = np.random.default_rng(4).random(20_000).tolist()
    first = [meant(share) for share in shares[:50]]
    for share in shares[:5000]:
        meant(share)
    before = sys.getallocatedblocks()
    for share in shares[5000:]:
        meant(share)
    # 15 000 of them would be 60 000 blocks: a float, and a Fraction of two integers, for each.
    assert sys.getallocatedblocks() - before < 20_000
    assert [meant(share) for share in shares[:50]] == first


def test_many_milestones():
    most = MAX_MILESTONES
    assert most == 1000
    places = [*range(1, most + 1)]
    assert step(500, 2000, milestones=places, factor=0.5) == 0.5**500
    shares = [i / (most + 1) for i in range(1, most + 1)]
    start = time.perf_counter()
    assert bind(at, milestones=shares)(500, 1001) == 500
    assert time.perf_counter() - start < 3
    for many in (most + 1, 100_000):
        start = time.perf_counter()
        shares = [i / (many + 1) for i in range(1, many + 1)]
        for call in (
            lambda m: step(5, 10, milestones=m),
            lambda m: bind(step, milestones=m),
            lambda m: at(5, 10, milestones=m),
            lambda m: Schedule({"step": {"milestones": m}}),
            lambda m: Join([constant] * (len(m) + 1), m),
        ):
            with pytest.raises(ValueError, match=r"^(milestones|schedules|data) must .* got") as e:
                call(shares)
            assert len(str(e.value)) < 1000
        assert time.perf_counter() - start < 3


def test_restarts_are_exact():
    for cycles, period_mult in [(3, 2), (7, 1), (5, 1.5), (10, 0.5)]:
        restarts = Restarts(Schedule("linear"), cycles, period_mult=period_mult)
        sizes = [Fraction(period_mult) ** i for i in range(cycles)]
        for T in (100_000, 131_735_527, LARGEST):
            for i in range(1, cycles):
                place = math.ceil(sum(sizes[:i]) / sum(sizes) * T)
                assert restarts(place, T) == 1
                assert 0 < restarts(place - 1, T) < 0.02
