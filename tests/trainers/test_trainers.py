"""rex_core and rex_torch in the other trainers, with the real one."""

import itertools
from functools import partial

import pytest
import torch
from rex_torch import lambda_lr

from rex_core import Schedule, from_dict, rex, to_dict
from tests.trainers.extra import RATES, SCHEDULE, T, needs, run, sgd, trainers_warn

pytestmark = trainers_warn
WITH_NOX = "`nox -s trainers` has it"
PEAK = SCHEDULE.replace(peak_value=0.1, end_value=0.01)


def test_stable_baselines3(tmp_path):
    gymnasium, sb3 = needs("gymnasium", "stable_baselines3")

    def rate(progress_remaining):
        return PEAK(1.0 - progress_remaining, 1.0)

    class Recorder(sb3.common.callbacks.BaseCallback):
        rates = ()

        def _on_step(self):
            return True

        def _on_rollout_start(self):
            self.rates += (self.model.policy.optimizer.param_groups[0]["lr"],)

    schedule = Schedule(peak_value=0.1, end_value=0.01, warmup_ratio=0.25)
    steps = 16
    model = sb3.A2C("MlpPolicy", gymnasium.make("CartPole-v1"), n_steps=steps, device="cpu")
    model.learning_rate = lambda left: schedule(1.0 - left, 1.0)
    model._setup_model()
    recorder = Recorder()
    model.learn(T * steps, callback=recorder)
    # The rate of an update is set when its steps are done.
    assert recorder.rates[1:] == pytest.approx([schedule(t, T) for t in range(1, T)])
    model.save(tmp_path / "model")
    again = sb3.A2C.load(tmp_path / "model")
    assert again.lr_schedule(0.5) == schedule(0.5, 1.0)


