"""Schedules as plain JSON types, and everything that is refused on the way back."""

import copy
import functools
import json
import math
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rex_core import (
    Join,
    Restarts,
    Schedule,
    at,
    bind,
    constant,
    cosine,
    demon,
    every,
    every_fraction,
    every_step,
    exponential,
    from_dict,
    linear,
    one_cycle,
    one_minus_sqrt,
    polynomial,
    register,
    rex,
    step,
    to_dict,
)
from tests.core.cases import PLAIN, PROFILES, SAMPLINGS, SCHEDULES, THIRD, name

GOLDEN = Schedule(
    bind(rex, beta=0.9),
    bind(at, milestones=(0.5, 0.75)),
    peak_value=0.1,
    end_value=1e-5,
    warmup_ratio=0.05,
    warmup_profile=cosine,
    hold_ratio=THIRD,
)
# Written by version 1: it must be read for ever, so this text never changes.
GOLDEN_JSON = """{
    "version": 1,
    "type": "Schedule",
    "profile": {"function": "rex", "params": {"beta": 0.9}},
    "sampling": {"function": "at", "params": {"milestones": [0.5, 0.75]}},
    "peak_value": 0.1,
    "end_value": 1e-05,
    "init_value": 0.0,
    "warmup_steps": 0,
    "warmup_ratio": 0.05,
    "warmup_profile": {"function": "cosine"},
    "hold_steps": 0,
    "hold_ratio": 0.3333333333333333,
    "decay_steps": null,
    "decay_ratio": null
}"""


def deep(depth):
    value = Schedule(linear)
    for _ in range(depth):
        value = Join([value, rex], [0.5])
    return value


VALUES = [
    *PROFILES,
    *SAMPLINGS,
    *SCHEDULES,
    GOLDEN,
    Schedule(),
    Schedule(peak_value=1, end_value=-0.5, warmup_steps=10**9),
    Schedule(bind(step, milestones=[0.3, THIRD, 1.0]), bind(every, steps=391)),
    bind(constant),
    demon(),
    *one_cycle(0.3),
    deep(20),
    Restarts(GOLDEN, 4, period_mult=1.5, peak_mult=0.9),
]


@pytest.mark.parametrize("value", VALUES, ids=name)
def test_round_trip(value):
    written = to_dict(value)
    assert from_dict(written) == value
    read = from_dict(json.loads(json.dumps(written, allow_nan=False)))
    assert read == value
    assert type(read) is type(value)
    assert read(7, 10**12) == value(7, 10**12)
    assert to_dict(read) == written
    assert from_dict(types.MappingProxyType(written)) == value


class Config:
    """A dictionary in all but its class, as the ConfigDict of ml_collections is."""

    def __init__(self, data):
        self.data = {key: Config.of(content) for key, content in data.items()}

    @staticmethod
    def of(content):
        if isinstance(content, list):
            return [*map(Config.of, content)]
        return Config(content) if isinstance(content, dict) else content

    def keys(self):
        return self.data.keys()

    def __getitem__(self, key):
        return self.data[key]


@pytest.mark.parametrize("value", VALUES, ids=name)
def test_what_has_keys_is_a_dictionary(value):
    assert from_dict(Config(to_dict(value))) == value
    assert Schedule(Config({"rex": {"beta": 0.9}})) == Schedule(bind(rex, beta=0.9))


def test_a_function_of_this_library_by_its_path():
    """As jsonargparse writes functions into its files."""
    data = {"profile": "rex_core.cosine", "sampling": {"rex_core.every": {"steps": 5}}}
    assert from_dict(data) == Schedule("cosine", {"every": {"steps": 5}})
    register(lambda t, T: 1.0, "mine")
    for path in ("rex_core.cosin", "rex_core.mine", "rex_core.Schedule", "math.cos"):
        with pytest.raises(ValueError, match=f"^profile must be one of .*got '{path}'"):
            Schedule(path)


@pytest.mark.parametrize("value", VALUES, ids=name)
def test_plain_json_types(value):
    def check(data):
        assert type(data) in (dict, list, str, int, float, bool, type(None))
        for item in data.values() if type(data) is dict else data if type(data) is list else ():
            check(item)
        assert type(data) is not dict or all(type(key) is str for key in data)

    check(to_dict(value))
    assert type(to_dict(value)) is dict


