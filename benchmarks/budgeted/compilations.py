"""Counting what JAX compiles, from the events that it publishes itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from jax import monitoring

_COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collect the names of the programs that are compiled inside the block."""
    compiled: list[str] = []

    def listen(event: str, duration_secs: float, **about: str | int) -> None:
        if event == _COMPILED:
            compiled.append(str(about.get("fun_name")))

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        monitoring.unregister_event_duration_listener(listen)
