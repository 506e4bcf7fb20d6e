"""Schedules in the configurations that people write: Hydra, LightningCLI, pydantic and others."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import hydra
import jsonargparse
import lightning
import ml_collections
import pydantic
import pytest
import torch
import tyro
import yaml
from hydra.utils import instantiate
from lightning.pytorch.cli import LightningCLI
from omegaconf import OmegaConf
from rex_torch import HyperparamScheduler, get_rex_schedule_with_warmup, lambda_lr, schedule_lr
from torch.optim.lr_scheduler import LRScheduler

from rex_core import Join, Schedule, bind, demon, from_dict, rex, to_dict

T = 8
SCHEDULE = Schedule(bind(rex, beta=0.9), warmup_ratio=0.25)


def sgd(**options):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], **{"lr": 0.1, **options})


def rates(make):
    """The rates of a run under the scheduler that is made of an optimizer."""
    optimizer = sgd()
    scheduler = make(optimizer)
    found = []
    for _ in range(T):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def expected(schedule=SCHEDULE, base=0.1):
    return [base * schedule(t, T) for t in range(T)]


# Hydra.


HYDRA = """
budget: 8
warmup: 0.25
value:
  _target_: rex_core.Schedule
  profile: {rex: {beta: 0.9}}
  warmup_ratio: ${warmup}
function:
  _target_: rex_core.Schedule
  warmup_ratio: ${warmup}
  profile:
    _target_: rex_core.bind
    _args_:
      - {_target_: hydra.utils.get_method, path: rex_core.rex}
    beta: 0.9
by_name:
  _target_: rex_torch.schedule_lr
  total_steps: ${budget}
  beta: 0.9
  warmup_ratio: ${warmup}
by_partial:
  _target_: rex_torch.schedule_lr
  _partial_: true
  total_steps: ${budget}
  profile: {rex: {beta: 0.9}}
  warmup_steps: 2
nested:
  _target_: rex_torch.lambda_lr
  schedule: ${value}
  total_steps: ${budget}
listed:
  _target_: rex_torch.lambda_lr
  schedule: ["${value}"]
  total_steps: ${budget}
data:
  _target_: rex_torch.lambda_lr
  schedule: {profile: {rex: {beta: 0.9}}, warmup_ratio: "${warmup}"}
  total_steps: ${budget}
joined:
  _target_: rex_core.Join
  schedules: ["${value}", "${function}"]
  milestones: [0.5]
preset:
  _target_: rex_core.demon
  init_value: 0.8
momentum:
  _target_: rex_torch.HyperparamScheduler
  total_steps: ${budget}
  momentum: ${preset}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The configuration as Hydra composes it, an override of its command line included."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "config.yaml").write_text(HYDRA)
    with hydra.initialize_config_dir(str(folder), version_base=None):
        yield hydra.compose("config", overrides=["preset.init_value=0.9"])


def test_hydra_makes_values(config):
    assert instantiate(config.value) == instantiate(config.function) == SCHEDULE
    for convert in ("none", "partial", "object", "all"):
        join = instantiate(config.joined, _convert_=convert)
        assert join == Join([SCHEDULE, SCHEDULE], [0.5])
    assert instantiate(config.preset) == demon(0.9)


def test_hydra_makes_schedulers(config):
    for name in ("by_name", "nested", "listed", "data"):
        assert rates(lambda it, name=name: instantiate(config[name], optimizer=it)) == expected()
        assert rates(lambda it, name=name: instantiate(config[name], it)) == expected()
    assert rates(instantiate(config.by_partial)) == expected()


def test_hydra_schedules_momentum(config):
    optimizer = sgd(momentum=0.9)
    scheduler = instantiate(config.momentum, optimizer)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["momentum"] == demon(0.9)(1, T)


def test_a_value_within_a_config_stays_one():
    config = OmegaConf.create({"schedules": [SCHEDULE]}, flags={"allow_objects": True})
    assert config.schedules[0] is SCHEDULE
    assert OmegaConf.to_container(config) == {"schedules": [SCHEDULE]}


# LightningCLI and jsonargparse.


class Model(lightning.LightningModule):
    """A real model, whose rate is noted at each update."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.rates = []

    def training_step(self, batch, _):
        return self.layer(batch).square().mean()

    def on_before_optimizer_step(self, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(T, 1), batch_size=1)


class WithSchedule(Model):
    def __init__(self, schedule: Schedule):
        super().__init__()
        self.save_hyperparameters()
        self.schedule = schedule

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = lambda_lr(optimizer, self.schedule, steps)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class WithScheduler(Model):
    def __init__(self, scheduler: Callable[[torch.optim.Optimizer], LRScheduler]):
        super().__init__()
        self.scheduler = scheduler

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [{"scheduler": self.scheduler(optimizer), "interval": "step"}]


class PerStep(LightningCLI):
    """What Lightning's own docs say for a scheduler that is stepped per update."""

    @staticmethod
    def configure_optimizers(module, optimizer, lr_scheduler=None):
        return [optimizer], [{"scheduler": lr_scheduler, "interval": "step"}]