def test_fastai():
    learner, schedules, data = needs(
        "fastai.learner", "fastai.callback.schedule", "fastai.data.core"
    )
    from fastai.losses import MSELossFlat

    batches = [(torch.ones(4, 1), torch.ones(4, 1))] * (T // 2)
    loaders = data.DataLoaders(batches, batches[:1])
    learn = learner.Learner(loaders, torch.nn.Linear(1, 1), loss_func=MSELossFlat(), lr=0.1)
    schedule = Schedule(peak_value=0.1, end_value=0.01, warmup_ratio=0.25)
    with learn.no_bar(), learn.no_logging():
        learn.fit(2, cbs=schedules.ParamScheduler({"lr": partial(schedule, T=1.0)}))
    assert learn.recorder.hps["lr"] == pytest.approx([schedule(t, T) for t in range(T)])


SPACY = """
[optimizer]
@optimizers = "Adam.v1"

[optimizer.learn_rate]
@schedules = "rex_test.v1"
peak_value = 0.1
total_steps = 8
"""


def test_spacy():
    spacy, thinc = needs("spacy", "thinc.api")

    @spacy.registry.schedules("rex_test.v1")
    def schedule_of_a_config(peak_value: float, total_steps: int):
        schedule = Schedule(peak_value=peak_value, end_value=0.01, warmup_steps=2)
        return (schedule(t, total_steps) for t in itertools.count())

    optimizer = spacy.registry.resolve(thinc.Config().from_str(SPACY))["optimizer"]
    nlp = spacy.blank("en")
    category = nlp.add_pipe("textcat")
    for label in ("long", "short"):
        category.add_label(label)
    cats = {"cats": {"long": 1.0, "short": 0.0}}
    example = spacy.training.Example.from_dict(nlp.make_doc("a step"), cats)
    nlp.initialize(lambda: [example])
    rates = []
    for _ in range(T):
        nlp.update([example], sgd=optimizer)
        rates.append(float(optimizer.learn_rate))
        optimizer.step_schedules()
    assert rates == pytest.approx([PEAK(t, T) for t in range(T)])


def test_torchtune():
    """The call of its recipes, with the real function that makes components of a config."""
    config, omegaconf = needs("torchtune.config", "omegaconf")
    settings = omegaconf.OmegaConf.create(
        {
            "lr_scheduler": {
                "_component_": "rex_torch.get_rex_schedule_with_warmup",
                "num_warmup_steps": 2,
                "min_lr_ratio": 0.1,
            }
        }
    )

    def made(optimizer, last_epoch):
        return config.instantiate(
            settings.get("lr_scheduler"), optimizer, num_training_steps=T, last_epoch=last_epoch
        )

    optimizer = sgd()
    assert run(optimizer, made(optimizer, -1), 5) == pytest.approx(RATES[:5])
    resumed = sgd()
    resumed.load_state_dict(optimizer.state_dict())
    assert run(resumed, made(resumed, 4), 3) == pytest.approx(RATES[5:])


def test_torchtitan():
    """Its container takes a function of the step, and on load asks for the rates of its count."""
    module = needs("torchtitan.components.optimizer.lr_scheduler")
    optimizers = [sgd(0.1), sgd(0.2)]
    container = module.LRSchedulersContainer(optimizers, partial(SCHEDULE, T=T))
    seen = []
    for _ in range(T):
        seen.append([optimizer.param_groups[0]["lr"] for optimizer in optimizers])
        for optimizer in optimizers:
            optimizer.step()
        container.step()
    assert seen == [[rate, 2 * rate] for rate in RATES]


@pytest.mark.parametrize("way", ["function", "lambda_lr"])
def test_torchtitan_resumes(way):
    module = needs("torchtitan.components.optimizer.lr_scheduler")

    def made(optimizer):
        container = module.LRSchedulersContainer([optimizer], partial(SCHEDULE, T=T))
        if way == "lambda_lr":
            container.schedulers = [lambda_lr(optimizer, SCHEDULE, T)]
        return container

    optimizer = sgd()
    container = made(optimizer)
    assert run(optimizer, container, 5) == RATES[:5]
    resumed = sgd()
    again = made(resumed)
    resumed.load_state_dict(optimizer.state_dict())
    again.load_state_dict(container.state_dict())
    assert list(again.get_metrics().values()) == [RATES[5]]
    resumed.step()
    again.step()
    assert resumed.param_groups[0]["lr"] == RATES[6]


def test_composer():
    composer = needs("composer", hint=WITH_NOX)
    from torch.utils.data import DataLoader

    class Model(composer.models.ComposerModel):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, batch):
            return self.layer(batch)

        def loss(self, outputs, batch):
            return outputs.square().mean()

    class Recorder(composer.Callback):
        rates = ()

        def batch_start(self, state, logger):
            self.rates += (state.optimizers[0].param_groups[0]["lr"],)

    def rex_scheduler(state):
        return SCHEDULE(state.timestamp.batch.value, T)

    def fitted(make, **options):
        model, recorder = Model(), Recorder()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        composer.Trainer(
            model=model,
            optimizers=optimizer,
            schedulers=make(optimizer),
            train_dataloader=DataLoader(torch.ones(T, 1), batch_size=1),
            max_duration="1ep",
            callbacks=[recorder],
            device="cpu",
            progress_bar=False,
            **options,
        ).fit()
        return recorder.rates

    # It asks its functions before it counts the batch: they are one batch late.
    assert fitted(lambda _: rex_scheduler) == pytest.approx([RATES[0], *RATES[:-1]])
    rates = fitted(lambda it: lambda_lr(it, SCHEDULE, T), step_schedulers_every_batch=True)
    assert rates == pytest.approx(RATES)


