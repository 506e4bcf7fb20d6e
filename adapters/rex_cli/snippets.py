"""The lines to paste into a program for a schedule."""

import ast
import json

from rex_cli.settings import Named
from rex_core import to_dict
from rex_core.adapting import NOT_NEGATIVE, SHARE, STEPS, tried

_WIDTH = 88

# What comes before the line that makes the schedule, and what comes after it.
_FRAMEWORKS = {
    "torch": (
        "{torch}{core}\nfrom rex_torch import {kind}\n",
        "{note}{optimizer}{scheduler}"
        "\n"
        "# Once an update, after optimizer.step():\n"
        "scheduler.step()\n",
    ),
    "optax": ("import optax\n{core}\nfrom rex_optax import as_schedule\n", "{optimizer}"),
    "keras": ("import keras\n{core}\nfrom rex_keras import as_schedule\n", "{optimizer}"),
    "transformers": (
        "{torch}{core}\nfrom rex_torch import {kind}\nfrom transformers import Trainer\n",
        "{optimizer}{scheduler}"
        "trainer = Trainer(\n"
        "    model, args, train_dataset=train_dataset, optimizers=(optimizer, scheduler)\n"
        ")\n",
    ),
    "lightning": (
        "{torch}{core}\nfrom rex_torch import {kind}\n",
        "\n"
        "# A method of the LightningModule:\n"
        "def configure_optimizers(self):\n"
        "{optimizer}{scheduler}"
        '    return [optimizer], [{{"scheduler": scheduler, "interval": "step"}}]\n',
    ),
}
TARGETS = *_FRAMEWORKS, "json"
_RATE_ALONE = ("keras",)
_NOTES = {
    "lr": "# absolute=True: the schedule is the rate, whatever lr the optimizer was made with.\n",
    "momentum": "# It sets SGD's momentum, or the first of Adam's betas, and leaves the rate.\n",
    "pair": "# It sets rate and momentum, whatever the optimizer was made with.\n",
}


def snippet(found: Named, target: str) -> str:
    """The lines for a framework, or the JSON that `from_dict` reads.

    Args:
        found: The schedule or pair, of registered functions, and its budget in updates, an integer
            in [1, 2^31 - 1]. JSON needs no budget.
        target: One of `TARGETS`.

    Raises:
        ValueError: The budget is out of range, the schedule refuses it, a momentum leaves [0, 1),
            or the framework schedules no momentum.
    """
    schedule, part = found.schedule, found.part
    if target == "json":
        return json.dumps(to_dict(schedule), indent=2) + "\n"
    if part != "lr" and target in _RATE_ALONE:
        able = ", ".join(each for each in TARGETS if each not in _RATE_ALONE)
        raise ValueError(
            f"for must be one of {able} where there is a momentum, which {target} cannot "
            f"schedule; got {target}"
        )
    steps = STEPS.count("total_steps", found.T)
    name = "pair" if part == "pair" else "schedule"
    names = {"lr": "pair.lr", "momentum": "pair.momentum"} if part == "pair" else {part: name}
    for each, written in names.items():
        function = getattr(schedule, each) if part == "pair" else schedule
        tried(written, function, steps, SHARE if each == "momentum" else NOT_NEGATIVE)
    source: str = getattr(schedule, "__name__", repr(schedule))
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    indent = 4 if target == "lightning" else 0
    optimizer = _optimizer(target, names, found.averaged, steps)
    if target == "torch" and part != "pair":  # The rate alone, or the momentum, fits any.
        optimizer = ""
    scheduler = _scheduler(names, steps)
    fields = {
        "core": f"from rex_core import {', '.join(sorted(used))}",
        "kind": scheduler.partition("(")[0],
        "note": _NOTES[part],
        "optimizer": optimizer and _assigned("optimizer", optimizer, indent),
        "scheduler": _assigned("scheduler", scheduler, indent),
        "torch": "import torch\n" if optimizer else "",
    }
    before, after = (each.format(**fields) for each in _FRAMEWORKS[target])
    return f"{before}\n{_assigned(name, source)}{after}"


def _optimizer(target: str, names: dict[str, str], averaged: bool, T: int) -> str:
    """The call that makes an optimizer for a rate, a momentum or both, by the names of these."""
    kind = "AdamW" if averaged or "momentum" not in names else "SGD"
    values = {"lr": "learning_rate"} | names
    if target in ("optax", "keras"):
        values |= {each: f"as_schedule({name}, total_steps={T})" for each, name in names.items()}
    if target == "keras":
        return f"keras.optimizers.AdamW({values['lr']})"
    if target == "optax" and "momentum" not in names:
        return f"optax.adamw({values['lr']})"
    if target == "optax":
        return (
            f"optax.inject_hyperparams(optax.{kind.lower()})(learning_rate={values['lr']}, "
            f"{'b1' if averaged else 'momentum'}={values['momentum']})"
        )
    owner = "self" if target == "lightning" else "model"
    own = "" if "lr" in names else ", lr=learning_rate"
    return f"torch.optim.{kind}({owner}.parameters(){own})"


def _scheduler(names: dict[str, str], T: int) -> str:
    """The call that makes PyTorch's scheduler for a rate, a momentum or both."""
    if "momentum" not in names:
        return f"lambda_lr(optimizer, {names['lr']}, total_steps={T}, absolute=True)"
    settings = ", ".join(f"{each}={name}" for each, name in names.items())
    return f"HyperparamScheduler(optimizer, total_steps={T}, {settings})"


def _assigned(name: str, source: str, indent: int = 0) -> str:
    """The lines that give a name to an expression."""
    start = f"{' ' * indent}{name} = "
    return f"{start}{_written(ast.parse(source, name, 'eval').body, indent, len(start))}\n"


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
