"""What the tests of trainers share."""

import importlib

import pytest
import torch

from rex_core import Schedule

T = 8
SCHEDULE = Schedule(warmup_steps=2, end_value=0.1)
RATES = [0.1 * SCHEDULE(t, T) for t in range(T)]

# The trainers warn of much that is their own; what concerns a scheduler stays an error.
trainers_warn = pytest.mark.filterwarnings(
    "ignore", r"error:.*rex_core\.Plateau", "error:Detected call of .lr_scheduler"
)


def needs(*names, hint="`make test-trainers` has it"):
    """Import modules of trainers, or skip the test."""
    found = []
    for name in names:
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:  # Of the trainer, or of what it needs.
            pytest.skip(f"{name} cannot be imported ({error}): {hint}")
    return found[0] if len(found) == 1 else found


def sgd(lr=0.1):
    """An optimizer of one number."""
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=lr)


def run(optimizer, scheduler, steps=T):
    """The rates of a run."""
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates
