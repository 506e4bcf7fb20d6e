"""The lines of `rex code`, run as a reader would who pastes them, and the values that come out."""

import json
import shlex

import pytest

pytest.importorskip("click", reason="the extra [cli] is not installed")

from click.testing import CliRunner
from rex_cli.command import rex

import rex_core as rc
from rex_core import Restarts, Schedule, bind, from_dict, to_dict

T = 12
FLAGS = "--profile rex --beta 0.9 --peak 3e-4 --end 1e-5 --init 1e-6 --warmup-ratio 0.25"
RATE = Schedule(
    bind("rex", beta=0.9), peak_value=3e-4, end_value=1e-5, init_value=1e-6, warmup_ratio=0.25
)
RATES = [RATE(t, T) for t in range(T)]

# Flags, the rate or None for a rate of one's own, the momentum, and whether gradients are averaged.
MOMENTA = [
    ("--preset falling_momentum --peak 0.1", *rc.falling_momentum(0.1), False),
    (
        "--preset falling_momentum --peak 0.01 --averaged true --warmup-ratio 0.25",
        *rc.falling_momentum(0.01, averaged=True, warmup_ratio=0.25),
        True,
    ),
    ("--preset one_cycle --peak 0.1", *rc.one_cycle(0.1), False),
    ("--preset one_cycle --part momentum", None, rc.one_cycle().momentum, False),
    (
        "--preset falling_momentum --averaged true --part momentum",
        None,
        rc.falling_momentum(averaged=True).momentum,
        True,
    ),
    ("--preset demon --cycles 2", None, Restarts(rc.demon(), 2), False),
]
OWN = 0.03  # The reader's rate beside a momentum.
with_momentum = pytest.mark.parametrize(
    ("flags", "rate", "momentum", "averaged"), MOMENTA, ids=[flags for flags, *_ in MOMENTA]
)


def planned(rate, momentum):
    """The rate and the momentum of each update."""
    return [(rate(t, T) if rate else OWN, momentum(t, T)) for t in range(T)]


def in_group(optimizer):
    """The rate and the momentum in an optimizer of PyTorch."""
    (group,) = optimizer.param_groups
    return group["lr"], group["betas"][0] if "betas" in group else group["momentum"]


def lines(target, flags=FLAGS, budget=T):
    """What the command prints."""
    arguments = [*shlex.split(flags), "-T", str(budget), "--for", target]
    done = CliRunner().invoke(rex, ["code", *arguments], prog_name="rex")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 88
    return done.stdout


def test_json():
    assert from_dict(json.loads(lines("json"))) == RATE


def test_torch():
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.7)
    namespace = {"optimizer": optimizer}
    once, each_update = lines("torch").split("# Once an update, after optimizer.step():")
    exec(once, namespace)
    rates = []
    for _ in range(T):
        before = weight.detach().clone()
        weight.grad = torch.full((3,), -1.0)
        optimizer.step()
        rates.append(float((weight.detach().double() - before.double()).mean()))
        assert optimizer.param_groups[0]["lr"] == pytest.approx(RATES[len(rates) - 1], rel=1e-15)
        exec(each_update, namespace)
    assert rates == pytest.approx(RATES, abs=1e-7)  # What is added to 1 in float32.


@with_momentum
def test_torch_with_a_momentum(flags, rate, momentum, averaged):
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.ones(3))
    model = torch.nn.ParameterList([weight])
    kind = torch.optim.AdamW if averaged else torch.optim.SGD
    namespace = {"model": model, "optimizer": kind([weight], lr=OWN)}
    once, each_update = lines("torch", flags).split("# Once an update, after optimizer.step():")
    exec(once, namespace)
    optimizer = namespace["optimizer"]
    assert type(optimizer) is kind
    seen = []
    for _ in range(T):
        seen.append(in_group(optimizer))
        weight.grad = torch.ones(3)
        optimizer.step()
        exec(each_update, namespace)
    assert seen == planned(rate, momentum)
    assert float(weight.detach()[0]) < 1


def test_torch_sets_the_first_of_the_betas_for_demon():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))], lr=OWN, betas=(0.5, 0.9))
    once, _ = lines("torch", "--preset demon").split("# Once an update")
    exec(once, {"optimizer": optimizer})
    assert in_group(optimizer) == (OWN, rc.demon(0.9)(0, T))


@with_momentum
def test_optax_with_a_momentum(flags, rate, momentum, averaged):
    optax = pytest.importorskip("optax")
    jnp = pytest.importorskip("jax.numpy")
    namespace = {"learning_rate": OWN}
    exec(lines("optax", flags), namespace)
    optimizer, params = namespace["optimizer"], jnp.ones(3)
    state = optimizer.init(params)
    seen = []
    for _ in range(T):
        update, state = optimizer.update(jnp.ones(3), state, params)
        params = optax.apply_updates(params, update)
        values = state.hyperparams
        seen.append((values["learning_rate"], values["b1" if averaged else "momentum"]))
    for each, column in zip(seen, planned(rate, momentum), strict=True):
        assert each == pytest.approx(column, rel=1e-6)
    assert float(params[0]) < 1


@with_momentum
def test_keras_has_no_momentum(flags, rate, momentum, averaged):
    arguments = ["code", *shlex.split(flags), "-T", str(T), "--for", "keras"]
    done = CliRunner().invoke(rex, arguments, prog_name="rex")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "rex: for must be one of torch, optax, transformers, lightning, json where there is a "
        "momentum, which keras cannot schedule; got keras\n"
    )


def test_a_momentum_leaves_no_range():
    arguments = shlex.split("code --preset one_cycle --max-momentum 1.5 -T 100 --for torch")
    done = CliRunner().invoke(rex, arguments, prog_name="rex")
    assert "each value of pair.momentum must be in [0, 1)" in done.stderr


