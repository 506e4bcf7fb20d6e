"""Train a network on scikit-learn's digits with Keras, and give it more epochs half-way.

    KERAS_BACKEND=jax python examples/digits_keras.py --epochs 10

The schedule is part of the model. The saved model has it, and goes on at the right update.
"""

import argparse
import tempfile
from pathlib import Path

import keras
from rex_keras import RateLogger, as_schedule
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from rex_core import Replan, Schedule, total_steps

BATCH = 64
RATE = Schedule("rex", peak_value=0.2, warmup_ratio=0.05)


def make(rate):
    """A network that is compiled with a rate."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main():
    """Train for half of the epochs, save, load, go on with twice the budget, and test."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=10, help="the budget in epochs")
    epochs = parser.parse_args().epochs
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x / 16, y, test_size=0.25, random_state=0)

    def updates(count):
        return total_steps(epochs=count, dataset_size=len(train_x), batch_size=BATCH)

    def fit(model, **span):
        shown = {"batch_size": BATCH, "verbose": 2, "callbacks": [RateLogger()]}
        model.fit(train_x, train_y, **span, **shown)

    model = make(as_schedule(RATE, updates(epochs)))
    fit(model, epochs=epochs // 2)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        model = keras.models.load_model(Path(folder) / "model.keras")

    plan = Replan(RATE, t0=int(model.optimizer.iterations), T0=updates(epochs))
    model.optimizer.learning_rate = as_schedule(plan, updates(2 * epochs))
    model.compile(model.optimizer, model.loss, metrics=["accuracy"])
    fit(model, initial_epoch=epochs // 2, epochs=2 * epochs)

    _, accuracy = model.evaluate(test_x, test_y, verbose=0)
    print(f"test accuracy after {updates(2 * epochs)} updates: {accuracy:.1%}")


if __name__ == "__main__":
    main()
