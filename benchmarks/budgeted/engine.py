"""Training: every schedule, peak rate and seed at once, as lanes of one vmapped, jitted program.

The budget T and the step to stop at are arguments of that program, so all budgets share one
compilation. The lanes of a seed start from the same weights and see the same batches.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from benchmarks.budgeted.schedules import Pair
from benchmarks.budgeted.setting import Params, Setting


class State(NamedTuple):
    """Where training stands. Leaves of params and trace are (seeds, rates × schedules, ...)."""

    t: jax.Array  # updates done
    keys: jax.Array  # (seeds,)
    order: jax.Array  # (seeds, training examples), of this epoch
    params: Params
    trace: Any  # the optimizer's state


class Programs(NamedTuple):
    """The compiled programs: start() -> State, advance(State, T, until) -> State, and the errors.

    errors(params) -> (validation, test), each (seeds, rates, schedules).
    """

    start: Callable[[], State]
    advance: Callable[[State, ArrayLike, ArrayLike], State]
    errors: Callable[[Params], tuple[jax.Array, jax.Array]]


def programs(
    setting: Setting, schedules: Sequence[Pair], rates: Sequence[float], seeds: Sequence[int]
) -> Programs:
    """SGD with momentum, one lane for each combination of seed, rate and schedule."""
    shape = len(seeds), len(rates), len(schedules)
    lanes = len(rates) * len(schedules)
    peaks = jnp.asarray(rates)[:, None]
    train = jax.tree.map(jnp.asarray, setting.train)

    def update(
        params: Params, trace: Any, batch: Any, rate: jax.Array, momentum: jax.Array
    ) -> tuple[Params, Any]:
        optimizer = optax.sgd(rate, momentum)
        change, trace = optimizer.update(jax.grad(setting.loss)(params, batch), trace)
        return optax.apply_updates(params, change), trace

    # The lanes of a seed share its batch, so the batch is mapped over seeds alone.
    update_seed = jax.vmap(update, in_axes=(0, 0, None, 0, 0))
    update_all = jax.vmap(update_seed, in_axes=(0, 0, 0, None, None))

    def shuffled(key: jax.Array, epoch: jax.Array) -> jax.Array:
        return jax.random.permutation(jax.random.fold_in(key, epoch), setting.size)

    def step(T: ArrayLike, state: State) -> State:
        t, keys, order, params, trace = state
        epoch, batch = jnp.divmod(t, setting.steps_per_epoch)
        order = jax.lax.cond(
            batch == 0, lambda: jax.vmap(shuffled, (0, None))(keys, epoch), lambda: order
        )
        rows = jax.lax.dynamic_slice_in_dim(
            order, batch * setting.batch_size, setting.batch_size, axis=1
        )
        examples = jax.tree.map(lambda column: column[rows], train)
        shares = jnp.stack([rate(t, T) for rate, _ in schedules])
        momenta = jnp.stack([momentum(t, T) for _, momentum in schedules])
        params, trace = update_all(
            params, trace, examples, (peaks * shares).ravel(), jnp.tile(momenta, len(rates))
        )
        return State(t + 1, keys, order, params, trace)

    @jax.jit
    def start() -> State:
        keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
        init_keys, keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        params = jax.tree.map(
            # The cast ends weak types, for which the first update would have its own compilation.
            lambda leaf: jnp.repeat(leaf[:, None].astype(leaf.dtype), lanes, axis=1),
            jax.lax.map(setting.init, init_keys),  # it compiles in half the time of a vmap
        )
        order = jnp.zeros((len(seeds), setting.size), int)
        return State(jnp.asarray(0), keys, order, params, optax.sgd(0.0, 0.0).init(params))

    @jax.jit
    def advance(state: State, T: ArrayLike, until: ArrayLike) -> State:
        return State(*jax.lax.fori_loop(state.t, until, lambda _, state: step(T, state), state))

    @jax.jit
    def errors(params: Params) -> tuple[jax.Array, jax.Array]:
        def of(params: Params) -> tuple[jax.Array, jax.Array]:
            return setting.error(params, setting.validation), setting.error(params, setting.test)

        validation, test = jax.vmap(jax.vmap(of))(params)
        return validation.reshape(shape), test.reshape(shape)

    return Programs(start, advance, errors)