@pytest.fixture
def fitted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def fit(cli, model, *arguments):
        settings = {
            "accelerator": "cpu",
            "max_epochs": 1,
            "enable_progress_bar": "false",
            "enable_model_summary": "false",
            "log_every_n_steps": 1,
            "default_root_dir": tmp_path,
            "logger": "lightning.pytorch.loggers.CSVLogger",
            "logger.save_dir": tmp_path,
        }
        trainer = [f"--trainer.{name}={value}" for name, value in settings.items()]
        command = ["train.py", "fit", "--seed_everything=0", *trainer, *arguments]
        monkeypatch.setattr(sys, "argv", command)
        return cli(model).model

    return fit


# Lightning calls jsonargparse and torch in ways that these deprecate, and advises more workers.
lightning_warnings = pytest.mark.filterwarnings(
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning",
    "ignore:.*(workers|LeafSpec|pkg_resources|already exists)",
)


@lightning_warnings
def test_lightning_cli_makes_a_schedule(fitted, tmp_path):
    settings = ['--model.schedule.profile={"rex": {"beta": 0.9}}']
    model = fitted(LightningCLI, WithSchedule, *settings, "--model.schedule.warmup_ratio=0.25")
    assert model.schedule == SCHEDULE
    assert model.rates == expected()
    # The run's own config file makes the same run.
    (saved,) = tmp_path.glob("**/version_0/config.yaml")
    again = fitted(LightningCLI, WithSchedule, f"--config={saved}")
    assert again.rates == model.rates
    (checkpoint,) = tmp_path.glob("**/version_0/checkpoints/*.ckpt")
    assert WithSchedule.load_from_checkpoint(checkpoint, weights_only=True).schedule == SCHEDULE


@lightning_warnings
def test_lightning_cli_makes_a_scheduler(fitted):
    sgd = ["--optimizer=torch.optim.SGD", "--optimizer.lr=0.1"]
    scheduler = ["--lr_scheduler=rex_torch.schedule_lr", f"--lr_scheduler.total_steps={T}"]
    settings = ["--lr_scheduler.beta=0.9", "--lr_scheduler.warmup_ratio=0.25"]
    assert fitted(PerStep, Model, *sgd, *scheduler, *settings).rates == expected()
    hugging = ["--lr_scheduler=rex_torch.get_rex_schedule_with_warmup"]
    settings = ["num_warmup_steps=2", f"num_training_steps={T}", "beta=0.9"]
    hugging += [f"--lr_scheduler.{setting}" for setting in settings]
    assert fitted(PerStep, Model, *sgd, *hugging).rates == expected()


@lightning_warnings
@pytest.mark.parametrize(
    ("written", "schedule"),
    [
        ("cosine", Schedule("cosine")),
        ('{"profile": "cosine", "peak_value": 0.3}', Schedule("cosine", peak_value=0.3)),
        ("rex_core.cosine", Schedule("cosine")),
    ],
)
def test_lightning_cli_makes_a_class(fitted, written, schedule):
    path = "--model.scheduler"
    arguments = [f"{path}=rex_torch.HyperparamScheduler", f"{path}.total_steps={T}"]
    model = fitted(LightningCLI, WithScheduler, *arguments, f"{path}.lr={written}")
    assert model.rates == expected(schedule, base=1)


def parser():
    made = jsonargparse.ArgumentParser(exit_on_error=False)
    made.add_class_arguments(Schedule, "schedule")
    return made


@pytest.mark.parametrize("profile", ["rex", "rex_core.rex", '{"rex": {"beta": 0.5}}'])
def test_jsonargparse(profile):
    found = parser().parse_args([f"--schedule.profile={profile}", "--schedule.peak_value=1e-3"])
    assert parser().instantiate(found).schedule(500, 1000) == Schedule(peak_value=1e-3)(500, 1000)


def test_a_file_of_jsonargparse_is_read_again():
    found = parser().parse_args(["--schedule.warmup_ratio=0.1"])
    written = parser().dump(found)
    assert "rex_core.rex" in written
    again = parser().parse_string(written)
    assert parser().instantiate(again).schedule == Schedule(warmup_ratio=0.1)
    assert from_dict(yaml.safe_load(written)["schedule"]) == Schedule(warmup_ratio=0.1)