def test_ultralytics(tmp_path):
    """Per epoch, after a warmup of its own."""
    classify = needs("ultralytics.models.yolo.classify", hint=WITH_NOX)
    from PIL import Image

    for part, kind in itertools.product(("train", "val"), ("dark", "light")):
        folder = tmp_path / "data" / part / kind
        folder.mkdir(parents=True)
        shade = 40 if kind == "dark" else 200
        for i in range(2):
            Image.new("RGB", (32, 32), (shade + i,) * 3).save(folder / f"{i}.png")

    class Trainer(classify.ClassificationTrainer):
        def _setup_scheduler(self):
            schedule = Schedule(end_value=self.args.lrf)
            self.lf = partial(schedule, T=self.epochs)  # Its own warmup asks for this one.
            done = -1 if self.scheduler is None else self.epoch
            self.scheduler = lambda_lr(self.optimizer, schedule, self.epochs, last_epoch=done)

    rates = []
    trainer = Trainer(
        overrides={
            "model": "yolov8n-cls.yaml",
            "data": str(tmp_path / "data"),
            "epochs": 4,
            "imgsz": 32,
            "batch": 2,
            "optimizer": "SGD",
            "lr0": 0.1,
            "lrf": 0.1,
            "warmup_epochs": 0,
            "device": "cpu",
            "workers": 0,
            "plots": False,
            "project": str(tmp_path / "runs"),
        }
    )
    trainer.add_callback(
        "on_train_epoch_end", lambda it: rates.append(it.optimizer.param_groups[0]["lr"])
    )
    trainer.train()
    schedule = Schedule(end_value=0.1)
    assert rates == pytest.approx([0.1 * schedule(epoch, 4) for epoch in range(4)])


def test_levanter():
    """Behind its own warmup; tests/trainers/test_calls.py has the call alone."""
    config = needs("levanter.optim.config", hint=WITH_NOX)
    from dataclasses import dataclass

    import jax.numpy as jnp
    from rex_optax import as_schedule

    @config.LrSchedule.register_subclass("rex_test")
    @dataclass(frozen=True)
    class Rex(config.LrSchedule):
        def build(self, ctx):
            schedule = Schedule(peak_value=ctx.learning_rate, end_value=ctx.min_lr)
            return as_schedule(schedule, ctx.decay_steps)

    adam = config.AdamConfig(learning_rate=0.1, min_lr_ratio=0.1, warmup=2, lr_schedule=Rex())
    schedule = adam.lr_scheduler(T)
    rates = [float(schedule(t)) for t in range(T)]
    assert rates == pytest.approx(RATES, rel=1e-6)
    state = adam.build(T).init({"w": jnp.zeros(1)})
    assert float(state.hyperparams["learning_rate"]) == RATES[0]


def trial(config):
    """The rate halfway of the schedule of a trial."""
    return {"rate": config["schedule"](5, 10)}


@pytest.mark.long
def test_ray_tune(tmp_path):
    tune = needs("ray.tune")
    import ray

    schedules = [Schedule("cosine", peak_value=0.3), Schedule(rex, peak_value=0.1)]
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        results = tune.Tuner(
            trial,
            param_space={"schedule": tune.grid_search(schedules)},
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        ).fit()
    finally:
        ray.shutdown()
    best = results.get_best_result("rate", "max")
    assert best.config["schedule"] == schedules[0]
    assert best.metrics["rate"] == schedules[0](5, 10)


def test_wandb(tmp_path, monkeypatch):
    wandb = needs("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(
        mode="offline", dir=tmp_path, config={"schedule": to_dict(PEAK), "value": PEAK}
    )
    run.log({"rate": PEAK(1, T)})
    logged = dict(run.config)
    run.finish()
    assert from_dict(logged["schedule"]) == PEAK
    assert str(logged["value"]) == repr(PEAK)


def test_mlflow(tmp_path, monkeypatch):
    mlflow = needs("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(tmp_path.as_uri())
    mlflow.set_experiment("rates")
    with mlflow.start_run() as run:
        mlflow.log_param("schedule", PEAK)
        mlflow.log_dict(to_dict(PEAK), "schedule.json")
    run = mlflow.get_run(run.info.run_id)
    assert run.data.params["schedule"] == repr(PEAK)
    read = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/schedule.json")
    assert from_dict(read) == PEAK
