"""Plateau: PyTorch's decisions from a pure function, in every library and in real training."""

import copy
import io
import itertools
import json
import math
import pickle

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from hypothesis import given
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

import rex_core
from rex_core import Plateau, PlateauState, Schedule, from_dict, to_dict
from tests.core.cases import LARGEST, LIBRARIES

NAN, INF = math.nan, math.inf
MODES = list(itertools.product(("min", "max"), ("rel", "abs")))


def history(plateau, metrics, like=0.0):
    """The states after each of the metrics."""
    return list(itertools.accumulate(metrics, plateau.update, initial=plateau.init(like)))[1:]


def scales(plateau, metrics):
    return [state.scale for state in history(plateau, metrics)]


def scanned(plateau, metrics, like=0.0):
    """The states after each of the metrics, from a scan; to be jitted."""

    def body(state, metric):
        state = plateau.update(state, metric)
        return state, state

    return jax.lax.scan(body, plateau.init(like), metrics)[1]


# name: (plateau, [(metric, scale after it), ...])
TABLES = {
    "patience is how many bad metrics are tolerated": (
        Plateau(factor=0.5, patience=2),
        [(3, 1), (2, 1), (2, 1), (2.5, 1), (2, 0.5), (2, 0.5), (2, 0.5), (2, 0.25)],
    ),
    "an improvement starts the count anew": (
        Plateau(factor=0.5, patience=1),
        [(3, 1), (3, 1), (2, 1), (2, 1), (1, 1), (1, 1), (1, 0.5)],
    ),
    "no patience": (Plateau(factor=0.5, patience=0), [(1, 1), (2, 0.5), (1, 0.25), (0.5, 0.25)]),
    "mode max": (
        Plateau(factor=0.5, patience=0, mode="max"),
        [(0.1, 1), (0.2, 1), (0.2, 0.5), (0.1, 0.25), (0.3, 0.25)],
    ),
    "threshold rel": (
        Plateau(factor=0.5, patience=0, threshold=0.25),
        [(8, 1), (6, 0.5), (5.9, 0.5), (5, 0.25)],
    ),
    "threshold rel, max": (
        Plateau(factor=0.5, patience=0, threshold=0.25, mode="max"),
        [(8, 1), (10, 0.5), (10.1, 0.5), (12, 0.25)],
    ),
    "threshold abs": (
        Plateau(factor=0.5, patience=0, threshold=1, threshold_mode="abs"),
        [(8, 1), (7, 0.5), (6.9, 0.5), (-1, 0.5), (-2, 0.25), (-2.1, 0.25)],
    ),
    "threshold abs, max": (
        Plateau(factor=0.5, patience=0, threshold=1, threshold_mode="abs", mode="max"),
        [(-1, 1), (0, 0.5), (0.1, 0.5), (2, 0.5)],
    ),
    "rel looks at the sign": (
        Plateau(factor=0.5, patience=0, threshold=0.25),
        [(-8, 1), (-8, 1), (-6.1, 1), (-4, 0.5)],
    ),
    "cooldown does not count bad metrics": (
        Plateau(factor=0.5, patience=1, cooldown=2),
        [(1, 1), (2, 1), (2, 0.5), (2, 0.5), (2, 0.5), (2, 0.5), (2, 0.25)],
    ),
    "cooldown sees improvements": (
        Plateau(factor=0.5, patience=0, cooldown=2),
        [(5, 1), (5, 0.5), (4, 0.5), (5, 0.5), (4.5, 0.25)],
    ),
    "min_scale": (
        Plateau(factor=0.5, patience=0, min_scale=0.3),
        [(1, 1), (1, 0.5), (1, 0.3), (1, 0.3)],
    ),
    "nothing to lower": (Plateau(patience=0, min_scale=1), [(1, 1), (1, 1), (1, 1)]),
    "NaN is never better": (
        Plateau(factor=0.5, patience=0),
        [(NAN, 0.5), (1, 0.5), (NAN, 0.25), (1, 0.125), (0.5, 0.125)],
    ),
    "infinities": (
        Plateau(factor=0.5, patience=0),
        [(INF, 0.5), (3, 0.5), (INF, 0.25), (-INF, 0.25), (-INF, 0.125), (1, 0.0625)],
    ),
    "infinities, max": (
        Plateau(factor=0.5, patience=0, mode="max"),
        [(-INF, 0.5), (3, 0.5), (-INF, 0.25), (INF, 0.25), (INF, 0.125)],
    ),
}


@pytest.mark.parametrize("case", TABLES.values(), ids=TABLES)
def test_tables(case):
    plateau, table = case
    metrics, expected = zip(*table, strict=True)
    assert scales(plateau, metrics) == list(expected)


