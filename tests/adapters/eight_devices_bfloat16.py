"""bfloat16 weights on eight devices and on one, for test_rex_optax_sharding.py."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from rex_optax import kahan_summation, stochastic_rounding

from tests.adapters.eight_devices import COLLECTIVE, LAYOUTS, alike, made, start

FINISHES = {"kahan": kahan_summation(), "stochastic": stochastic_rounding(3)}
STEPS = 20


def weights():
    return jax.tree.map(lambda w: w.astype(jnp.bfloat16), start())


def updates(t):
    """Updates about as small as half of a last digit of the weights."""
    keys = optax.tree_utils.tree_split_key_like(jax.random.key(t), start())
    return jax.tree.map(lambda w, key: jax.random.normal(key, w.shape) / 2000, start(), keys)


def step(finish, params, state, update):
    update, state = finish.update(update, state, params)
    return optax.apply_updates(params, update), state


def run(finish, layout):
    """The compiled step, and the weights and the state at the end."""
    mesh, parts = made(layout)
    specs = (parts, alike(finish, parts), parts)
    function = partial(step, finish)
    if layout.endswith("shard_map"):
        function = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=specs[:2])
    places = jax.tree.map(partial(NamedSharding, mesh), specs)
    function = jax.jit(function, in_shardings=places, out_shardings=places[:2])
    params = weights()
    carried = jax.device_put((params, finish.init(params)), places[:2])
    compiled = function.lower(*carried, updates(0)).compile()
    for t in range(STEPS):
        carried = compiled(*carried, jax.device_put(updates(t), places[2]))
    assert jax.tree.map(lambda array: array.sharding, carried) == places[:2]
    return compiled.as_text(), jax.tree.map(np.asarray, carried)


@pytest.mark.parametrize("name", FINISHES)
def test_the_same_on_eight_devices(name):
    _, expected = run(FINISHES[name], "one device")
    assert any((expected[0][key] != np.asarray(array)).any() for key, array in weights().items())
    for layout in LAYOUTS:
        text, found = run(FINISHES[name], layout)
        assert not COLLECTIVE.findall(text)
        if name == "kahan" or not layout.endswith("shard_map"):
            jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_devices_of_a_shard_map_agree_on_replicated_weights():
    """Each part of a sharded weight has the noise of the part, a whole weight that of the whole."""
    _, expected = run(FINISHES["stochastic"], "one device")
    _, (found, _) = run(FINISHES["stochastic"], "parameters sharded, shard_map")
    np.testing.assert_array_equal(found["b2"], expected[0]["b2"])
    assert P("data") == LAYOUTS["parameters sharded, shard_map"][1]["w1"]
    assert (found["w1"] != expected[0]["w1"]).any()
    for key, array in expected[0].items():
        # The same mean; what is random is less than a last digit.
        difference = found[key].astype(np.float32) - array.astype(np.float32)
        assert abs(difference.mean()) < 3e-4
