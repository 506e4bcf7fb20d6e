"""A small network trained on scikit-learn's digits; as a script, in a process of its own."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rex_torch import HyperparamScheduler, lambda_lr
from sklearn.datasets import load_digits
from torch.distributed import barrier, destroy_process_group, init_process_group
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from rex_core import Schedule, demon

BATCH = 64
TRAIN = 1408
PEAK = 0.2
SHAPE = Schedule(end_value=0.01, init_value=0.1, warmup_steps=3)
RATE = Schedule(peak_value=PEAK, end_value=0.01 * PEAK, init_value=0.1 * PEAK, warmup_steps=3)
MOMENTUM = demon(0.9)

SCHEDULERS: dict[str, Callable[..., Any]] = {
    "lambda_lr": lambda optimizer, T: lambda_lr(optimizer, SHAPE, T),
    "absolute": lambda optimizer, T: lambda_lr(optimizer, RATE, T, absolute=True),
    "HyperparamScheduler": lambda optimizer, T: HyperparamScheduler(
        optimizer, T, lr=RATE, momentum=MOMENTUM
    ),
}

# Sums are then taken in one order, here and in every other process.
torch.set_num_threads(1)
_images, _labels = load_digits(return_X_y=True)
IMAGES, LABELS = torch.tensor(_images / 16, dtype=torch.float32), torch.tensor(_labels)


class Run(NamedTuple):
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))


def start(name: str, T: int, rate: Any = PEAK) -> Run:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    return Run(model, optimizer, SCHEDULERS[name](optimizer, T))


def batch(t: int, share: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.arange(t * BATCH, (t + 1) * BATCH)[share] % TRAIN
    return IMAGES[rows], LABELS[rows]


def train(run: Run, first: int, last: int, share: slice = slice(None)) -> list[float]:
    """The rate of each update from first to last."""
    rates = []
    for t in range(first, last):
        images, labels = batch(t, share)
        cross_entropy(run.model(images), labels).backward()
        rates.append(float(run.optimizer.param_groups[0]["lr"]))
        run.optimizer.step()
        run.optimizer.zero_grad()
        run.scheduler.step()
    return rates


def accuracy(model: torch.nn.Module) -> float:
    """On the examples that are not trained on."""
    with torch.no_grad():
        return float((model(IMAGES[TRAIN:]).argmax(1) == LABELS[TRAIN:]).float().mean())


def digest(model: torch.nn.Module) -> str:
    """Equal for parameters that are equal bit for bit."""
    data = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return hashlib.sha256(data).hexdigest()


def finish(process: subprocess.Popen[str]) -> Any:
    """What a process has printed, once it has ended well."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])  # gloo may have told of its connections before.


def save(run: Run, path: Path | str) -> None:
    torch.save([part.state_dict() for part in run], path)


def load(run: Run, path: Path | str) -> None:
    for part, state in zip(run, torch.load(path, weights_only=True), strict=True):
        part.load_state_dict(state)


def steps(job: dict[str, Any]) -> tuple[int, int]:
    return job["first"], job["last"]


def train_with_others(run: Run, rank: int, job: dict[str, Any]) -> list[float]:
    """Train on every second example of a batch, the gradients averaged over two processes."""
    init_process_group("gloo", f"file://{job['store']}", rank=rank, world_size=2)
    model = DistributedDataParallel(run.model)
    rates = train(run._replace(model=model), *steps(job), slice(rank, None, 2))
    # What still holds the group when the interpreter lets go of it can wait for it forever.
    del model
    barrier()
    destroy_process_group()
    return rates


def main(rank: int, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Train as each job says, one after the other, with two processes where it names a store."""
    results = []
    runs: dict[str, Run] = {}
    for job in jobs:
        if "load" in job or job["first"] == 0:
            runs[job["name"]] = start(job["name"], job["T"])
        run = runs[job["name"]]
        if "load" in job:
            load(run, job["load"])
        rates = train_with_others(run, rank, job) if "store" in job else train(run, *steps(job))
        if "save" in job:
            save(run, job["save"])
        found = {"digest": digest(run.model), "accuracy": accuracy(run.model)}
        results.append({"rates": rates, **found})
    return results


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), json.loads(sys.argv[2]))))