# tyro, pydantic, ml_collections.

FromText = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="JSON",
    instance_from_str=lambda words: from_dict(json.loads(words[0])),
    is_instance=lambda value: isinstance(value, Schedule),
    str_from_instance=lambda value: [json.dumps(to_dict(value))],
)


def test_tyro():
    @dataclass
    class Config:
        schedule: Annotated[Schedule, FromText] = SCHEDULE
        lr: float = 0.1

    assert tyro.cli(Config, args=["--lr", "0.2"]) == Config(SCHEDULE, 0.2)
    given = tyro.cli(Config, args=["--schedule", '{"profile": "cosine", "warmup_ratio": 0.1}'])
    assert given.schedule == Schedule("cosine", warmup_ratio=0.1)


def test_tyro_reads_the_settings():
    def main(schedule: Schedule):
        return schedule

    arguments = ["--schedule.warmup-ratio", "0.1", "--schedule.peak-value", "3e-4"]
    assert tyro.cli(main, args=arguments) == Schedule(peak_value=3e-4, warmup_ratio=0.1)


Read = Annotated[
    pydantic.InstanceOf[Schedule],
    pydantic.BeforeValidator(lambda it: it if isinstance(it, Schedule) else from_dict(it)),
    pydantic.PlainSerializer(to_dict),
]


class Settings(pydantic.BaseModel):
    schedule: Read = SCHEDULE


def test_pydantic():
    written = Settings(schedule={"profile": "cosine", "warmup_ratio": 0.1}).model_dump_json()
    assert Settings.model_validate_json(written).schedule == Schedule("cosine", warmup_ratio=0.1)
    assert Settings.model_validate_json(Settings().model_dump_json()).schedule == SCHEDULE
    with pytest.raises(pydantic.ValidationError, match="is cosine meant"):
        Settings(schedule={"profile": "cosin"})


@pytest.mark.parametrize("kind", [ml_collections.ConfigDict, ml_collections.FrozenConfigDict])
def test_ml_collections(kind):
    config = kind(
        {
            "schedule": {"profile": {"rex": {"beta": 0.9}}, "warmup_ratio": 0.25},
            "profile": {"interpolate": {"values": [1.0, 0.5, 0.0]}},
            "settings": {"profile": "step", "milestones": [0.5, -2]},
        }
    )
    assert from_dict(config.schedule) == SCHEDULE
    assert Schedule(config.profile) == Schedule({"interpolate": {"values": [1.0, 0.5, 0.0]}})
    assert rates(lambda optimizer: lambda_lr(optimizer, config.schedule, T)) == expected()
    step = Schedule({"step": {"milestones": [0.5, -2]}})
    made = rates(lambda optimizer: schedule_lr(optimizer, T, **config.settings))
    assert made == expected(step)
    momentum = sgd(momentum=0.9)
    HyperparamScheduler(momentum, T, momentum=kind({"preset": "demon"}))


def test_ml_collections_holds_a_value():
    config = ml_collections.ConfigDict({"schedule": SCHEDULE})
    assert config.copy_and_resolve_references().schedule == SCHEDULE
    frozen = ml_collections.FrozenConfigDict(config)
    assert hash(frozen) == hash(ml_collections.FrozenConfigDict({"schedule": SCHEDULE}))


# Numbers that a file holds as text: YAML 1.1 makes text of 1e-1, and so do some command lines.


def test_numbers_as_text():
    settings: dict[str, Any] = yaml.safe_load(
        "{total_steps: 8, end_ratio: 1e-1, warmup_steps: '2', beta: 9e-1, cycles: '1'}"
    )
    assert settings["end_ratio"] == "1e-1"
    schedule = Schedule(bind(rex, beta=0.9), end_value=0.1, warmup_steps=2)
    assert rates(lambda optimizer: schedule_lr(optimizer, **settings)) == expected(schedule)
    text = {"num_warmup_steps": "2", "num_training_steps": "8", "min_lr_ratio": "1e-1"}
    made = rates(lambda optimizer: get_rex_schedule_with_warmup(optimizer, beta="0.9", **text))
    assert made == expected(schedule)
    listed = rates(lambda it: schedule_lr(it, T, profile="step", milestones=["0.5", "-2"]))
    assert listed == expected(Schedule({"step": {"milestones": [0.5, -2]}}))
    with pytest.raises(ValueError, match=r"^warmup_ratio must be .*; got 'a tenth'"):
        schedule_lr(sgd(), T, warmup_ratio="a tenth")