def test_the_format_is_stable():
    assert to_dict(GOLDEN) == json.loads(GOLDEN_JSON)
    assert json.dumps(to_dict(GOLDEN), indent=4).replace("\n", "").replace(" ", "") == (
        GOLDEN_JSON.replace("\n", "").replace(" ", "")
    )
    assert from_dict(json.loads(GOLDEN_JSON)) == GOLDEN
    assert to_dict(rex) == {"version": 1, "function": "rex"}
    assert to_dict(Join([rex, bind(linear)], [0.5])) == {
        "version": 1,
        "type": "Join",
        "schedules": [{"function": "rex"}, {"function": "linear", "params": {}}],
        "milestones": [0.5],
        "local": True,
    }
    assert to_dict(Restarts(Schedule(), 3)) == {
        "version": 1,
        "type": "Restarts",
        "schedule": {key: v for key, v in to_dict(Schedule()).items() if key != "version"},
        "cycles": 3,
        "period_mult": 1,
        "peak_mult": 1,
    }


def test_every_profile_and_sampling_has_a_name():
    functions = [rex, linear, cosine, exponential, polynomial, one_minus_sqrt, step, constant]
    for function in [*functions, every_step, every, every_fraction, at]:
        assert to_dict(function) == {"version": 1, "function": function.__name__}


@pytest.mark.parametrize(
    "number", [np.float32(0.1), np.float64(0.1), np.int64(3), np.array(0.1), jnp.float32(0.1)]
)
def test_single_numbers_of_libraries_become_pythons(number):
    for value in (
        Schedule(peak_value=number),
        Schedule(bind(polynomial, power=number), end_value=number),
        Restarts(Schedule(), 2, peak_mult=number),
    ):
        written = json.loads(json.dumps(to_dict(value)))
        assert from_dict(written) == value
        assert from_dict(written)(3, 10) == pytest.approx(float(value(3, 10)), rel=1e-6)


def test_single_tensors_become_pythons_numbers():
    assert to_dict(bind(rex, beta=torch.tensor(0.5)))["params"] == {"beta": 0.5}


@pytest.mark.parametrize(
    "numbers",
    [np.array([0.1]), np.array([0.1, 0.2]), jnp.array([0.1, 0.2]), torch.tensor([0.1, 0.2])],
)
def test_arrays_are_refused(numbers):
    for value in (
        Schedule(peak_value=numbers),
        bind(rex, beta=numbers),
        Restarts(Schedule(), 2, peak_mult=numbers),
        Join([Schedule(end_value=numbers), rex], [0.5]),
    ):
        with pytest.raises(ValueError, match=r"0\.1") as error:
            to_dict(value)
        assert type(error.value) is ValueError


def test_traced_numbers_are_refused():
    with pytest.raises(ValueError, match="known number"):
        jax.jit(lambda peak: to_dict(Schedule(peak_value=peak)))(0.1)


@pytest.mark.parametrize("value", [None, 1, 0.5, "rex", [rex], {}, (), len, Schedule, np.array(1)])
def test_what_is_no_schedule_cannot_be_written(value):
    with pytest.raises(ValueError, match="must be") as error:
        to_dict(value)
    assert type(error.value) is ValueError


def test_what_is_not_registered_cannot_be_written():
    def mine(t, T):
        return 1.0

    for value in (
        mine,
        bind(mine),
        Schedule(mine),
        Schedule(sampling=mine),
        Join([mine, rex], [0.5]),
    ):
        with pytest.raises(ValueError, match=r"registered.*mine"):
            to_dict(value)


SCHEDULE = to_dict(GOLDEN)
JOIN = to_dict(Join([GOLDEN, rex], [0.5]))
RESTARTS = to_dict(Restarts(GOLDEN, 3))
BOUND = to_dict(bind(rex, beta=0.9))


