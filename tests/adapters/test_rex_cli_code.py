"""The lines of `rex code`, run as a reader would who pastes them, and the rates that come out."""

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


def test_transformers(tmp_path):
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
            seen.append(optimizer.param_groups[0]["lr"])

    arguments = transformers.TrainingArguments(
        str(tmp_path),
        num_train_epochs=3,
        per_device_train_batch_size=4,
        save_strategy="no",
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    dataset = [{"x": torch.rand(2), "y": torch.rand(1)} for _ in range(16)]
    namespace = {"model": Line(), "args": arguments, "train_dataset": dataset}
    exec(lines("transformers"), namespace)
    trainer = namespace["trainer"]
    trainer.add_callback(Rates)
    trainer.train()
    assert trainer.state.global_step == T
    assert seen == pytest.approx(RATES, rel=1e-15)


# Lightning 2.6 asks torch in a way that torch 2.13 deprecates.
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated")
# It advises more workers where the machine has more cores.
@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_lightning():
    lightning = pytest.importorskip("lightning")
    torch = pytest.importorskip("torch")
    namespace = {}
    exec(lines("lightning"), namespace)
    seen = []

    class Line(lightning.LightningModule):
        configure_optimizers = namespace["configure_optimizers"]

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, _):
            return (self.layer(batch) ** 2).mean()

        def on_before_optimizer_step(self, optimizer):
            seen.append(optimizer.param_groups[0]["lr"])

    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), torch.utils.data.DataLoader(torch.rand(16, 2), batch_size=4))
    assert seen == pytest.approx(RATES, rel=1e-15)


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
