"""The lines to paste into a program for a schedule."""

import ast
import json
from typing import Any

from rex_core import to_dict
from rex_core.adapting import STEPS, Function, tried

_WIDTH = 88

# What comes before the line that makes `schedule`, and what comes after it.
_FRAMEWORKS = {
    "torch": (
        "{core}\nfrom rex_torch import lambda_lr\n",
        "# absolute=True: the schedule is the rate, whatever lr the optimizer was made with.\n"
        "scheduler = lambda_lr(optimizer, schedule, total_steps={T}, absolute=True)\n"
        "\n"
        "# Once an update, after optimizer.step():\n"
        "scheduler.step()\n",
    ),
    "optax": (
        "import optax\n{core}\nfrom rex_optax import as_schedule\n",
        "optimizer = optax.adamw(as_schedule(schedule, total_steps={T}))\n",
    ),
    "keras": (
        "import keras\n{core}\nfrom rex_keras import as_schedule\n",
        "optimizer = keras.optimizers.AdamW(as_schedule(schedule, total_steps={T}))\n",
    ),
    "transformers": (
        "import torch\n{core}\nfrom rex_torch import lambda_lr\nfrom transformers import Trainer\n",
        "optimizer = torch.optim.AdamW(model.parameters())\n"
        "scheduler = lambda_lr(optimizer, schedule, total_steps={T}, absolute=True)\n"
        "trainer = Trainer(\n"
        "    model, args, train_dataset=train_dataset, optimizers=(optimizer, scheduler)\n"
        ")\n",
    ),
    "lightning": (
        "import torch\n{core}\nfrom rex_torch import lambda_lr\n",
        "\n"
        "# A method of the LightningModule:\n"
        "def configure_optimizers(self):\n"
        "    optimizer = torch.optim.AdamW(self.parameters())\n"
        "    scheduler = lambda_lr(optimizer, schedule, total_steps={T}, absolute=True)\n"
        '    return [optimizer], [{{"scheduler": scheduler, "interval": "step"}}]\n',
    ),
}
TARGETS = *_FRAMEWORKS, "json"


def snippet(schedule: Function, T: Any, target: str) -> str:
    """The lines for a framework, or the JSON that `from_dict` reads.

    Args:
        schedule: The schedule, of registered functions.
        T: The budget in updates, an integer in [1, 2^31 - 1]; unused for JSON.
        target: One of `TARGETS`.

    Raises:
        ValueError: T is out of range, or the schedule refuses it.
    """
    if target == "json":
        return json.dumps(to_dict(schedule), indent=2) + "\n"
    steps = STEPS.count("total_steps", T)
    tried("schedule", schedule, steps)
    before, after = _FRAMEWORKS[target]
    source: str = getattr(schedule, "__name__", repr(schedule))
    call = ast.parse(source, "schedule", "eval")
    names = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
    core = f"from rex_core import {', '.join(sorted(names))}"
    start = "schedule = "
    text = f"{start}{_written(call.body, 0, len(start))}\n"
    return f"{before.format(core=core)}\n{text}{after.format(T=steps)}"


def _written(node: ast.expr, indent: int, used: int) -> str:
    """An expression. A call or tuple that is too long has each item on a line of its own.

    Args:
        node: The expression.
        indent: The columns before it on further lines.
        used: The columns that are taken before it on its first line, and after it.
    """
    line = ast.unparse(node)
    if used + len(line) <= _WIDTH or not isinstance(node, ast.Call | ast.Tuple):
        return line
    inner = indent + 4
    items: list[ast.expr | ast.keyword] = [
        *(node.elts if isinstance(node, ast.Tuple) else (*node.args, *node.keywords))
    ]
    texts = []
    for item in items:
        name, value = (item.arg, item.value) if isinstance(item, ast.keyword) else ("", item)
        start = f"{' ' * inner}{f'{name}=' if name else ''}"
        texts.append(f"{start}{_written(value, inner, len(start) + 1)},\n")
    opening = f"{ast.unparse(node.func)}(" if isinstance(node, ast.Call) else "("
    return f"{opening}\n{''.join(texts)}{' ' * indent})"