@pytest.mark.parametrize("data", [SCHEDULE, JOIN, RESTARTS, BOUND], ids=["S", "J", "R", "bind"])
def test_unknown_keys_are_refused(data):
    for extra in ("peak", "Version", "_plain", "__class__", "T"):
        with pytest.raises(ValueError, match=extra):
            from_dict({**data, extra: 1.0})


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        ({"type": "Restarts", "schedule": "rex"}, "cycles must be given in a Restarts"),
        ({"type": "Join", "milestones": [0.5]}, "schedules must be given in a Join"),
        ({"type": "Replan", "schedule": "rex", "T0": 9}, "t0 must be given in a Replan"),
        ({"type": "OneCycle"}, "lr must be given in a OneCycle"),
        ({"type": "Restarts", "cylces": 2}, r"cylces must be .*\(is cycles meant\?\)"),
    ],
)
def test_missing_keys_are_named(data, missing):
    with pytest.raises(ValueError, match=missing):
        from_dict(data)


@pytest.mark.parametrize("version", [None, 0, 2, -1, "1", True, [1], {}, 1.5, math.nan])
def test_unknown_versions_are_refused(version):
    with pytest.raises(ValueError, match="version must be 1; got"):
        from_dict({**SCHEDULE, "version": version})


# (what to change, what the message names)
WRONG = [
    ({"type": "Scheduler"}, "type must be one of .*'Scheduler'"),
    ({"type": None}, "type must be"),
    ({"type": ["Schedule"]}, "type must be"),
    ({"type": "Join"}, "profile must be a parameter of Join, which takes schedules"),
    ({"profile": "rexx"}, "profile must be .*'rexx'"),
    ({"warmup_step": 3}, r"warmup_step must be .*\(is warmup_steps meant\?\)"),
    ({"profile": {"rexx": {"beta": 0.9}}}, "profile must be one of rex, .*'rexx'"),
    ({"profile": {"rex": 0.9}}, "params must be a dictionary of names; got 0.9"),
    ({"preset": "noamm"}, "preset must be one of demon, .*'noamm'"),
    ({"preset": ["noam"]}, "preset must be one of"),
    ({1: 0.9}, "keys must be strings; got 1"),
    ({"profile": None}, "profile must be"),
    ({"profile": 1.0}, "profile must be .*1.0"),
    ({"profile": []}, "profile must be"),
    ({"profile": {"function": "sine"}}, "function must be one of .*'sine'"),
    ({"profile": {"function": None}}, "function must be one of"),
    ({"profile": {"function": ["rex"]}}, "function must be one of"),
    ({"profile": {"function": {"function": "rex"}}}, "function must be one of"),
    (
        {"profile": {"function": "rex", "beta": 0.9}},
        "beta must be a parameter of a function's dictionary",
    ),
    ({"profile": {"function": "rex", "params": None}}, "params must be .*None"),
    ({"profile": {"function": "rex", "params": [0.9]}}, "params must be"),
    ({"profile": {"function": "rex", "params": {1: 0.9}}}, "params must be"),
    (
        {"profile": {"function": "rex", "params": {"gamma": 0.9}}},
        "gamma must be a parameter of rex",
    ),
    ({"profile": {"function": "rex", "params": {"t": 3}}}, "t must be a parameter of rex"),
    ({"profile": {"function": "rex", "params": {"beta": 1.5}}}, "beta must be .*1.5"),
    ({"profile": {"function": "rex", "params": {"beta": "0.9"}}}, "beta must be .*'0.9'"),
    ({"profile": {"function": "rex", "params": {"beta": None}}}, "beta must be .*None"),
    ({"profile": {"function": "rex", "params": {"beta": [0.9]}}}, "beta must be"),
    ({"profile": {"function": "rex", "params": {"beta": {"function": "rex"}}}}, "beta must be"),
    ({"sampling": {"function": "at", "params": {"milestones": [0.75, 0.5]}}}, "milestones must be"),
    ({"sampling": {"function": "at", "params": {"milestones": [[0.5]]}}}, "milestones must be"),
    ({"sampling": {"function": "at", "params": {"milestones": "0.5"}}}, "milestones must be"),
    ({"sampling": {"function": "every", "params": {"steps": 1.5}}}, "steps must be .*1.5"),
    ({"peak_value": "0.1"}, "peak_value must be .*'0.1'"),
    ({"peak_value": None}, "peak_value must be .*None"),
    ({"peak_value": True}, "peak_value must be .*True"),
    ({"peak_value": [0.1, 0.2]}, "peak_value must be"),
    ({"peak_value": {"function": "rex"}}, "peak_value must be"),
    ({"peak_value": math.nan}, "peak_value must be .*nan"),
    ({"end_value": math.inf}, "end_value must be .*inf"),
    ({"warmup_steps": -1}, "warmup_steps must be .*-1"),
    ({"warmup_steps": 3}, "warmup_ratio must be 0 where warmup_steps is given"),
    ({"warmup_ratio": 1.0}, "warmup_ratio must be .*1.0"),
    ({"hold_ratio": "0.5"}, "hold_ratio must be .*'0.5'"),
]
WRONG_JOIN = [
    ({"schedules": "rex"}, "schedules must be"),
    ({"schedules": ["rexx", "rex"]}, "schedules must be"),
    ({"schedules": []}, "must be"),
    ({"schedules": None}, "schedules must be"),
    ({"milestones": [0.5, 0.7]}, "milestones must be"),
    ({"milestones": 0.5}, "milestones must be .*0.5"),
    ({"milestones": [None]}, "milestones must be"),
    ({"milestones": [[0.5]]}, "milestones must be"),
    ({"milestones": [{"function": "rex", "params": {"beta": 0.5}}]}, "milestones must be"),
]
WRONG_RESTARTS = [
    ({"cycles": 0}, "cycles must be .*0"),
    ({"cycles": 2.0}, "cycles must be .*2.0"),
    ({"cycles": True}, "cycles must be .*True"),
    ({"cycles": [2]}, "cycles must be"),
    ({"schedule": {"function": "every_step"}}, "schedule must not be a sampling"),
    ({"schedule": None}, "schedule must be .*None"),
    ({"period_mult": 0}, "period_mult must be .*0"),
    ({"period_mult": "2"}, "period_mult must be .*'2'"),
    ({"peak_mult": -1}, "peak_mult must be .*-1"),
    ({"peak_mult": None}, "peak_mult must be .*None"),
]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        *(({**SCHEDULE, **change}, message) for change, message in WRONG),
        *(({**JOIN, **change}, message) for change, message in WRONG_JOIN),
        *(({**RESTARTS, **change}, message) for change, message in WRONG_RESTARTS),
        *((data, "must be") for data in (None, 1, "{}", [], [SCHEDULE], rex, GOLDEN, "{")),
    ],
)
def test_what_is_wrong_is_named(data, message):
    with pytest.raises(ValueError, match=message) as error:
        from_dict(data)
    assert type(error.value) is ValueError


