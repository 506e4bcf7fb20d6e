"""Values: equal, hashed, written, copied and pickled by their fields alone; and bounded in size."""

import copy
import dataclasses
import functools
import json
import math
import pickle
import pickletools
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import rex_core
from rex_core import (
    Clamp,
    Join,
    OneCycle,
    Pair,
    Plateau,
    Product,
    Replan,
    Restarts,
    Schedule,
    at,
    bind,
    constant,
    cosine,
    every,
    falling_momentum,
    from_dict,
    interpolate,
    inverse_sqrt,
    linear,
    one_cycle,
    one_minus_sqrt,
    rex,
    step,
    to_dict,
)
from tests.core.cases import name

# One value of each kind, by the name of its files in tests/data/values.
KINDS = {
    "schedule": Schedule(cosine, peak_value=3e-4, end_value=1e-5, warmup_steps=500),
    "schedule_every_field": Schedule(
        bind(rex, beta=0.9),
        bind(at, milestones=(0.5, 0.75)),
        peak_value=0.1,
        end_value=1e-5,
        init_value=0.01,
        warmup_ratio=0.05,
        warmup_profile=cosine,
        decay_ratio=1 / 3,
    ),
    "schedule_steps": Schedule("one_minus_sqrt", warmup_steps=10, hold_steps=20),
    "join": Join([Schedule(cosine, warmup_ratio=0.1), linear, "constant"], [0.5, -20], local=False),
    "restarts": Restarts(Schedule(cosine), 3, period_mult=2, peak_mult=0.5),
    "replan": Replan(Schedule(linear, decay_steps=10), 30, 100, decay_now=True),
    "product": Product([Schedule(constant, warmup_steps=4), linear]),
    "clamp": Clamp(bind(inverse_sqrt, timescale=100), least=0.25, most=0.75),
    "plateau": Plateau(
        factor=0.5,
        patience=3,
        threshold=0.01,
        threshold_mode="abs",
        mode="max",
        cooldown=2,
        min_scale=0.125,
    ),
    "one_cycle": one_cycle(0.1, warmup_ratio=0.3, profile=cosine),
    "pair": falling_momentum(0.1, momentum=0.95, warmup_ratio=0.05),
    "bound_profile": bind(step, milestones=(0.3, 0.6, -10), factor=0.3),
    "bound_table": bind(interpolate, values=(1, 0.5, 0.75, 0)),
    "bound_sampling": bind(every, steps=391),
}
DATA = Path(__file__).parents[1] / "data" / "values"


def test_committed_values_load():
    """What one version wrote, every later one must read: these files never change.

    A new kind of value gets new files, written once, at its first version, by::

        for kind, value in KINDS.items():
            if not (DATA / f"{kind}.pickle").exists():
                (DATA / f"{kind}.pickle").write_bytes(pickle.dumps(value, protocol=4))
                (DATA / f"{kind}.json").write_text(json.dumps(to_dict(value), indent=1) + "\\n")
    """
    files = sorted(path.name for path in DATA.iterdir())
    assert files == sorted(f"{kind}.{end}" for kind in KINDS for end in ("json", "pickle"))
    for kind, value in KINDS.items():
        pickled = pickle.loads((DATA / f"{kind}.pickle").read_bytes())
        read = from_dict(json.loads((DATA / f"{kind}.json").read_text()))
        for loaded in (pickled, read):
            assert type(loaded) is type(value)
            assert loaded == value
            assert repr(loaded) == repr(value)
            if not isinstance(value, Plateau | Pair):
                times = [(t, 1000) for t in range(-1, 1002, 17)]
                assert [loaded(*time) for time in times] == [value(*time) for time in times]


@pytest.mark.parametrize("value", KINDS.values(), ids=KINDS)
def test_a_pickle_holds_public_fields_alone(value):
    value.__dict__["_private_cache"] = 3  # What a later version may keep.
    expected = pickle.dumps(value.replace() if not isinstance(value, type(bind(rex))) else value, 4)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(value, protocol)
        words = [arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str)]
        names = {word.split()[-1] for word in words}
        assert {each for each in names if each.startswith("_")} <= {"_made"}
        assert "_private_cache" not in pickle.loads(data).__dict__
    assert pickle.dumps(value, 4) == expected
    made, (kind, fields) = value.__reduce__()
    assert kind is type(value)
    assert [*fields] == [*value.fields]
    assert made(kind, fields) == value
    del value.__dict__["_private_cache"]


