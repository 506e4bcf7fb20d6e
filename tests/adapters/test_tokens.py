"""Runs whose unit is the token, in batches of different size: as docs/guides/budget.md does it."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
import torch
from rex_optax import BudgetedSchedule
from rex_torch import HyperparamScheduler
from sklearn.datasets import load_digits

from rex_core import Schedule, demon

BATCH = 64
PIXEL = 10**8  # Tokens to a pixel, so that a short run has as many as a long one.
IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES / 16).astype(np.float32)
PIXELS = (IMAGES > 0).sum(1)
TOKENS = 6 * int(PIXELS.sum()) * PIXEL
RATE = Schedule(peak_value=0.3, end_value=0.001, init_value=0.01, warmup_steps=TOKENS // 20)
MOMENTUM = demon(0.9)


def batches():
    """The tokens spent before each batch, and the batch; some of its images may weigh nothing."""
    draw = np.random.default_rng(0)
    tokens = 0
    while tokens < TOKENS:
        rows = draw.choice(len(IMAGES), BATCH, replace=False)
        weights = (np.arange(BATCH) < draw.integers(BATCH // 4, BATCH + 1)).astype(np.float32)
        yield tokens, IMAGES[rows], LABELS[rows], weights
        tokens += int(PIXELS[rows] @ weights) * PIXEL


def test_the_counts_are_beyond_int32_and_no_multiples():
    spent = [tokens for tokens, *_ in batches()]
    assert TOKENS > 2**40
    assert len(spent) > 200
    assert len(set(np.diff(spent))) > 100


@pytest.mark.long
def test_optax():
    """In a unit that leaves int32 enough of them, for t, T and warmup_steps alike."""
    unit = 10**5
    T = TOKENS // unit
    rate = Schedule(
        peak_value=0.3, end_value=0.001, init_value=0.01, warmup_steps=TOKENS // 20 // unit
    )
    optimizer = optax.inject_hyperparams(optax.sgd)(
        BudgetedSchedule(rate, T), momentum=BudgetedSchedule(MOMENTUM, T)
    )
    traces = []

    def loss(params, images, labels, weights):
        logits = images @ params["w"] + params["b"]
        each = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return (each * weights).sum() / weights.sum()

    @jax.jit
    def train(params, state, t, *batch):
        traces.append(None)
        updates, state = optimizer.update(jax.grad(loss)(params, *batch), state, params, t=t)
        return optax.apply_updates(params, updates), state

    params = {"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}
    state = optimizer.init(params)
    for tokens, *batch in batches():
        t = tokens // unit
        params, state = train(params, state, t, *batch)
        expected = {"learning_rate": rate(t, T), "momentum": MOMENTUM(t, T)}
        assert jax.tree.map(float, state.hyperparams) == pytest.approx(expected, rel=6e-7)
        # Less than a unit of the whole budget apart.
        assert rate(t, T) == pytest.approx(RATE(tokens, TOKENS), abs=20 * 0.3 / T)
    assert len(traces) == 1
    logits = IMAGES @ np.asarray(params["w"]) + np.asarray(params["b"])
    assert (logits.argmax(1) == LABELS).mean() > 0.9


def test_optax_beyond_int32():
    """Exact where Python works it out, an error where an int32 of the state comes in."""
    rate = Schedule(peak_value=0.3, end_value=0.001, warmup_ratio=0.05)
    optimizer = optax.inject_hyperparams(optax.sgd)(BudgetedSchedule(rate, 2**31 - 1))
    state = optimizer.init(0.0)
    for t in (0, TOKENS // 3, TOKENS - 1, TOKENS):
        for spent, budget in ((t, TOKENS), (np.int64(t), TOKENS), (t, np.int64(TOKENS))):
            _, after = optimizer.update(0.0, state, 0.0, t=spent, T=budget)
            assert after.hyperparams["learning_rate"] == np.float32(rate(t, TOKENS))
    with pytest.raises(ValueError, match=r"^t must be in \[.*\] in int32; got 2147483648"):
        optimizer.update(0.0, state, 0.0, t=2**31)
    for budget in (2**31, np.int64(2**31), TOKENS):
        with pytest.raises(ValueError, match=r"^T must be in \[1, 2147483647\] in int32; got"):
            optimizer.update(0.0, state, 0.0, T=budget)
        with pytest.raises(ValueError, match=r"^T must be in \[1, 2147483647\] in int32; got"):
            jax.jit(lambda s, t, T=budget: optimizer.update(0.0, s, 0.0, t=t, T=T))(state, 3)


def train_in_torch(run, batches):
    model, optimizer, scheduler = run
    for tokens, images, labels, weights in batches:
        scheduler.step(tokens)
        group = optimizer.param_groups[0]
        assert (group["lr"], group["momentum"]) == (RATE(tokens, TOKENS), MOMENTUM(tokens, TOKENS))
        each = torch.nn.functional.cross_entropy(
            model(torch.tensor(images)), torch.tensor(labels), reduction="none"
        )
        weights = torch.tensor(weights)
        optimizer.zero_grad()
        ((each * weights).sum() / weights.sum()).backward()
        optimizer.step()


def start_in_torch():
    model = torch.nn.Linear(64, 10)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    return model, optimizer, HyperparamScheduler(optimizer, TOKENS, lr=RATE, momentum=MOMENTUM)


def test_pytorch(tmp_path):
    """And the number of tokens is the scheduler's state, from which a run goes on."""
    everything = list(batches())
    whole = start_in_torch()
    train_in_torch(whole, everything)
    model, _, scheduler = whole
    assert (model(torch.tensor(IMAGES)).argmax(1).numpy() == LABELS).mean() > 0.9
    assert scheduler.last_epoch == everything[-1][0]

    first = start_in_torch()
    train_in_torch(first, everything[:100])
    torch.save([part.state_dict() for part in first], tmp_path / "checkpoint")
    second = start_in_torch()
    states = torch.load(tmp_path / "checkpoint", weights_only=True)
    for part, state in zip(second, states, strict=True):
        part.load_state_dict(state)
    assert second[2].last_epoch == everything[99][0]
    train_in_torch(second, everything[100:])
    for ours, theirs in zip(second[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


# Keras on JAX warns so whenever it reads its own variables.
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras():
    """A loop sets the rate of each update; the first, of rate 0, moves nothing."""
    rate = Schedule(peak_value=1.0, end_value=0.01, warmup_steps=TOKENS // 20)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(), cross_entropy)
    for tokens, images, labels, weights in batches():
        before = model.get_weights()[0]
        model.optimizer.learning_rate = rate(tokens, TOKENS)
        model.train_on_batch(images, labels, sample_weight=weights)
        assert float(model.optimizer.learning_rate) == np.float32(rate(tokens, TOKENS))
        assert np.array_equal(before, model.get_weights()[0]) == (tokens == 0)
    assert (model.predict(IMAGES, verbose=0).argmax(1) == LABELS).mean() > 0.9
