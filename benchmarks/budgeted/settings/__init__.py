"""The settings, a file each; each has a function of its own name that returns the `Setting`.

A file with several has their names in ``VARIANTS``, which its function takes as an argument.
"""

import importlib
import pkgutil
from functools import lru_cache
from types import ModuleType

from benchmarks.budgeted.setting import Setting


def files() -> list[str]:
    """The names of the files."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def variants(name: str) -> list[str]:
    """The names of the settings of a file: its own, or ``file-variant``, or the one so called."""
    file = name.partition("-")[0]
    several: tuple[str, ...] = getattr(_module(file), "VARIANTS", ())
    names = [f"{file}-{variant}" for variant in several] or [file]
    if name != file and name not in names:
        raise ValueError(f"setting must be one of {', '.join(names)}; got {name!r}")
    return [name] if name in names else names


@lru_cache(maxsize=1)
def load(name: str) -> Setting:
    """The setting of that name, with its data."""
    file, _, variant = name.partition("-")
    if variants(name) != [name]:
        raise ValueError(f"setting must be one of {', '.join(variants(name))}; got {name!r}")
    setting: Setting = getattr(_module(file), file)(*([variant] if variant else []))
    return setting


def _module(file: str) -> ModuleType:
    if file not in files():
        raise ValueError(f"setting must be one of {', '.join(files())}; got {file!r}")
    return importlib.import_module(f"{__name__}.{file}")