# The agreement with PyTorch.

SEQUENCES, LENGTH = 10_000, 30
FIELDS = "factor", "patience", "threshold", "cooldown", "min_scale"


def random_configurations(rng, n):
    return {
        "factor": rng.choice([0.1, 0.5, 0.9, 1e-8], n) * rng.uniform(0.9, 1, n),
        "patience": rng.choice([0, 0, 1, 2, 3, 5, 29], n),
        "threshold": rng.choice([0, 1e-9, 1e-4, 0.05, 0.3], n),
        "cooldown": rng.choice([0, 0, 1, 2, 5, 50], n),
        "min_scale": rng.choice([0, 0, 1e-3, 0.3, 1], n),
    }


def random_metrics(rng, mode, threshold_mode, thresholds):
    """Sequences of all kinds, many of which meet the threshold exactly, or miss it by an ulp."""
    n, sign = len(thresholds), 1 if mode == "min" else -1
    steps = np.arange(LENGTH)
    falling = np.exp(-0.2 * steps) + rng.uniform(0, 0.3, (n, 1)) * rng.normal(size=(n, LENGTH))
    constant = np.repeat(rng.normal(size=(n, 1)), LENGTH, axis=1)
    few = rng.integers(-1, 3, (n, LENGTH)).astype(float)
    wide = rng.normal(size=(n, LENGTH)) * 10.0 ** rng.uniform(-300, 300, (n, 1))
    exact = np.empty((n, LENGTH))
    exact[:, 0] = rng.normal(size=n)
    for i in range(1, LENGTH):
        best, slack = exact[:, i - 1], sign * thresholds
        target = best * (1 - slack) if threshold_mode == "rel" else best - slack
        ulps = rng.integers(-1, 2, n)
        exact[:, i] = np.where(ulps == 0, target, np.nextafter(target, np.copysign(INF, ulps)))
    kinds = np.stack([sign * falling, constant, few, wide, exact])
    metrics = kinds[rng.integers(0, len(kinds), n), np.arange(n)]
    special = rng.random((n, LENGTH)) < rng.choice([0, 0, 0.1, 0.5], (n, 1))
    return np.where(special, rng.choice([NAN, NAN, INF, -INF], (n, LENGTH)), metrics)


