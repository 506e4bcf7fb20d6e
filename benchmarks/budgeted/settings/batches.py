"""The digits in smaller and larger batches, whose gradients have more and less noise."""

from dataclasses import replace

from benchmarks.budgeted.setting import Setting
from benchmarks.budgeted.settings.digits import digits

VARIANTS = "8", "128", "512"


def batches(size: str) -> Setting:
    """`digits`, which has batches of 32, with others."""
    return replace(digits(), name=f"digits in batches of {size}", batch_size=int(size))