@pytest.mark.parametrize("value", KINDS.values(), ids=KINDS)
def test_values_come_back_equal(value):
    copies = [
        copy.copy(value),
        copy.deepcopy(value),
        pickle.loads(pickle.dumps(value)),
        from_dict(to_dict(value)),
        eval(repr(value), vars(rex_core)),
        value.replace(),
        value.replace(**{field: getattr(value, field) for field in value.fields}),
    ]
    if sys.version_info >= (3, 13):
        copies.append(copy.replace(value))
    for other in copies:
        assert type(other) is type(value)
        assert other == value
        assert hash(other) == hash(value)
        assert repr(other) == repr(value)


def test_replace():
    schedule = KINDS["schedule"]
    changed = schedule.replace(peak_value=1, warmup_steps=0)
    assert changed == Schedule(cosine, peak_value=1, end_value=1e-5)
    assert changed.__replace__(peak_value=3e-4, warmup_steps=500) == schedule
    if sys.version_info >= (3, 13):
        assert copy.replace(schedule, peak_value=1, warmup_steps=0) == changed
    assert bind(rex, beta=0.5).replace(params={"beta": 0.9}) == bind(rex, beta=0.9)
    with pytest.raises(ValueError, match=r"^peek_value must be .*\(is peak_value meant"):
        schedule.replace(peek_value=1)


@pytest.mark.parametrize("value", KINDS.values(), ids=KINDS)
def test_tools_that_rebuild_leave_values_whole(value):
    assert not dataclasses.is_dataclass(value)
    assert not isinstance(value, (tuple, list, Mapping))
    assert not hasattr(value, "_fields")
    assert not hasattr(value, "__slots__")


@pytest.mark.parametrize("value", KINDS.values(), ids=KINDS)
def test_values_are_immutable(value):
    for field in [*value.fields, "new", "_depth", "__dict__"]:
        with pytest.raises(AttributeError, match="is a value"):
            setattr(value, field, 1)
        with pytest.raises(AttributeError, match="is a value"):
            delattr(value, field)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = value.nothing


def test_the_params_of_a_bound_function_cannot_be_set():
    params = {"beta": 0.9}
    profile = rex_core.functions.Bound(rex, params)
    params["beta"] = 0.1
    assert profile == bind(rex, beta=0.9)
    with pytest.raises(TypeError):
        profile.params["beta"] = 0.1


def numbers_of(library):
    return {
        "numpy": np.array,
        "numpy float32": lambda x: np.array(x, np.float32),
        "jax": lambda x: jnp.asarray(x, jnp.float32),
        "torch": torch.tensor,
    }[library]


@pytest.mark.parametrize("library", ["numpy", "numpy float32", "jax", "torch"])
def test_values_of_arrays_compare(library):
    """By the numbers in them: no truth value of an array is asked for."""
    array = numbers_of(library)
    makers = [
        lambda x: Schedule(peak_value=x),
        lambda x: Schedule(bind(rex, beta=x), warmup_steps=10),
        lambda x: Join([Schedule(end_value=x), linear], [0.5]),
        lambda x: Restarts(Schedule(), 2, peak_mult=x + 0.5),
        lambda x: Clamp(linear, least=x),
        lambda x: Replan(linear, x, 10),
        lambda x: Plateau(factor=x),
        lambda x: Schedule(peak_value=x) * linear,
        lambda x: Schedule(Schedule(warmup_ratio=x)),
    ]
    for make in makers:
        value, same = make(array([0.25, 0.5])), make(array([0.25, 0.5]))
        others = [
            make(array(content)) for content in ([0.25, 0.75], [0.25], [[0.25, 0.5]], [0.5, 0.25])
        ]
        assert value == same
        assert hash(value) == hash(same)
        assert all(value != other for other in others)
        assert value != make(0.25)
        assert len({value, same, *others}) == 5
        assert same in [*others, value]
        for other in (copy.deepcopy(value), pickle.loads(pickle.dumps(value)), value.replace()):
            assert other == value
        single = make(array(0.25))
        assert single == make(0.25)
        assert hash(single) == hash(make(0.25))


