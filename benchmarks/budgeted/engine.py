"""Training: every schedule, peak rate and seed at once, as lanes of one vmapped, jitted program.

The budget T, the step to stop at, the peak rates and the seeds are arguments of that program, so
all budgets share one compilation. The lanes of a seed start from the same weights and see the same
batches, with the same noise.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from benchmarks.budgeted.optimizers import Optimizer
from benchmarks.budgeted.schedules import Rule
from benchmarks.budgeted.setting import Batch, Model, Setting
from rex_core import PlateauState


class State(NamedTuple):
    """Where training stands; all of it is arrays. Lanes are rates × schedules."""

    t: jax.Array  # updates done
    keys: jax.Array  # (seeds, 2, ...): for the order of the examples, and for all other noise
    order: jax.Array  # (seeds, training examples), of this epoch
    rates: jax.Array  # (rates, schedules), the peaks
    model: Model  # leaves are (seeds, lanes, ...)
    trace: Any  # the optimizer's state; leaves are (seeds, lanes, ...)
    plateaus: tuple[PlateauState, ...]  # of the schedules that have one; leaves are (seeds, rates)


class Programs(NamedTuple):
    """The compiled programs.

    start(seeds, rates) -> State, for seeds of shape (seeds,) and peak rates of shape (rates,
    schedules); advance(State, T, until) -> State, in the memory of the old one, which is no more.
    validation(State) and test(State) -> the metric, (seeds, rates, schedules).
    """

    start: Callable[[ArrayLike, ArrayLike], State]
    advance: Callable[[State, ArrayLike, ArrayLike], State]
    validation: Callable[[State], jax.Array]
    test: Callable[[State], jax.Array]


def programs(setting: Setting, optimizer: Optimizer, rules: Sequence[Rule]) -> Programs:
    """One lane for each combination of seed, peak rate and schedule.

    A rule may be several: one whose numbers are arrays of shape (n,) has n schedules, in its place.
    Rules that have a plateau are single, and come before those.
    """
    train, validation, test = jax.tree.map(
        jnp.asarray, (setting.train, setting.validation, setting.test)
    )
    watched = [(i, rule.plateau) for i, rule in enumerate(rules) if rule.plateau is not None]

    def chain(rate: Any, momentum: Any) -> optax.GradientTransformationExtraArgs:
        links = optimizer.update(rate, momentum), setting.finish
        return optax.with_extra_args_support(optax.chain(*links))

    def each_lane(function: Callable[..., Any]) -> Callable[..., Any]:
        return _spread(function, setting.lanes_at_once)

    def each_seed(function: Callable[..., Any]) -> Callable[..., Any]:
        return _spread(function, None if setting.lanes_at_once is None else 1)

    def update(
        batch: Batch, keys: jax.Array, model: Model, trace: Any, rate: jax.Array, momentum: Any
    ) -> tuple[Model, Any]:
        def objective(params: Any) -> tuple[jax.Array, Any]:
            return setting.loss(Model(params, model.stats), batch, keys[0])

        gradient, stats = jax.grad(objective, has_aux=True)(model.params)
        change, new = chain(rate, momentum).update(gradient, trace, model.params, key=keys[1])
        # Scheduled values are float32; a state of bfloat16 stays one.
        trace = jax.tree.map(lambda new, old: new.astype(old.dtype), new, trace)
        return Model(optax.apply_updates(model.params, change), stats), trace

    def update_seed(batch: Batch, keys: jax.Array, *lanes: Any) -> tuple[Model, Any]:
        updated: tuple[Model, Any] = each_lane(partial(update, batch, keys))(*lanes)
        return updated

    def metric(model: Model, examples: Batch) -> jax.Array:
        def of(chunk: Batch, key: jax.Array) -> jax.Array:
            return setting.metric(model, chunk, key)

        key = jax.random.key(0)  # All are measured with the same noise.
        if setting.evaluation_batch is None:
            return of(examples, key)
        chunks = jax.tree.map(
            lambda column: column.reshape(-1, setting.evaluation_batch, *column.shape[1:]), examples
        )
        keys = jax.random.split(key, len(jax.tree.leaves(chunks)[0]))
        means: jax.Array = _spread(of, 1)(chunks, keys)
        return means.mean()

    def metrics(model: Model, trace: Any, examples: Batch) -> jax.Array:
        def of_lane(model: Model, trace: Any) -> jax.Array:
            measured = optimizer.measured(trace[0], model.params)
            return metric(Model(measured, model.stats), examples)

        values: jax.Array = each_seed(each_lane(of_lane))(model, trace)
        return values

    def shuffled(key: jax.Array, epoch: jax.Array) -> jax.Array:
        return jax.random.permutation(jax.random.fold_in(key, epoch), setting.size)

    def step(train: Batch, validation: Batch, T: ArrayLike, state: State) -> State:
        t, keys, order, rates, model, trace, plateaus = state
        epoch, batch = jnp.divmod(t, setting.steps_per_epoch)
        order_keys, noise_keys = jax.random.wrap_key_data(keys).T
        order = jax.lax.cond(
            batch == 0, lambda: jax.vmap(shuffled, (0, None))(order_keys, epoch), lambda: order
        )
        chosen = jax.lax.dynamic_slice_in_dim(
            order, batch * setting.batch_size, setting.batch_size, axis=1
        )
        noise_keys = jax.vmap(jax.random.fold_in, (0, None))(noise_keys, t)
        noise_keys = jax.vmap(partial(jax.random.split, num=3))(noise_keys)
        examples = jax.tree.map(lambda column: column[chosen], train)
        examples = jax.vmap(setting.augment)(examples, noise_keys[:, 0])

        pairs = [(rule.rate(t, T), rule.momentum(t, T)) for rule in rules]
        shares, momenta = map(
            jnp.concatenate,
            zip(*(jnp.broadcast_arrays(*map(jnp.atleast_1d, pair)) for pair in pairs), strict=True),
        )
        scales = jnp.ones((len(keys), *rates.shape))
        for (i, _), plateau in zip(watched, plateaus, strict=True):
            scales = scales.at[:, :, i].set(plateau.scale)
        lanes = len(keys), rates.size
        model, trace = each_seed(update_seed)(
            examples,
            noise_keys[:, 1:],
            model,
            trace,
            (scales * (rates * shares)).reshape(lanes),
            jnp.broadcast_to(jnp.tile(momenta, len(rates)), lanes),
        )

        def look() -> tuple[PlateauState, ...]:
            return tuple(
                plateau.update(state, metrics(*of_rule(i), validation))
                for (i, plateau), state in zip(watched, plateaus, strict=True)
            )

        def of_rule(i: int) -> tuple[Model, Any]:
            lanes: tuple[Model, Any] = jax.tree.map(
                lambda leaf: leaf[:, i :: rates.shape[1]], (model, trace)
            )
            return lanes

        if watched:
            last = batch == setting.steps_per_epoch - 1
            plateaus = jax.lax.cond(last, look, lambda: plateaus)
        return State(t + 1, keys, order, rates, model, trace, plateaus)

    @jax.jit
    def start(seeds: jax.Array, rates: jax.Array) -> State:
        keys = jax.vmap(partial(jax.random.split, num=3))(jax.vmap(jax.random.key)(seeds))
        model = jax.tree.map(
            # The cast ends weak types, for which the first update would have its own compilation.
            lambda leaf: jnp.repeat(leaf[:, None].astype(leaf.dtype), rates.size, axis=1),
            jax.lax.map(setting.init, keys[:, 0]),  # it compiles in half the time of a vmap
        )
        metric = jnp.zeros((len(seeds), len(rates)))
        return State(
            t=jnp.asarray(0),
            keys=jax.random.key_data(keys[:, 1:]),
            order=jnp.zeros((len(seeds), setting.size), int),
            rates=rates,
            model=model,
            trace=jax.vmap(jax.vmap(chain(0.0, 0.0).init))(model.params),
            plateaus=tuple(plateau.init(like=metric) for _, plateau in watched),
        )

    # The examples are arguments: as constants, compilation would take its time over them.
    @partial(jax.jit, donate_argnames="state")
    def advance(
        train: Batch, validation: Batch, state: State, T: ArrayLike, until: ArrayLike
    ) -> State:
        def body(_: Any, state: State) -> State:
            return step(train, validation, T, state)

        return State(*jax.lax.fori_loop(state.t, until, body, state))

    @jax.jit
    def measure(examples: Batch, model: Model, trace: Any, rates: jax.Array) -> jax.Array:
        return metrics(model, trace, examples).reshape(-1, *rates.shape)

    return Programs(
        lambda seeds, rates: start(jnp.asarray(seeds), jnp.asarray(rates, jnp.float32)),
        partial(advance, train, validation),
        lambda state: measure(validation, state.model, state.trace, state.rates),
        lambda state: measure(test, state.model, state.trace, state.rates),
    )


def _spread(function: Callable[..., Any], at_once: int | None) -> Callable[..., Any]:
    """The function over the first axes of its arguments, all at once or some at a time."""
    if at_once is None:
        return jax.vmap(function)
    batch_size = None if at_once == 1 else at_once
    return lambda *xs: jax.lax.map(lambda x: function(*x), xs, batch_size=batch_size)