def torchs_history(metrics, *, min_scale, eps=0.0, **configuration):
    """(scale, best, bad count, cooldown left) after each metric, from PyTorch's scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = ReduceLROnPlateau(optimizer, min_lr=min_scale, eps=eps, **configuration)
    states = []
    for metric in metrics:
        scheduler.step(metric)
        counts = scheduler.num_bad_epochs, scheduler.cooldown_counter
        states.append((optimizer.param_groups[0]["lr"], scheduler.best, *counts))
    return states


def random_cases(n=SEQUENCES):
    """{(mode, threshold_mode): (configurations, metrics, PyTorch's states)}"""
    rng = np.random.default_rng(0)
    cases = {}
    for mode, threshold_mode in MODES:
        chosen = random_configurations(rng, n // len(MODES))
        metrics = random_metrics(rng, mode, threshold_mode, chosen["threshold"])
        rows = zip(*(chosen[name].tolist() for name in FIELDS), metrics.tolist(), strict=True)
        states = [
            torchs_history(
                row,
                mode=mode,
                threshold_mode=threshold_mode,
                **dict(zip(FIELDS, values, strict=True)),
            )
            for *values, row in rows
        ]
        cases[mode, threshold_mode] = chosen, metrics, np.array(states)
    return cases


@pytest.fixture(scope="module")
def cases():
    return random_cases()


def in_python(chosen, metrics, modes):
    rows = zip(*(chosen[name].tolist() for name in FIELDS), metrics.tolist(), strict=True)
    return np.array(
        [
            history(Plateau(**dict(zip(FIELDS, values, strict=True)), **modes), row)
            for *values, row in rows
        ]
    )


def by_lanes(asarray, chosen, metrics, modes):
    """One plateau for all sequences, its numbers arrays."""
    plateau = Plateau(**{name: asarray(values) for name, values in chosen.items()}, **modes)
    states = history(plateau, asarray(metrics.T))
    return np.array([[np.asarray(part) for part in state] for state in states]).transpose(2, 0, 1)


def in_one_program(chosen, metrics, modes):
    run = jax.jit(jax.vmap(lambda chosen, row: scanned(Plateau(**chosen, **modes), row)))
    with jax.enable_x64(True):
        states = run(chosen, metrics)
    assert states.scale.dtype == np.float64
    return np.stack(states, axis=-1)


@pytest.mark.long
def test_the_decisions_of_pytorch_in_one_compiled_program(cases):
    """Bit for bit, in 10 000 random sequences, whatever is in them."""
    reductions = 0
    for (mode, threshold_mode), (chosen, metrics, expected) in cases.items():
        states = in_one_program(chosen, metrics, {"mode": mode, "threshold_mode": threshold_mode})
        np.testing.assert_array_equal(states, expected)
        reductions += np.count_nonzero(np.diff(expected[..., 0], prepend=1))
    assert reductions > SEQUENCES


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_decisions_of_pytorch_in_arrays(cases, library):
    for (mode, threshold_mode), (chosen, metrics, expected) in cases.items():
        modes = {"mode": mode, "threshold_mode": threshold_mode}
        states = by_lanes(LIBRARIES[library], chosen, metrics, modes)
        np.testing.assert_array_equal(states, expected)


def test_the_decisions_of_pytorch_in_python(cases):
    for (mode, threshold_mode), (chosen, metrics, expected) in cases.items():
        few = {name: values[:250] for name, values in chosen.items()}
        modes = {"mode": mode, "threshold_mode": threshold_mode}
        np.testing.assert_array_equal(in_python(few, metrics[:250], modes), expected[:250])


@given(
    metrics=st.lists(st.floats() | st.integers(-3, 3), max_size=20),
    mode=st.sampled_from(MODES),
    factor=st.floats(0, 1, exclude_min=True, exclude_max=True),
    patience=st.integers(0, 4),
    threshold=st.floats(0, 2),
    cooldown=st.integers(0, 4),
    min_scale=st.floats(0, 1),
)
def test_the_decisions_of_pytorch_on_any_floats(metrics, mode, **configuration):
    configuration |= {"mode": mode[0], "threshold_mode": mode[1]}
    expected = torchs_history(metrics, **configuration)
    np.testing.assert_array_equal(
        np.array(history(Plateau(**configuration), metrics)).reshape(-1, 4),
        np.array(expected).reshape(-1, 4),
    )


def test_float32_decides_like_pytorch_away_from_the_threshold():
    rng = np.random.default_rng(1)
    metrics = (np.exp(-0.1 * np.arange(60)) + 0.1 * rng.normal(size=(200, 60))).astype(np.float32)
    plateau = Plateau(factor=0.5, patience=2, cooldown=1)
    expected = [scales(plateau, row.tolist()) for row in metrics]
    found = jax.jit(jax.vmap(lambda row: scanned(plateau, row)))(metrics)
    assert found.best.dtype == np.float32
    assert found.scale.tolist() == expected
    for library in ("numpy", "torch"):
        states = history(plateau, LIBRARIES[library](metrics.T))
        assert np.asarray(states[0].best).dtype == np.float32
        assert np.transpose([s.scale for s in states]).tolist() == expected


def test_float32_metrics_at_the_threshold_may_be_decided_otherwise():
    """The difference that the docstring names: 1 - 5e-8 is rounded to the metric itself."""
    plateau = Plateau(factor=0.5, patience=0, threshold=5e-8)
    metrics = np.array([1, 1 - 2**-24], np.float32)
    assert scales(plateau, metrics.tolist()) == [1.0, 1.0]
    assert [float(scale) for scale in scales(plateau, jnp.asarray(metrics))] == [1.0, 0.5]


def test_pytorchs_eps_and_min_lr():
    """The two differences that the docstring names."""
    configuration = {"factor": 0.1, "patience": 0}
    rates = [s[0] for s in torchs_history([1.0] * 12, min_scale=0, eps=1e-8, **configuration)]
    ours = scales(Plateau(**configuration), [1.0] * 12)
    assert rates[:8] == ours[:8]
    assert rates[8:] == [rates[8]] * 4  # PyTorch has stopped ...
    assert ours[-1] == pytest.approx(1e-11)  # ... where every reduction counts.

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    scheduler = ReduceLROnPlateau(optimizer, min_lr=0.02, **configuration)
    plateau = Plateau(min_scale=0.02 / 0.5, **configuration)
    for scale in scales(plateau, [1.0] * 5):
        scheduler.step(1.0)
        assert scheduler.get_last_lr() == [0.5 * scale]


@pytest.mark.long
@pytest.mark.parametrize("cooldown", [0, 3])
def test_optax_tolerates_one_bad_metric_less(cooldown):
    metrics = np.random.default_rng(2).normal(3, 1, 200)
    theirs = optax.contrib.reduce_on_plateau(factor=0.5, patience=5, cooldown=cooldown)
    state, update = theirs.init(jnp.zeros(())), jax.jit(theirs.update)
    expected = []
    for metric in metrics:
        _, state = update(jnp.zeros(()), state, value=metric)
        expected.append(float(state.scale))
    ours = scales(Plateau(factor=0.5, patience=4, cooldown=cooldown), jnp.array(metrics))
    assert [float(scale) for scale in ours] == expected
    assert expected[-1] < 0.01


# Numbers and arrays.


METRICS = [3.0, 2.0, 2.0, NAN, 2.0, 1.0, INF, 1.0, 1.0, -INF, 1.0, 1.0]
PLATEAU = Plateau(factor=0.5, patience=1, cooldown=1, min_scale=0.2)


def test_numbers_in_numbers_out():
    for like, metrics in [
        (0.0, METRICS),
        (np.float32(0), map(np.float32, METRICS)),
        (np.zeros(()), map(np.array, METRICS)),
        (0, map(np.float64, METRICS)),
    ]:
        states = history(PLATEAU, metrics, like)
        assert states == history(PLATEAU, METRICS)
        for state in [PLATEAU.init(like), *states]:
            assert [type(part) for part in state] == [float, float, int, int]
    assert scales(PLATEAU, [3, 2, 2, 2]) == [1.0, 1.0, 1.0, 0.5]
    assert history(PLATEAU, [3])[0].best.__class__ is float


@pytest.mark.parametrize(
    ("library", "dtype", "expected"),
    [
        ("numpy", "float64", ("float64", "int64")),
        ("numpy", "float32", ("float32", "int64")),
        ("numpy", "float16", ("float32", "int64")),
        ("numpy", "int8", ("float64", "int64")),
        ("jax", "float32", ("float32", "int32")),
        ("jax", "float16", ("float32", "int32")),
        ("jax", "bfloat16", ("float32", "int32")),
        ("jax", "uint8", ("float32", "int32")),
        ("torch", "float64", ("float64", "int64")),
        ("torch", "float32", ("float32", "int64")),
        ("torch", "bfloat16", ("float32", "int64")),
        ("torch", "int64", ("float32", "int64")),
    ],
)
@pytest.mark.parametrize("like", [False, True], ids=["from numbers", "from arrays"])
def test_arrays_in_arrays_out(library, dtype, expected, like):
    whole = [[3, 1], [2, 5], [2, 5], [2, 5], [1, 5], [1, 0], [1, 0]]
    if library == "torch":
        metrics = torch.tensor(whole).to(getattr(torch, dtype))
    else:
        metrics = LIBRARIES[library](whole, dtype)
    start = PLATEAU.init(metrics[0] if like else 0.0)
    states = list(itertools.accumulate(metrics, PLATEAU.update, initial=start))
    for state in states if like else states[1:]:
        assert {type(part) for part in state} == {type(metrics)}
        found = [str(part.dtype).removeprefix("torch.") for part in state]
        assert found == [expected[0]] * 2 + [expected[1]] * 2
        assert {tuple(part.shape) for part in state} == {(2,)}
    for lane in range(2):
        alone = scales(PLATEAU, [row[lane] for row in whole])
        assert [float(state.scale[lane]) for state in states[1:]] == pytest.approx(alone)


def test_a_state_takes_numbers_and_arrays_in_turn():
    """A restored state, or a metric that is a number now and then, changes no decision."""
    for library in (jnp.float32, torch.tensor):
        state = PLATEAU.init()
        for i, metric in enumerate(METRICS):
            state = PLATEAU.update(state, metric if i % 3 else library(metric))
            assert float(state.scale) == pytest.approx(scales(PLATEAU, METRICS)[i])
            assert isinstance(state.scale, jax.Array | torch.Tensor)
    numpys = PlateauState(*(np.asarray([part, part]) for part in PLATEAU.init()))
    assert isinstance(PLATEAU.update(numpys, torch.tensor(3.0)).best, torch.Tensor)
    assert isinstance(PLATEAU.update(numpys, jnp.float32(3)).best, jax.Array)


def test_numbers_of_a_plateau_may_be_arrays():
    """A sweep, in every library; NumPy's arrays mix with those of the others."""
    patience, factor = [0, 1, 2], [0.5, 0.25, 0.125]
    expected = [
        scales(Plateau(patience=p, factor=f), METRICS)
        for p, f in zip(patience, factor, strict=True)
    ]
    for ours, theirs in itertools.product(LIBRARIES, LIBRARIES):
        if {ours, theirs} == {"jax", "torch"}:
            continue
        sweep = Plateau(patience=LIBRARIES[ours](patience), factor=LIBRARIES[ours](factor))
        found = scales(sweep, [LIBRARIES[theirs]([m, m, m]) for m in METRICS])
        np.testing.assert_array_equal(np.transpose([np.asarray(s) for s in found]), expected)
        found = scales(sweep, METRICS)
        np.testing.assert_array_equal(np.transpose([np.asarray(s) for s in found]), expected)


def test_libraries_do_not_mix():
    with pytest.raises(ValueError, match=r"one library.*; got .*jax.*torch"):
        PLATEAU.update(PLATEAU.init(torch.zeros(())), jnp.float32(1))


def test_no_gradient_flows_and_no_graph_is_kept():
    weight = torch.tensor(2.0, requires_grad=True)
    state = PLATEAU.update(PLATEAU.init(weight), weight * 3)
    assert not any(part.requires_grad for part in state)


def test_the_state_stays_on_the_device_and_is_never_looked_at():
    """Tensors of the meta device have no values: to wait for one would be an error."""
    metric = torch.tensor(2.0, device="meta")
    states = [PLATEAU.init(metric), PLATEAU.update(PLATEAU.init(), metric)]
    states += [PLATEAU.update(state, other) for state in states for other in (metric, 1.0)]
    assert {part.device.type for state in states for part in state} == {"meta"}


# Compilers.


@pytest.mark.parametrize(
    ("x64", "dtype"),
    [
        *((False, dtype) for dtype in ("float32", "bfloat16", "int32")),
        *((True, dtype) for dtype in ("float32", "float64", "bfloat16", "int32")),
    ],
)
@pytest.mark.parametrize("like", [False, True], ids=["from numbers", "from arrays"])
def test_a_scan_carries_the_state(x64, dtype, like):
    whole = [3, 2, 2, 2, 2, 1, 1, 1]

    with jax.enable_x64(x64):
        metrics = jnp.array(whole, dtype)
        states = jax.jit(lambda m: scanned(PLATEAU, m, m[0] if like else 0.0))(metrics)
    assert states.scale.tolist() == pytest.approx(scales(PLATEAU, whole), rel=1e-7)
    wide = "float64" if x64 and dtype in ("float64", "int32") else "float32"
    assert states.scale.dtype == states.best.dtype == wide
    assert states.bad_count.dtype == states.cooldown_left.dtype == ("int64" if x64 else "int32")


def test_a_jitted_loop_compiles_once():
    traces = []

    @jax.jit
    def step(state, metric):
        traces.append(None)
        return PLATEAU.update(state, metric)

    metrics = jnp.array(METRICS)
    states = list(itertools.accumulate(metrics, step, initial=PLATEAU.init(metrics[0])))
    assert [float(state.scale) for state in states[1:]] == pytest.approx(scales(PLATEAU, METRICS))
    assert len(traces) == 1
    for _ in itertools.accumulate(metrics, step, initial=PLATEAU.init()):
        pass
    assert len(traces) == 2  # Python numbers in the first step, arrays in the others.


def test_one_program_sweeps_patience_factor_and_threshold():
    sweep = [
        {"patience": 5, "factor": 0.1, "threshold": 1e-4},
        {"patience": 0, "factor": 0.5, "threshold": 0.1},
        {"patience": 1, "factor": 0.3, "threshold": 0.0},
    ]
    stacked = {name: jnp.array([one[name] for one in sweep]) for name in sweep[0]}

    modes = {"mode": "max", "threshold_mode": "abs"}
    run = jax.jit(lambda chosen, metrics: scanned(Plateau(**chosen, **modes), metrics))
    metrics = np.random.default_rng(3).random(40)
    found = jax.vmap(run, (0, None))(stacked, metrics.astype("float32"))
    for lane, one in zip(found.scale, sweep, strict=True):
        expected = scales(Plateau(**one, **modes), metrics)
        np.testing.assert_allclose(lane, expected, rtol=1e-5)


def test_torch_compile_and_vmap():
    # No GPU or compiler of C++ is needed to see that the graph has no break.
    update = torch.compile(PLATEAU.update, backend="eager", fullgraph=True)
    metrics = torch.tensor(METRICS)
    states = list(itertools.accumulate(metrics, update, initial=PLATEAU.init(metrics[0])))
    assert [state.scale.item() for state in states[1:]] == pytest.approx(scales(PLATEAU, METRICS))
    lanes = PLATEAU.init(metrics)
    found = torch.vmap(PLATEAU.update)(lanes, metrics)
    torch.testing.assert_close(found, PLATEAU.update(lanes, metrics), rtol=0, atol=0)


def test_exports_without_64_bit_types_or_callbacks():
    state, metric = PLATEAU.init(jnp.zeros(())), jnp.zeros(())
    for platform in ("tpu", "cuda"):
        exported = jax.export.export(jax.jit(PLATEAU.update), platforms=[platform])
        program = exported(state, metric).mlir_module()
        assert "custom_call" not in program
        assert "xi64" not in program
        assert "f64" not in program


# A value.


VALUES = [
    Plateau(),
    PLATEAU,
    Plateau(patience=0, threshold=0, threshold_mode="abs", mode="max"),
    Plateau(patience=LARGEST, cooldown=LARGEST, min_scale=1),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        lambda value: pickle.loads(pickle.dumps(value)),
        lambda value: eval(repr(value), vars(rex_core).copy()),
        lambda value: from_dict(json.loads(json.dumps(to_dict(value), allow_nan=False))),
    ],
    ids=["copy", "deepcopy", "pickle", "repr", "json"],
)
def test_values_come_back_equal(value, again):
    other = again(value)
    assert type(other) is Plateau
    assert other == value
    assert hash(other) == hash(value)
    assert repr(other) == repr(value)
    assert history(other, [1, 2, 2]) == history(value, [1, 2, 2])


def test_equality_repr_and_replace():
    assert len(set(VALUES)) == len(VALUES)
    assert Plateau(factor=0.5) == Plateau(factor=1 / 2) != Plateau(factor=0.25)
    assert repr(Plateau()) == "Plateau()"
    assert repr(Plateau(mode="max", patience=5)) == "Plateau(patience=5, mode='max')"
    assert PLATEAU.replace(patience=3) == Plateau(factor=0.5, patience=3, cooldown=1, min_scale=0.2)
    with pytest.raises(ValueError, match="patience must be"):
        PLATEAU.replace(patience=-1)
    for field in Plateau.fields:
        with pytest.raises(AttributeError):
            setattr(PLATEAU, field, 1)
    with pytest.raises(TypeError):
        Plateau(0.1)


def test_the_written_form_is_stable():
    assert to_dict(Plateau(mode="max")) == {
        "version": 1,
        "type": "Plateau",
        "factor": 0.1,
        "patience": 10,
        "threshold": 1e-4,
        "threshold_mode": "rel",
        "mode": "max",
        "cooldown": 0,
        "min_scale": 0.0,
    }
    assert to_dict(Plateau(patience=np.int64(3), factor=jnp.float32(0.5)))["patience"] == 3
    with pytest.raises(ValueError, match=r"min_lr must be a parameter of Plateau"):
        from_dict({**to_dict(Plateau()), "min_lr": 0.0})
    with pytest.raises(ValueError, match="mode must be one of min, max; got 'up'"):
        from_dict({**to_dict(Plateau()), "mode": "up"})


def test_the_state_is_a_pytree_and_survives_checkpoints():
    state = history(PLATEAU, METRICS[:5])[-1]
    assert jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(state)) == state
    assert pickle.loads(pickle.dumps(state)) == state
    assert PlateauState(**json.loads(json.dumps(state._asdict()))) == state
    for saved in (state, PLATEAU.update(PLATEAU.init(), torch.tensor(2.0)), PLATEAU.init()):
        file = io.BytesIO()
        torch.save(saved._asdict(), file)
        file.seek(0)
        assert PlateauState(**torch.load(file, weights_only=True)) == saved


# What is refused.


NO_NUMBERS = [
    *("1", "", None, [1], (1.0,), {}, 1j, True, object(), 10**400),
    *(np.bool_(True), np.array([True]), np.array([1j]), np.array(["1"]), np.array(None)),
    *(np.datetime64("2020-01-01"), np.timedelta64(3, "ns"), np.zeros(2, "V4")),
    *(jnp.array([True]), jnp.complex64(1)),
    *(torch.tensor(True), torch.tensor([1j])),
]
NO_COUNTS = [
    *NO_NUMBERS,
    *(-1, 0.0, 2.0, 1.5, NAN, INF, 2**31, np.float64(3), np.array([0, -1]), np.array([1.0])),
    *(jnp.int32(-1), jnp.float32(2), torch.tensor(-1), torch.tensor(2.0)),
]
NOT_FINITE = [NAN, INF, -INF, np.array([0.5, NAN]), jnp.float32(NAN), torch.tensor(INF)]
# field: (range, what is not in it)
REFUSED = {
    "factor": ("in (0, 1)", [0, 1, -0.5, 1.5, np.array([0.5, 1]), *NO_NUMBERS, *NOT_FINITE]),
    "patience": (f"an integer in [0, {LARGEST}]", NO_COUNTS),
    "cooldown": (f"an integer in [0, {LARGEST}]", NO_COUNTS),
    "threshold": (
        "a finite number >= 0",
        [-1, -1e-9, np.array([0, -1]), *NO_NUMBERS, *NOT_FINITE],
    ),
    "threshold_mode": ("one of rel, abs", ["relative", "", None, 1, True, ["rel"], b"rel"]),
    "mode": ("one of min, max", ["MIN", "", None, 1, True, ["min"], np.array(["min"])]),
    "min_scale": ("in [0, 1]", [-0.1, 1.1, 2, np.array([0, 2]), *NO_NUMBERS, *NOT_FINITE]),
}


def refused(call, message):
    with pytest.raises(ValueError, match=r" must be .+; got ") as error:
        call()
    assert type(error.value) is ValueError
    assert str(error.value) == message


@pytest.mark.parametrize("field", REFUSED)
def test_fields(field):
    accepted, values = REFUSED[field]
    for value in values:
        message = f"{field} must be {accepted}; got {value!r}"
        refused(lambda value=value: Plateau(**{field: value}), message)


def test_metrics():
    accepted = "a real number, NaN and infinities included, or an array of them"
    for value in NO_NUMBERS:
        message = f"metric must be {accepted}; got {value!r}"
        refused(lambda value=value: PLATEAU.update(PLATEAU.init(), value), message)
        refused(lambda value=value: PLATEAU.init(value), message.replace("metric", "like", 1))
    with pytest.raises(ValueError, match="metric must be a real number"):
        jax.jit(PLATEAU.update)(PLATEAU.init(), True)


def test_states():
    for state in (None, 1.0, (1.0, INF, 0, 0), PLATEAU.init()._asdict(), [*PLATEAU.init()]):
        with pytest.raises(ValueError, match=r"^state must be the PlateauState .*; got ") as error:
            PLATEAU.update(state, 1.0)
        assert repr(state) in str(error.value)
    state = PLATEAU.init()
    for name in ("scale", "best"):
        for value in NO_NUMBERS:
            message = f"state.{name} must be a real number, NaN and infinities included, or an "
            refused(
                lambda name=name, value=value: PLATEAU.update(state._replace(**{name: value}), 1.0),
                f"{message}array of them; got {value!r}",
            )
    for name in ("bad_count", "cooldown_left"):
        for value in [*NO_NUMBERS, -1, 1.0, 1.5, NAN, 2**31, np.array([1.0]), jnp.float32(2)]:
            refused(
                lambda name=name, value=value: PLATEAU.update(state._replace(**{name: value}), 1.0),
                f"state.{name} must be an integer in [0, {LARGEST}], or an array of them; "
                f"got {value!r}",
            )


def test_numpys_scalars_become_pythons_numbers():
    plateau = Plateau(factor=np.float64(0.5), patience=np.int64(3), min_scale=np.float64(0.1))
    same = Plateau(factor=0.5, patience=3, min_scale=0.1)
    assert repr(plateau) == repr(same)
    assert hash(plateau) == hash(same)


# Real training.


def digits(asarray):
    """Images and labels to train on, and to evaluate on."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    return [asarray(part) for part in (images[:1200], labels[:1200], images[1200:], labels[1200:])]


EPOCHS, RATE = 40, 2.0


@pytest.fixture
def one_thread():
    """On so small a network threads only wait for each other, ten times as long as it trains."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def torch_loop():
    """A network, its optimizer, and a function that trains for an epoch and returns the loss."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.5)
    images, labels, test_images, test_labels = digits(torch.as_tensor)
    loss = torch.nn.CrossEntropyLoss()

    def epoch():
        for batch in range(0, len(images), 200):
            optimizer.zero_grad()
            loss(network(images[batch : batch + 200]), labels[batch : batch + 200]).backward()
            optimizer.step()
        with torch.no_grad():
            return loss(network(test_images), test_labels)

    return network, optimizer, epoch


def set_rate(optimizer, state):
    for group in optimizer.param_groups:
        group["lr"] = RATE * state.scale


@pytest.mark.usefixtures("one_thread")
def test_a_torch_loop_is_the_loop_with_pytorchs_scheduler():
    plateau = Plateau(factor=0.5, patience=1, cooldown=1, min_scale=2**-6)
    theirs, optimizer, epoch = torch_loop()
    scheduler = ReduceLROnPlateau(
        optimizer, factor=0.5, patience=1, cooldown=1, min_lr=RATE * 2**-6
    )
    expected = []
    for _ in range(EPOCHS):
        scheduler.step(epoch())
        expected += scheduler.get_last_lr()

    ours, optimizer, epoch = torch_loop()
    state, rates = plateau.init(), []
    for _ in range(EPOCHS):
        state = plateau.update(state, epoch().item())
        set_rate(optimizer, state)
        rates.append(optimizer.param_groups[0]["lr"])

    assert rates == expected
    assert len(set(rates)) > 3  # The metric did decide.
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures("one_thread")
def test_a_lambda_lr_takes_the_scale_with_its_curve():
    plateau, curve = Plateau(factor=0.5, patience=0), Schedule(warmup_steps=3)
    _, optimizer, epoch = torch_loop()
    state = plateau.init()
    scheduler = LambdaLR(optimizer, lambda t: curve(t, 20) * state.scale)
    for t in range(20):
        rate = optimizer.param_groups[0]["lr"]
        assert rate == pytest.approx(RATE * curve(t, 20) * state.scale, rel=1e-15)
        state = plateau.update(state, epoch().item())
        scheduler.step()
    assert state.scale < 0.2


@pytest.mark.usefixtures("one_thread")
def test_a_torch_loop_resumes():
    plateau = Plateau(factor=0.5, patience=1)
    network, optimizer, epoch = torch_loop()
    state, rates, saved = plateau.init(), [], None
    for i in range(EPOCHS):
        if i == EPOCHS // 2:
            saved = io.BytesIO()
            parts = network.state_dict(), optimizer.state_dict(), state._asdict()
            torch.save(parts, saved)
        state = plateau.update(state, epoch().item())
        set_rate(optimizer, state)
        rates.append(state.scale)

    saved.seek(0)
    again, optimizer, epoch = torch_loop()
    weights, momenta, fields_of_state = torch.load(saved, weights_only=True)
    again.load_state_dict(weights)
    optimizer.load_state_dict(momenta)
    state, resumed = PlateauState(**fields_of_state), []
    for _ in range(EPOCHS // 2, EPOCHS):
        state = plateau.update(state, epoch().item())
        set_rate(optimizer, state)
        resumed.append(state.scale)
    assert resumed == rates[EPOCHS // 2 :]
    assert resumed[-1] < rates[EPOCHS // 2]
    for a, b in zip(again.parameters(), network.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.long
def test_patience_is_swept_in_one_jitted_training_loop():
    """Decay on plateau as the REX paper tunes it, all patiences in one program."""
    images, labels, test_images, test_labels = digits(jnp.asarray)
    batches = images.reshape(6, 200, 64), labels.reshape(6, 200)
    optimizer = optax.sgd(RATE, momentum=0.5)

    def loss(params, images, labels):
        logits = jax.nn.relu(images @ params["a"]) @ params["b"]
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    @jax.vmap
    def train(patience):
        plateau = Plateau(factor=0.1, patience=patience)
        keys = jax.random.split(jax.random.key(0))
        params = {
            "a": jax.random.normal(keys[0], (64, 16)) / 8,
            "b": jax.random.normal(keys[1], (16, 10)) / 4,
        }

        def epoch(carry, _):
            params, opt_state, plateau_state = carry

            def step(carry, batch):
                params, opt_state = carry
                grads = jax.grad(loss)(params, *batch)
                updates, opt_state = optimizer.update(grads, opt_state, params)
                updates = optax.tree.scale(plateau_state.scale, updates)
                return (optax.apply_updates(params, updates), opt_state), None

            (params, opt_state), _ = jax.lax.scan(step, (params, opt_state), batches)
            metric = loss(params, test_images, test_labels)
            plateau_state = plateau.update(plateau_state, metric)
            return (params, opt_state, plateau_state), (metric, plateau_state.scale, params)

        carry = params, optimizer.init(params), plateau.init()
        return jax.lax.scan(epoch, carry, length=60)[1]

    patiences = [5, 10, 15]
    metrics, found, params = train(jnp.array(patiences))
    drops = []
    for lane, patience in enumerate(patiences):
        expected = scales(Plateau(factor=0.1, patience=patience), metrics[lane])
        np.testing.assert_array_equal(found[lane], expected)
        drops.append(int(np.argmax(found[lane] < 1)))
    assert 0 < drops[0] < drops[1] < drops[2]
    # The scale reaches the weights: with a tenth of the rate they move far less.
    moved = np.linalg.norm(np.diff(params["b"], axis=1), axis=(2, 3))
    for lane, drop in enumerate(drops):
        before, after = moved[lane, drop - 4 : drop], moved[lane, drop + 1 : drop + 5]
        assert after.mean() < 0.3 * before.mean()


def test_the_rate_of_inject_hyperparams_follows():
    plateau = Plateau(factor=0.5, patience=0)
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.25)
    params = jnp.zeros(())
    opt_state, state = optimizer.init(params), plateau.init()
    update, moved = jax.jit(optimizer.update), []
    for metric in (3.0, 3.0, 2.0, 2.0, 2.0):
        state = plateau.update(state, metric)
        opt_state = optax.tree_utils.tree_set(
            opt_state, learning_rate=jnp.float32(0.25 * state.scale)
        )
        updates, opt_state = update(jnp.ones(()), opt_state, params)
        moved.append(-float(updates))
    assert moved == [0.25 * scale for scale in scales(plateau, (3.0, 3.0, 2.0, 2.0, 2.0))]
    assert moved[-1] == 0.03125