def test_arrays_of_two_libraries_are_equal_by_their_numbers():
    stacks = [Schedule(peak_value=numbers_of(n)([0.25, 0.5])) for n in ("numpy", "jax", "torch")]
    assert stacks[0] == stacks[1] == stacks[2]
    assert len(set(stacks)) == 1


def test_values_differ_from_other_things():
    for value in KINDS.values():
        assert value != 1
        assert value is not None
        assert value != repr(value)
        assert [value == other for other in KINDS.values()].count(True) == 1
    assert Schedule() != Join([rex, rex], [0.5])
    assert len(set(KINDS.values())) == len(KINDS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Schedule(rex, beta=0.9), r"beta must be bound .*, bind\(rex, beta=\.\.\.\); got"),
        (lambda: Schedule("rex", beta=0.9), r"beta must be .*"),
        (lambda: Schedule(bind(rex, beta=0.5), beta=0.9), r"beta must be bound .* bind\(rex"),
        (lambda: Schedule(profile=cosine, power=2), r"power must be bound .* bind\(cosine, power"),
        (lambda: Schedule(rex, every, steps=2), r"steps must be bound .* bind\(every, steps=\.\."),
        (lambda: Schedule(warmup=100), "warmup must be called warmup_steps here; got 100"),
        (lambda: Schedule(peak_lr=0.1), "peak_lr must be called peak_value here; got 0.1"),
        (lambda: Schedule(lr=0.1), "lr must be called peak_value here; got 0.1"),
        (lambda: Schedule(min_lr=0.1), "min_lr must be called end_value here; got 0.1"),
        (
            lambda: Schedule(warmup_step=1),
            r"warmup_step must be .*\(is warmup_steps meant\?\)",
        ),
        (lambda: Join([rex, rex], milestone=[0.5]), r"milestone must .*\(is milestones meant\?\)"),
        (lambda: Restarts(rex, cycle=3), r"cycle must be .*\(is cycles meant\?\); got 3"),
        (lambda: Clamp(rex, minimum=3), r"minimum must be a parameter of Clamp, which takes sched"),
        (lambda: Plateau(patiense=3), r"patiense must be .*\(is patience meant\?\); got 3"),
        (lambda: bind(rex, betta=3), r"betta must be .* of rex.* \(is beta meant\?\); got 3"),
        (lambda: Replan(rex, 1, 10, decay=True), r"decay must be .* \(is decay_now meant\?\)"),
    ],
)
def test_hints(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


@pytest.mark.parametrize("name", ["warmup", "hold", "decay"])
def test_a_share_in_the_place_of_steps(name):
    message = rf"^{name}_steps must be at least 1 where T counts steps .*{name}_ratio\); got 0.05"
    schedule = Schedule(**{f"{name}_steps": 0.05})
    for call in (
        lambda: schedule(5, 100),
        lambda: schedule(np.array([5, 6]), 100),
        lambda: schedule(jnp.int32(5), 100),
        lambda: schedule(torch.tensor(5), 100),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert math.isfinite(schedule(0.5, 1.0))  # Of a budget of 1.0, say a unit of time.


WRAPS = {
    "Join": lambda value: Join([value, rex], [0.5]),
    "Restarts": lambda value: Restarts(value, 2),
    "Replan": lambda value: Replan(value, 1, 10),
    "Product": lambda value: Product([value, constant]),
    "Clamp": lambda value: Clamp(value, least=-1),
    "Schedule": lambda value: Schedule(value),
    "warmup": lambda value: Schedule(rex, warmup_profile=value, warmup_ratio=0.5),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_50_levels_and_not_one_more(wrap):
    value = Schedule(linear)
    for _ in range(49):
        value = wrap(value)
    assert hash(value) == hash(value.replace())
    assert repr(value).count("(") >= 50
    for again in (
        pickle.loads(pickle.dumps(value)),
        copy.deepcopy(value),
        from_dict(json.loads(json.dumps(to_dict(value)))),
    ):
        assert again == value
    start = time.perf_counter()
    assert math.isfinite(value(2**49, 2**51))
    assert time.perf_counter() - start < 10
    with pytest.raises(ValueError, match=r"^the depth of nested values must be at most 50; got 51"):
        wrap(value)
    with pytest.raises(ValueError, match=r"^the depth .* must be at most 50; got 51"):
        Schedule(value)


def test_10_000_values_and_not_one_more():
    value = Schedule()
    wide = Product([value] * 999)  # 1000 values with itself.
    inner = Product([*[wide] * 9, Product([value] * 997)])
    assert inner._size == 9999
    assert Clamp(inner, least=0)._size == 10_000
    with pytest.raises(ValueError, match=r"^the size of nested values must be at most 10000; got"):
        Product([inner, value])


def test_a_value_that_doubles_is_refused_at_once():
    """40 levels of one value twice: 2^40 values, if they were written."""
    start = time.perf_counter()
    for double in (
        lambda a: Join([a, a], [0.5]),
        lambda a: Product([a, a]),
        lambda a: Schedule(a, warmup_profile=a),
    ):
        with pytest.raises(ValueError, match=r"^the size of nested values must be at most 10000"):
            functools.reduce(lambda value, _, double=double: double(value), range(40), Schedule())
    assert time.perf_counter() - start < 5


LONG = "x" * 10**6
HUGE = [
    lambda: Schedule(peak_value=LONG),
    lambda: Schedule(peak_value=10**5000),
    lambda: Schedule(LONG),
    lambda: Schedule(**{LONG: 1}),
    lambda: bind(rex, **{LONG: 1}),
    lambda: bind(rex, beta=np.full(10**6, 2.0)),
    lambda: bind(LONG),
    lambda: bind(interpolate, values=[math.nan] * 10**6),
    lambda: bind(step, milestones=[0.5] * 10**6),
    lambda: Join([rex, LONG], [0.5]),
    lambda: Join([rex, rex], [LONG]),
    lambda: Clamp(rex, least=[1] * 10**6),
    lambda: Replan(rex, 10**5000, 10),
    lambda: Plateau(mode=LONG),
    lambda: Plateau().update(Plateau().init(), [0] * 10**6),
    lambda: rex(LONG, 10),
    lambda: rex(5, -(10**5000)),
    lambda: rex(np.full(10**6, np.nan), 10),
    lambda: from_dict({"function": LONG}),
    lambda: from_dict({"preset": LONG}),
    lambda: from_dict({LONG: 1}),
    lambda: from_dict({"version": LONG}),
    lambda: from_dict({"peak_value": LONG}),
    lambda: to_dict(Schedule(peak_value=np.ones(10**5))),
    lambda: rex_core.total_steps(epochs=LONG, dataset_size=1, batch_size=1),
    lambda: rex_core.total_steps(epochs=1, dataset_size=1, batch_size=1, drop_last=LONG),
    lambda: rex_core.total_steps(epochs=1, tokens_per_step=LONG, dataset_size=1, batch_size=1),
    lambda: rex_core.WallClock(LONG),
    lambda: rex_core.register(one_minus_sqrt, LONG[:0]),
    lambda: rex_core.register(linear.door.formula, "rex"),
    lambda: Product([Schedule(peak_value=0.1)] * 900).replace(schedules=[LONG]),
    lambda: Restarts(Product([Schedule(peak_value=0.1)] * 900), 2, peak_mult=2),
    lambda: Schedule(warmup_steps=np.full(10**5, 50))(5, 10),
    lambda: OneCycle(LONG, LONG),
    lambda: Pair(LONG, LONG),
]


@pytest.mark.parametrize("call", HUGE)
def test_messages_are_short(call):
    with pytest.raises(ValueError, match=re.compile(r"^\S.* must .*; got ", re.DOTALL)) as error:
        call()
    assert type(error.value) is ValueError
    assert len(str(error.value)) < 3000


def test_names_in_messages_are_short():
    nested = Schedule(Product([Schedule(peak_value=0.1)] * 900))
    assert len(name(nested)) > 10_000
    with pytest.raises(ValueError, match="sampling") as error:
        Schedule(rex, nested)
    assert len(str(error.value)) < 3000


def test_a_constructor_may_come_from_a_class_beside_the_value():
    class OnePeak:
        def __init__(self, peak_value=1.0):
            Schedule.__init__(self, linear, peak_value=peak_value)

    class Mine(OnePeak, Schedule):
        pass

    assert Mine.fields == ("peak_value",)
    assert repr(Mine(0.5)) == "Mine(0.5)"
    assert Mine(0.5) == Mine(peak_value=0.5) != Mine(0.6)
    assert Mine(0.5)(50, 100) == 0.25