@pytest.mark.parametrize(
    "hostile",
    [
        *("os.system", "__import__", "eval", "exec", "builtins.print", "subprocess", "antigravity"),
        *("__class__", "__init__", "rex.__globals__", "rex_core.rex", "rex_core.profiles:rex"),
        *(
            "Bound",
            "bind",
            "Schedule",
            "to_dict",
            "",
            " rex",
            "rex ",
            "REX",
            "rex\0",
            "\N{DIGIT ONE}",
        ),
    ],
)
def test_names_are_only_looked_up(hostile):
    modules = set(sys.modules)
    for data in (
        {"version": 1, "function": hostile},
        {"version": 1, "function": hostile, "params": {}},
        {"version": 1, "function": hostile, "params": {"command": "exit 1"}},
        {**SCHEDULE, "profile": {"function": hostile, "params": {"source": "1/0"}}},
        {**JOIN, "schedules": [{"function": hostile}, {"function": "rex"}]},
        {"version": 1, "type": hostile + "!", "args": ["exit 1"]},
    ):
        with pytest.raises(ValueError, match="must be one of") as error:
            from_dict(data)
        assert type(error.value) is ValueError
    for parameter in ("__class__", "__globals__", "func", "function", "self", "t", "T"):
        with pytest.raises(ValueError, match=parameter):
            from_dict({"version": 1, "function": "rex", "params": {parameter: 0.5}})
    assert set(sys.modules) == modules


def test_reading_leaves_the_data_alone():
    data = json.loads(GOLDEN_JSON)
    before = copy.deepcopy(data)
    from_dict(data)
    assert data == before


