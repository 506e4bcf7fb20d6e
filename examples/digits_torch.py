"""Train a network on scikit-learn's digits with PyTorch, within a budget of updates.

    python examples/digits_torch.py --steps 300

The rate and the momentum follow schedules. Half-way the run is saved, and goes on from there.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from rex_torch import HyperparamScheduler
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from rex_core import Schedule, demon

BATCH = 64
RATE = Schedule("rex", peak_value=0.2, warmup_ratio=0.05)
MOMENTUM = demon(0.9)


def make(steps):
    """A network, its optimizer and the scheduler of both settings."""
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    return model, optimizer, HyperparamScheduler(optimizer, steps, lr=RATE, momentum=MOMENTUM)


def train(parts, x, y, steps, until):
    """Go on until so many updates are made."""
    model, optimizer, scheduler = parts
    while scheduler.last_epoch < until:
        batch = torch.randint(len(x), (BATCH,))
        loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if scheduler.last_epoch % (steps // 5) == 0:
            rate = scheduler.get_last_lr()[0]
            print(f"update {scheduler.last_epoch:4}  loss {loss.item():.3f}  next rate {rate:.4f}")


def main():
    """Train, save, load, go on, and test."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=300, help="the budget in updates")
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.25, random_state=0)

    parts = make(steps)
    train(parts, train_x, train_y, steps, steps // 2)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        torch.save([part.state_dict() for part in parts], checkpoint)
        parts = make(steps)  # As a new process would.
        for part, state in zip(parts, torch.load(checkpoint), strict=True):
            part.load_state_dict(state)
    train(parts, train_x, train_y, steps, steps)

    accuracy = (parts[0](test_x).argmax(axis=1) == test_y).float().mean()
    print(f"test accuracy after {steps} updates: {accuracy:.1%}")


if __name__ == "__main__":
    main()
