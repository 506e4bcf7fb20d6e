"""The digits network wholly in bfloat16, where late updates are smaller than half a last digit.

Weights, activations, gradients and momentum have 8 binary digits; what differs is how a weight
takes an update: by rounding to the nearest, which loses the small ones, by rounding up or down at
random so that the mean is right, or by Kahan's summation, which keeps what was rounded away.

Source: Zamirai, Zhang, Aberger, De Sa, "Revisiting BFloat16 Training", arXiv 2010.06192.
"""

from dataclasses import replace

import jax.numpy as jnp
import optax
from rex_optax import kahan_summation, stochastic_rounding

from benchmarks.budgeted.setting import Setting
from benchmarks.budgeted.settings.digits import digits

FINISHES = {
    "nearest": optax.identity(),
    "stochastic": stochastic_rounding(),
    "kahan": kahan_summation(),
}
VARIANTS = tuple(FINISHES)


def lowprecision(rounding: str) -> Setting:
    """`digits` in bfloat16, by SGD: Adam's second moment, which decays by 0.1 %, could not fall."""
    setting = digits(jnp.bfloat16)
    return replace(
        setting,
        name=f"digits in bfloat16, {rounding} rounding",
        rates={"SGDM": setting.rates["SGDM"]},
        finish=FINISHES[rounding],
    )
