"""A schedule in named arguments, as trainers make it from a config."""

import inspect
import io
import json

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf
from rex_torch import get_rex_schedule_with_warmup, lambda_lr, schedule_lr

from rex_core import Join, Restarts, Schedule, bind, demon, one_cycle, rex

T = 40


def made(make, *arguments, **settings):
    """The rates of an optimizer with two groups, over a run."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(()))], "lr": lr} for lr in (0.1, 0.2)]
    optimizer = torch.optim.SGD(groups)
    scheduler = make(optimizer, *arguments, **settings)
    rates = []
    for _ in range(T + 2):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


EXPRESSIONS = [
    ({}, Schedule()),
    ({"beta": 0.9, "warmup_ratio": 0.1}, Schedule(bind(rex, beta=0.9), warmup_ratio=0.1)),
    ({"profile": "cosine", "end_ratio": 0.1}, Schedule("cosine", end_value=0.1)),
    (
        {"profile": {"step": {"factor": 0.3}}, "milestones": [0.5, -4]},
        Schedule({"step": {"factor": 0.3, "milestones": [0.5, -4]}}),
    ),
    (
        {"profile": "one_minus_sqrt", "decay_steps": 10, "warmup_steps": 4, "init_ratio": 0.5},
        Schedule("one_minus_sqrt", decay_steps=10, warmup_steps=4, init_value=0.5),
    ),
    ({"sampling": {"every": {"steps": 5}}}, Schedule(sampling={"every": {"steps": 5}})),
    (
        {"profile": "cosine", "cycles": 2, "peak_mult": 0.5},
        Restarts(Schedule("cosine"), 2, peak_mult=0.5),
    ),
]


@pytest.mark.parametrize(("settings", "schedule"), EXPRESSIONS)
@pytest.mark.parametrize("read", [dict, lambda it: json.loads(json.dumps(it)), OmegaConf.create])
def test_settings_of_a_config(settings, schedule, read):
    assert made(schedule_lr, T, **read(settings)) == made(lambda_lr, schedule, T)


def test_every_setting_has_a_name():
    """Some trainers drop, without a word, what they do not find in the signature."""
    kinds = {p.kind for p in inspect.signature(schedule_lr).parameters.values()}
    assert kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    schedule = set(inspect.signature(Schedule).parameters) - {"peak_value"}
    renamed = {"end_value": "end_ratio", "init_value": "init_ratio"}
    assert {renamed.get(name, name) for name in schedule} <= set(
        inspect.signature(schedule_lr).parameters
    )


def test_the_names_of_hugging_face():
    schedule = Schedule(bind(rex, beta=0.9), end_value=0.1, warmup_steps=8)
    rates = made(get_rex_schedule_with_warmup, 8, T, beta=0.9, min_lr_ratio=0.1)
    assert rates == made(lambda_lr, schedule, T)
    assert made(get_rex_schedule_with_warmup, num_warmup_steps=0, num_training_steps=T) == made(
        lambda_lr, "rex", T
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"profile": "cosin"}, r"cosine.*cosin"),
        ({"profile": "linear", "beta": 0.9}, "beta"),
        ({"profile": {"rex": {"beta": 0.9}}, "beta": 0.5}, r"^beta must be given once.*got 0\.5"),
        ({"profile": bind(rex, beta=0.9), "beta": "0.9"}, r"^beta must be given once.*rex, beta"),
        ({"warmup_steps": 4, "warmup_ratio": 0.1}, "warmup"),
        ({"warmup_steps": 0.05}, "warmup_ratio"),
        ({"beta": 1.0}, r"beta must be .*got 1\.0"),
        ({"cycles": 0}, r"cycles must be .*got 0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        made(schedule_lr, T, **settings)


VALUES = [
    Schedule(bind(rex, beta=0.9), {"every": {"steps": 5}}, warmup_ratio=0.1),
    Join([Schedule("cosine"), Schedule("linear")], [0.5]),
    demon(0.8),
    one_cycle(0.1),
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_load_without_unpickling_code(value):
    file = io.BytesIO()
    torch.save({"schedule": value}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == {"schedule": value}


class Module(lightning.LightningModule):
    def __init__(self, schedule=None, peaks=()):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, _):
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        scheduler = lambda_lr(optimizer, self.hparams.schedule, 8)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(8, 1), batch_size=1)


@pytest.mark.filterwarnings("ignore:.*(workers|log_every_n_steps|LeafSpec|pkg_resources)")
def test_a_schedule_among_the_hyperparameters_of_lightning(tmp_path):
    schedule = Schedule("cosine", warmup_steps=2)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=CSVLogger(tmp_path),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Module(schedule, peaks=[0.1]))
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    torch.load(tmp_path / "run.ckpt", weights_only=True)
    model = Module.load_from_checkpoint(tmp_path / "run.ckpt", weights_only=True)
    assert model.hparams.schedule == schedule
