"""What recording costs: the CPU time of training steps with and without it, in turn."""

from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

import jax
import optax
import torch
from rex_optax import record_gradient_norms
from rex_torch import GradientNorms
from torch.nn.functional import cross_entropy

from benchmarks.overhead.measure import Effort, Row, in_turn, summarize
from benchmarks.overhead.network import MEDIUM, TINY, Size, finished, problem

STEPS = 10_000
SIZES = {"tiny": (TINY, 20), "medium": (MEDIUM, 2)}
MORE = 5

Link = Callable[[], Any]
JAX: dict[str, list[Link]] = {
    "adam": [],
    "the same again": [],
    "adam, l2 norms": [partial(record_gradient_norms, STEPS)],
    "adam, l1 norms": [partial(record_gradient_norms, STEPS, norm="l1")],
    "clipped": [partial(optax.clip_by_global_norm, 1.0)],
    "clipped, l2 norms before": [
        partial(record_gradient_norms, STEPS),
        partial(optax.clip_by_global_norm, 1.0),
    ],
}
TORCH: dict[str, Any] = {"Adam": None, "the same again": None, "Adam, l2 norms": "l2"} | {
    "Adam, l1 norms": "l1"
}


def rows(effort: Effort) -> dict[str, list[Row]]:
    """Times of a step in microseconds, and ratios, of each framework and network."""
    effort = effort.times(MORE)
    found = {}
    for name, (size, calls) in SIZES.items():
        steps: dict[str, Callable[[], object]] = {
            key: in_jax(size, links) for key, links in JAX.items()
        }
        found[f"JAX, {name}"] = compared(steps, calls, effort)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, (size, calls) in SIZES.items():
        steps = {key: in_torch(size, norm) for key, norm in TORCH.items()}
        found[f"PyTorch, {name}"] = compared(steps, calls, effort)
    torch.set_num_threads(threads)
    return found


def compared(steps: dict[str, Callable[[], object]], calls: int, effort: Effort) -> list[Row]:
    """Microseconds of CPU time, which other programs of the machine disturb less than its clock."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for name in in_turn(list(steps), effort.rounds):
        began = process_time()
        for _ in range(calls):
            steps[name]()
        times[name].append((process_time() - began) / calls * 1e6)
    return summarize(times)


def in_jax(size: Size, links: list[Link]) -> Callable[[], object]:
    """A function that takes the next step, of a state that is donated."""
    whole = problem(size)
    optimizer = optax.chain(*(link() for link in links), optax.adam(0.001))

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(whole.loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jax.numpy.copy, whole.params)
    now = step(params, optimizer.init(params))

    def call() -> object:
        nonlocal now
        now = finished(step(*now))
        return now

    return call


def in_torch(size: Size, norm: Any) -> Callable[[], object]:
    """The same, of the network in PyTorch."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = [torch.nn.Linear(64, size.width)]
    for _ in range(size.depth):
        layers += [torch.nn.LayerNorm(size.width), torch.nn.ReLU()]
        layers += [torch.nn.Linear(size.width, size.width)]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(size.width, 10))
    images, labels = torch.randn(size.batch, 64), torch.randint(10, (size.batch,))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    if norm is not None:
        GradientNorms(optimizer, STEPS, norm=norm)

    def call() -> object:
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]  # Of PyTorch.
        optimizer.step()
        return model

    call()
    return call