@register
def registered_half(t, T, *, floor=0.0):
    return 0.5 + floor + 0.0 * linear(t, T)


def test_registered_functions_are_written_by_name():
    for value in (registered_half, bind(registered_half, floor=0.1), Schedule(registered_half)):
        assert from_dict(json.loads(json.dumps(to_dict(value)))) == value
    assert to_dict(registered_half) == {"version": 1, "function": "registered_half"}


def test_register():
    def other(t, T):
        return 1.0

    assert register(other, "tests.other") is other
    assert to_dict(other) == {"version": 1, "function": "tests.other"}
    assert from_dict({"version": 1, "function": "tests.other"}) is other
    assert register(other, "tests.other") is other  # Twice is once.
    nameless = functools.partial(other)
    assert register(nameless, "tests.nameless") is nameless
    assert from_dict(to_dict(Schedule(nameless))).profile is nameless
    for wrong, taken, message in [
        (rex, "tests.other", "name must not be taken .*'tests.other'"),
        (other, "rex", "name must not be taken .*'rex'"),
        (other, "", "name must be a non-empty string; got ''"),
        (other, 3, "name must be a non-empty string; got 3"),
        (functools.partial(rex), None, "name must be a non-empty string; got None"),
        (3, "three", "function must be .*3"),
        ("rex", None, "function must be .*'rex'"),
        (bind(rex, beta=0.9), "rex9", "function must be .*beta=0.9"),
    ]:
        with pytest.raises(ValueError, match=message):
            register(wrong, taken)
    assert from_dict({"version": 1, "function": "rex"}) is rex
    with pytest.raises(ValueError, match="'three'"):
        from_dict({"version": 1, "function": "three"})


def test_a_function_that_is_defined_again_takes_its_own_place():
    """A cell of a notebook that is run twice, a module that is reloaded."""

    cell = "@register\ndef notebook_cell(t, T):\n    return 1.0"
    notebook = {"register": register, "__name__": "notebook"}
    exec(cell, notebook)
    before = notebook["notebook_cell"]
    exec(cell, notebook)
    after = notebook["notebook_cell"]
    assert before is not after
    assert from_dict(to_dict(after)) is after


def test_functions_that_only_share_a_name_do_not_take_each_others_place():
    def make(scale):
        def curve(t, T):
            return scale * linear(t, T)

        return curve

    register(make(1.0), "tests.curve")
    with pytest.raises(ValueError, match=r"name must not be taken .*'tests\.curve'"):
        register(make(0.1), "tests.curve")


@register
def registered_options(t, T, *, flag=False, knots=((0.0, 1.0), (1.0, 0.0)), mode=None):
    return linear(t, T)


def test_what_json_can_write_is_written():
    profile = bind(registered_options, flag=True, knots=[[0, 1], [0.5, 0.2], [1, 0]], mode="cubic")
    assert from_dict(json.loads(json.dumps(to_dict(profile)))) == profile
    assert hash(profile) == hash(eval(repr(profile), {"bind": bind, **globals()}))
    nothing = bind(registered_options, mode=None)
    assert from_dict(to_dict(nothing)) == nothing


def test_data_as_deep_as_an_attack():
    data = {"function": "rex"}
    for _ in range(10_000):
        data = {"type": "Join", "schedules": [data, {"function": "rex"}], "milestones": [0.5]}
    with pytest.raises(ValueError, match="data must be nested at most 50 levels deep"):
        from_dict({"version": 1, **data})
    costly = {"type": "Restarts", "cycles": 10**12, "period_mult": 1, "peak_mult": 1}
    with pytest.raises(ValueError, match=r"cycles must be an integer in \[1, 100\]"):
        from_dict({"version": 1, **costly, "schedule": strip(to_dict(Schedule()))})


def strip(data):
    return {key: value for key, value in data.items() if key != "version"}


def test_plain_schedules_keep_the_kind_of_their_numbers():
    written = to_dict(Schedule(peak_value=1, warmup_steps=10))
    assert [type(written[key]) for key in ("peak_value", "end_value", "warmup_steps")] == [
        int,
        float,
        int,
    ]
    assert from_dict(to_dict(PLAIN)).warmup_steps == 3
