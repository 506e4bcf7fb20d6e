"""Training on eight devices and on one, for test_rex_optax_sharding.py, which provides them."""

import re
from collections import Counter
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from rex_optax import (
    BudgetedSchedule,
    as_schedule,
    gradient_norms,
    record_gradient_norms,
    replan,
    restart,
    resume,
)
from sklearn.datasets import load_digits

from benchmarks.budgeted.compilations import compilations
from rex_core import Replan, Schedule, demon

T, BATCH = 24, 64
RATE = Schedule(peak_value=0.3, end_value=0.001, init_value=0.01, warmup_ratio=0.2)
MOMENTUM = demon(0.9)

# The axes of the mesh, "data" for the batch, and the parameters that no device has as a whole.
SHARDED = {"w1": P("data"), "b1": P("data"), "w2": P("data")}
LAYOUTS = {
    "one device": ({"data": 1}, {}),
    "data parallel": ({"data": 8}, {}),
    "parameters sharded": ({"data": 8}, SHARDED),
    "tensor parallel": (
        {"data": 2, "model": 4},
        {"w1": P(None, "model"), "b1": P("model"), "w2": P("model")},
    ),
    "parameters sharded, shard_map": ({"data": 8}, SHARDED),
}
CASES = [
    ("as_schedule", "parameters sharded"),
    *(("BudgetedSchedule", layout) for layout in LAYOUTS if layout != "one device"),
]

injected = optax.inject_hyperparams(optax.sgd)
OPTIMIZERS = {
    "as_schedule": optax.sgd(as_schedule(RATE, T), momentum=0.9),
    "BudgetedSchedule": injected(BudgetedSchedule(RATE, T), momentum=BudgetedSchedule(MOMENTUM, T)),
}
CONSTANT = {
    "as_schedule": optax.sgd(0.1, momentum=0.9),
    "BudgetedSchedule": injected(0.1, momentum=0.9),
}

COLLECTIVE = re.compile(
    r"= (.+?) (all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all)(?:-start)?\("
)


@cache
def digits():
    images, labels = load_digits(return_X_y=True)
    return np.asarray(images / 16, np.float32), labels.astype(np.int32)


def start():
    one, two = jax.random.split(jax.random.key(0))
    return {
        "w1": jax.random.normal(one, (64, 32)) / 8,
        "b1": jnp.zeros(32),
        "w2": jax.random.normal(two, (32, 10)) / 6,
        "b2": jnp.zeros(10),
    }