@pytest.mark.parametrize("flags", [flags for flags, rate, *_ in MOMENTA if rate])
def test_the_json_of_a_pair_has_the_same_lines(flags, tmp_path):
    path = tmp_path / "pair.json"
    path.write_text(lines("json", flags))
    for target in ("torch", "optax", "json"):
        assert lines(target, str(path)) == lines(target, flags)


def test_a_file_that_names_demon_has_a_momentum(tmp_path):
    path = tmp_path / "demon.json"
    demon = {"preset": "demon"}
    for value in (demon, {"type": "Clamp", "schedule": demon, "most": 0.8}):
        path.write_text(json.dumps(value))
        assert "momentum=schedule" in lines("torch", str(path))


def test_optax():
    optax = pytest.importorskip("optax")
    jnp = pytest.importorskip("jax.numpy")
    namespace = {}
    exec(lines("optax"), namespace)
    optimizer, unit = namespace["optimizer"], optax.adamw(1.0)
    params, gradient = jnp.ones(3), jnp.array([0.5, -1.0, 2.0])
    state, unit_state = optimizer.init(params), unit.init(params)
    rates = []
    for _ in range(T):
        update, state = optimizer.update(gradient, state, params)
        whole, unit_state = unit.update(gradient, unit_state, params)
        rates.append(float((update / whole).mean()))
    assert rates == pytest.approx(RATES, rel=1e-6)


def test_keras():
    keras = pytest.importorskip("keras")
    namespace = {}
    exec(lines("keras"), namespace)
    optimizer = namespace["optimizer"]
    variable = keras.Variable([1.0, 1.0, 1.0])
    optimizer.build([variable])
    rates = []
    for _ in range(T):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([keras.ops.ones(3)])
    assert rates == pytest.approx(RATES, rel=1e-6)
    assert float(variable[0]) < 1


def trained_by_transformers(flags, folder):
    """The rate and the momentum of each update."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")

    class Line(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, x, y):
            return {"loss": ((self.layer(x) - y) ** 2).mean()}

    seen = []

    class Rates(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, optimizer, **others):
            seen.append(in_group(optimizer))

    arguments = transformers.TrainingArguments(
        str(folder),
        num_train_epochs=3,
        per_device_train_batch_size=4,
        save_strategy="no",
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    dataset = [{"x": torch.rand(2), "y": torch.rand(1)} for _ in range(16)]
    namespace = {"model": Line(), "args": arguments, "train_dataset": dataset}
    namespace["learning_rate"] = OWN
    exec(lines("transformers", flags), namespace)
    trainer = namespace["trainer"]
    trainer.add_callback(Rates)
    trainer.train()
    assert trainer.state.global_step == T
    return seen


def test_transformers(tmp_path):
    rates = [rate for rate, _ in trained_by_transformers(FLAGS, tmp_path)]
    assert rates == pytest.approx(RATES, rel=1e-15)


@pytest.mark.long
@with_momentum
def test_transformers_with_a_momentum(flags, rate, momentum, averaged, tmp_path):
    assert trained_by_transformers(flags, tmp_path) == planned(rate, momentum)


LIGHTNING_WARNS = [
    # Lightning 2.6 asks torch in a way that torch 2.13 deprecates.
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated",
    # It advises more workers where the machine has more cores.
    "ignore:The 'train_dataloader' does not have many workers",
]


def trained_by_lightning(flags):
    """The rate and the momentum of each update."""
    lightning = pytest.importorskip("lightning")
    torch = pytest.importorskip("torch")
    namespace = {"learning_rate": OWN}
    exec(lines("lightning", flags), namespace)
    seen = []

    class Line(lightning.LightningModule):
        configure_optimizers = namespace["configure_optimizers"]

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, _):
            return (self.layer(batch) ** 2).mean()

        def on_before_optimizer_step(self, optimizer):
            seen.append(in_group(optimizer))

    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), torch.utils.data.DataLoader(torch.rand(16, 2), batch_size=4))
    return seen


@pytest.mark.filterwarnings(*LIGHTNING_WARNS)
def test_lightning():
    rates = [rate for rate, _ in trained_by_lightning(FLAGS)]
    assert rates == pytest.approx(RATES, rel=1e-15)


@pytest.mark.filterwarnings(*LIGHTNING_WARNS)
@with_momentum
def test_lightning_with_a_momentum(flags, rate, momentum, averaged):
    assert trained_by_lightning(flags) == planned(rate, momentum)


@pytest.mark.parametrize(
    "value",
    [
        rc.linear,
        bind("rex", beta=0.9),
        rc.noam(warmup_steps=3),
        rc.warmup_stable_decay(0.1),
        Restarts(Schedule("linear", peak_value=0.1), 3, period_mult=2, peak_mult=0.5),
        rc.Join([Schedule(), Schedule(bind("cosine", power=2)), "constant"], [0.3, -2]),
        Schedule("constant", warmup_ratio=0.1) * Schedule("cosine", peak_value=0.1),
        rc.Clamp(rc.demon(), least=0.1, most=0.5),
        rc.Replan(Schedule(bind("step", milestones=(0.5, -3)), peak_value=0.1), 3, 9),
        Schedule(bind("interpolate", values=[i / 7 for i in range(40)]), "every_step"),
        Schedule(sampling=bind("every_fraction", fraction=0.1), warmup_profile="cosine"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_is_made_by_its_line(value, tmp_path):
    pytest.importorskip("optax")
    path = tmp_path / "schedule.json"
    path.write_text(json.dumps(to_dict(value)))
    namespace = {}
    exec(lines("optax", str(path)), namespace)
    assert namespace["schedule"] == value
