"""What it costs to record norms, in training steps with and without it, and to work with them."""

import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from time import process_time
from typing import Any

import jax
import numpy as np
import optax
import torch
from rex_optax import record_gradient_norms
from rex_torch import GradientNorms
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from benchmarks.overhead.measure import Effort, Row, in_turn, summarize
from benchmarks.overhead.network import MEDIUM, TINY, Size, finished, problem
from rex_core import best_peak, linear, refine

STEPS = 10_000
WIDE = Size(width=1024, depth=2, batch=256)
SIZES = {"tiny": (TINY, 20), "medium": (MEDIUM, 2), "wide": (WIDE, 1)}
LENGTHS = 10**5, 10**6, 10**7
MORE = 3

Step = Callable[[], object]
# The first of each group is what the others are compared with.
Groups = dict[str, dict[str, Any]]
JAX: Groups = {
    "Adam": {
        "without norms": [],
        "the same again": [],
        "l2 norms": [partial(record_gradient_norms, STEPS)],
        "l1 norms": [partial(record_gradient_norms, STEPS, norm="l1")],
    },
    "clipped": {
        "without norms": [partial(optax.clip_by_global_norm, 1.0)],
        "l2 norms before the clipping": [
            partial(record_gradient_norms, STEPS),
            partial(optax.clip_by_global_norm, 1.0),
        ],
        "l2 norms": [
            partial(optax.clip_by_global_norm, 1.0),
            partial(record_gradient_norms, STEPS),
        ],
    },
}
TORCH: Groups = {
    "Adam": {
        "without norms": (None, False),
        "the same again": (None, False),
        "l2 norms": ("l2", False),
        "l1 norms": ("l1", False),
    },
    "clipped": {"without norms": (None, True), "l2 norms": ("l2", True)},
}


def rows(effort: Effort) -> dict[str, list[Row]]:
    """Times of a step in microseconds, and ratios, of each framework and network."""
    effort = effort.times(MORE)
    found: dict[str, list[Row]] = {}
    for name, (size, calls) in SIZES.items():
        found |= compared(f"JAX, {name}", JAX, partial(in_jax, size), calls, effort)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, (size, calls) in SIZES.items():
        found |= compared(f"PyTorch, {name}", TORCH, partial(in_torch, size), calls, effort)
    torch.set_num_threads(threads)
    return found


def compared(
    name: str, groups: Groups, make: Callable[[Any], Step], calls: int, effort: Effort
) -> dict[str, list[Row]]:
    """Microseconds of CPU time, which other programs of the machine disturb less than its clock."""
    steps = {
        f"{name}, {group}, {case}": make(settings)
        for group, cases in groups.items()
        for case, settings in cases.items()
    }
    times: dict[str, list[float]] = {key: [] for key in steps}
    for key in in_turn(list(steps), effort.rounds):
        began = process_time()
        for _ in range(calls):
            steps[key]()
        times[key].append((process_time() - began) / calls * 1e6)
    return {
        f"{name}, {group}": summarize({case: times[f"{name}, {group}, {case}"] for case in cases})
        for group, cases in groups.items()
    }


def lengths(budgets: Sequence[int] = LENGTHS) -> list[dict[str, float]]:
    """CPU time in seconds and memory in MB of `refine` and `best_peak`, of norms of T steps."""
    found = []
    for T in budgets:
        norms = np.random.default_rng(0).lognormal(size=T).astype(np.float32)
        row: dict[str, float] = {"T": T}
        calls: dict[str, Step] = {
            "refine": partial(refine, norms, T),
            "best_peak": partial(best_peak, linear, T, gradient_norms=norms),
        }
        for name, call in calls.items():
            began = process_time()
            call()
            row[f"{name}, s"] = process_time() - began
            tracemalloc.start()
            call()
            row[f"{name}, MB"] = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
        found.append(row)
    return found


def in_jax(size: Size, links: Any) -> Step:
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


def in_torch(size: Size, settings: tuple[Any, bool]) -> Step:
    """The same, of the network in PyTorch."""
    norm, clipped = settings
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
        if clipped:
            clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return model

    call()
    return call
