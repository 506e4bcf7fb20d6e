"""rex_torch under accelerate, whose own count of steps a scheduler follows."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate import Accelerator
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from tests.adapters.digits_torch import (
    IMAGES,
    LABELS,
    RATE,
    SCHEDULERS,
    TRAIN,
    accuracy,
    digest,
    start,
)

pytestmark = pytest.mark.long

EPOCHS = 4
UPDATES = EPOCHS * TRAIN // 64  # Of two batches of 32.


def fit(name, first, last, budget=UPDATES, load=None, save=None):
    """The model, and the rate of each update, of epochs first to last."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    loader = DataLoader(TensorDataset(IMAGES[:TRAIN], LABELS[:TRAIN]), batch_size=32)
    model, optimizer, scheduler, loader = accelerator.prepare(*start(name, budget), loader)
    if load is not None:
        accelerator.load_state(load)
    rates = []
    for _ in range(first, last):
        for images, labels in loader:
            with accelerator.accumulate(model):
                accelerator.backward(cross_entropy(model(images), labels))
                if accelerator.sync_gradients:
                    rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
    if save is not None:
        accelerator.save_state(save)
    return model, rates


def test_two_processes_step_twice_an_update():
    """As accelerate says of every scheduler: its budget is in steps of all processes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.adapters.test_rex_torch_accelerate"],
            cwd=Path(__file__).parents[2],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        found = [rank.communicate(timeout=120) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], found
    rates = [json.loads(out) for out, _ in found]
    updates = UPDATES // 2
    assert rates[0] == rates[1] == pytest.approx([RATE(2 * t, UPDATES) for t in range(updates)])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_accumulate_and_resume(name, tmp_path):
    model, rates = fit(name, 0, EPOCHS)
    assert rates == pytest.approx([RATE(t, UPDATES) for t in range(UPDATES)])
    assert accuracy(model) > 0.85
    half = UPDATES // 2
    _, before = fit(name, 0, 2, save=str(tmp_path))
    resumed, after = fit(name, 2, EPOCHS, load=str(tmp_path))
    assert before + after == rates
    assert digest(resumed) == digest(model)
    _, longer = fit(name, 2, EPOCHS, budget=2 * UPDATES, load=str(tmp_path))
    assert longer == pytest.approx([RATE(t, 2 * UPDATES) for t in range(half, UPDATES)])


if __name__ == "__main__":
    print(json.dumps(fit("lambda_lr", 0, EPOCHS)[1]))