def network(params, images):
    hidden = jax.nn.relu(images @ params["w1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


def loss(params, images, labels):
    logits = network(params, images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def loss_in_shards(parts, params, images, labels):
    """The loss, on a device that has its parts of the parameters and of the batch."""
    whole = {
        name: array if parts[name] == P() else jax.lax.all_gather(array, "data", tiled=True)
        for name, array in params.items()
    }
    return jax.lax.pmean(loss(whole, images, labels), "data")


def train_step(optimizer, loss, params, state, images, labels):
    grads = jax.grad(loss)(params, images, labels)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state


def made(layout):
    """The mesh, and the parts of each parameter."""
    axes, parts = LAYOUTS[layout]
    count = np.prod(list(axes.values()))
    mesh = jax.make_mesh(
        tuple(axes.values()),
        tuple(axes),
        (AxisType.Auto,) * len(axes),
        devices=jax.devices()[:count],
    )
    return mesh, {name: parts.get(name, P()) for name in start()}


def alike(optimizer, parts):
    """The parts of the optimizer's state: what is made as the parameters are, and the counters."""
    return optax.tree_utils.tree_map_params(
        optimizer,
        lambda _, part: part,
        jax.eval_shape(optimizer.init, start()),
        parts,
        transform_non_params=lambda _: P(),
    )


def placed(optimizer, layout):
    """The train step, parameters and state where they belong, and the shardings of the two."""
    mesh, parts = made(layout)
    parts = parts, alike(optimizer, parts)
    batch = P("data"), P("data")
    if layout.endswith("shard_map"):
        step = jax.shard_map(
            partial(train_step, optimizer, partial(loss_in_shards, parts[0])),
            mesh=mesh,
            in_specs=(*parts, *batch),
            out_specs=parts,
        )
    else:
        step = partial(train_step, optimizer, loss)
    place = partial(jax.tree.map, partial(NamedSharding, mesh))
    carried = place(parts)
    step = jax.jit(step, in_shardings=(*carried, *place(batch)), out_shardings=carried)
    params = start()
    return step, jax.device_put((params, optimizer.init(params)), carried), carried


@cache
def program(name, layout, optimizers="scheduled"):
    """`placed`, with the step compiled: that program is what runs, and none is made besides."""
    optimizer = {"scheduled": OPTIMIZERS, "constant": CONSTANT}[optimizers][name]
    step, arguments, carried = placed(optimizer, layout)
    return step.lower(*arguments, *batches(0)).compile(), arguments, carried


def batches(t):
    images, labels = digits()
    chosen = slice(t * BATCH, (t + 1) * BATCH)
    return images[chosen], labels[chosen]


def run(step, params, state):
    """The parameters and the state at the end, and what was scheduled for each step."""
    seen = []
    for t in range(T):
        params, state = step(params, state, *batches(t))
        # The wait also keeps the programs of several steps from waiting for each other's threads.
        jax.block_until_ready(params)
        hyperparams = getattr(state, "hyperparams", {})
        seen.append({name: float(number) for name, number in hyperparams.items()})
    return params, state, seen


@cache
def on_one_device(name):
    step, arguments, _ = program(name, "one device")
    params, _, seen = run(step, *arguments)
    images, labels = digits()
    assert float((network(params, images).argmax(1) == labels).mean()) > 0.85
    return params, seen


def collectives(name, layout, optimizers="scheduled"):
    """The collectives of a compiled step: how many of each kind and shape."""
    step, *_ = program(name, layout, optimizers)
    return Counter(COLLECTIVE.findall(step.as_text()))


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_the_same_as_on_one_device(name, layout):
    step, arguments, carried = program(name, layout)
    params, state, seen = run(step, *arguments)
    expected, rates = on_one_device(name)
    assert seen == rates
    for key, array in expected.items():
        # Sums are taken in another order; what that changes is carried through the run.
        np.testing.assert_allclose(params[key], array, rtol=0, atol=1e-6, err_msg=key)
    assert jax.tree.map(lambda array: array.sharding, (params, state)) == carried
    counters = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim == 0]
    assert counters
    assert all(counter.sharding.is_fully_replicated for counter in counters)


def test_the_rates_are_those_of_the_schedule():
    for t, seen in enumerate(on_one_device("BudgetedSchedule")[1]):
        expected = {"learning_rate": RATE(t, T), "momentum": MOMENTUM(t, T)}
        assert seen == pytest.approx(expected, rel=6e-7)


@pytest.mark.parametrize(("name", "layout"), CASES)
def test_no_collective_is_added(name, layout):
    found = collectives(name, layout)
    assert found == collectives(name, layout, "constant")
    assert found
    assert not collectives(name, "one device")


def test_a_new_budget_needs_no_new_program():
    """If it is where the old one was."""
    layout = "tensor parallel"
    step, (params, state), _ = placed(OPTIMIZERS["BudgetedSchedule"], layout)
    everywhere = NamedSharding(made(layout)[0], P())
    t = 0
    for changed in (T, 2 * T, T - 8):
        budget = jax.device_put(jnp.int32(changed), everywhere)
        state = optax.tree_utils.tree_set(state, total_steps=budget)
        with compilations() as compiled:
            for _ in range(4):
                params, state = step(params, state, *batches(t))
                rate = float(state.hyperparams["learning_rate"])
                assert rate == pytest.approx(RATE(t, changed), rel=6e-7)
                t += 1
        assert len(compiled) == (changed == T)
    fresh = OPTIMIZERS["BudgetedSchedule"].init(start())
    for change, rate in [
        (lambda state: replan(state, 4 * T), Replan(RATE, t, changed)(t, 4 * T)),
        (lambda state: resume(state, fresh), RATE(t + 1, T)),
        (lambda state: restart(state, fresh), RATE(0, T)),
    ]:
        state = change(state)
        with compilations() as compiled:
            params, state = step(params, state, *batches(t))
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(rate, rel=6e-7)
        assert not compiled


def test_on_a_mesh_whose_shardings_are_types():
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Explicit,))
    sharding = NamedSharding(mesh, P("data"))
    optimizer = OPTIMIZERS["BudgetedSchedule"]
    params = jax.device_put(start()["b1"], sharding)
    update = jax.jit(optimizer.update)
    state = optimizer.init(params)
    for t in range(T + 1):
        updates, state = update(params, state, params)
        assert updates.sharding == sharding
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(RATE(t, T), rel=6e-7)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_gradient_norms_are_those_of_the_whole(norm):
    optimizer = optax.chain(record_gradient_norms(T, norm=norm), optax.sgd(0.1, momentum=0.9))
    found = {}
    for layout in ("one device", "parameters sharded", "tensor parallel"):
        step, (params, state), _ = placed(optimizer, layout)
        for t in range(4):
            params, state = step(params, state, *batches(t))
            jax.block_until_ready(params)
        assert state[0].norms.sharding.is_fully_replicated
        found[layout] = gradient_norms(state)
    expected = found["one device"]
    assert len(np.unique(expected)) == 4
    for layout, norms in found.items():
        np.testing.assert_allclose(norms, expected, rtol=1e-4, err_msg=layout)
