"""Train a network on scikit-learn's digits with optax, under three budgets and one compilation.

    python examples/digits_optax.py --steps 50 200 800

The budget is in the optimizer's state, so that the compiled step serves all of them.
"""

import argparse

import jax
import jax.numpy as jnp
import optax
from rex_optax import BudgetedSchedule
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from rex_core import Schedule, demon

BATCH = 64
RATE = Schedule("rex", peak_value=0.2, warmup_ratio=0.05)
OPTIMIZER = optax.inject_hyperparams(optax.sgd)(
    learning_rate=BudgetedSchedule(RATE, total_steps=1000),
    momentum=BudgetedSchedule(demon(0.9), total_steps=1000),
)


def scores(params, x):
    """One hidden layer, and ten scores."""
    first, second = params
    return jax.nn.relu(x @ first) @ second


def loss_of(params, x, y):
    """The mean cross-entropy."""
    return optax.losses.softmax_cross_entropy_with_integer_labels(scores(params, x), y).mean()


@jax.jit
def step(params, opt_state, x, y):
    """One update."""
    loss, grads = jax.value_and_grad(loss_of)(params, x, y)
    updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def main():
    """Train once for each budget, and test."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 200, 800], help="the budgets")
    x, y = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = map(
        jnp.asarray, train_test_split(x / 16, y, test_size=0.25, random_state=0)
    )
    for steps in parser.parse_args().steps:
        *keys, key = jax.random.split(jax.random.key(0), 3)
        params = [
            jax.random.normal(keys[0], (64, 128)) / 8,
            jax.random.normal(keys[1], (128, 10)) / 11,
        ]
        opt_state = optax.tree_utils.tree_set(OPTIMIZER.init(params), total_steps=jnp.int32(steps))
        for batch in jax.random.randint(key, (steps, BATCH), 0, len(train_x)):
            params, opt_state, _ = step(params, opt_state, train_x[batch], train_y[batch])
        accuracy = (scores(params, test_x).argmax(axis=1) == test_y).mean()
        rate = opt_state.hyperparams["learning_rate"]
        print(f"test accuracy after {steps:4} updates: {accuracy:.1%}  last rate {rate:.5f}")
    print(f"compilations of the step: {step._cache_size()}")


if __name__ == "__main__":
    main()
