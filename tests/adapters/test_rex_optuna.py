"""The search space of rex_optuna: real studies, storages, pruners and Ray Tune, on the digits."""

import json
import os
import subprocess
import sys

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner
from optuna.trial import FixedTrial, TrialState
from rex_optuna import schedule_of, suggest_schedule
from rex_torch import HyperparamScheduler
from torch.nn.functional import cross_entropy

from rex_core import Schedule, bind, constant, from_dict, linear, rex
from tests.adapters.digits_torch import IMAGES, LABELS, TRAIN, batch, network

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE = {
    "profiles": ["rex", "linear", "one_minus_sqrt"],
    "peak_value": (0.003, 1),
    "warmup_ratio": (0, 0.2),
    "beta": (0, 0.9),
    "end_ratio": 0.01,
}
RUNGS = 9, 27, 81


def study(seed=0, **settings):
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed), **settings)


def train(schedule, T):
    """The validation loss after T steps from fresh weights, and the rates of these steps."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    scheduler = HyperparamScheduler(optimizer, T, lr=schedule)
    rates = []
    for t in range(T):
        rates.append(optimizer.param_groups[0]["lr"])
        images, labels = batch(t)
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        loss = cross_entropy(model(IMAGES[TRAIN:]), LABELS[TRAIN:])
    return float(loss), rates


def test_what_is_searched_and_how():
    searched = study()
    for _ in range(60):
        trial = searched.ask()
        schedule = suggest_schedule(trial, 100, **SPACE)
        params = trial.params
        profile = schedule.profile
        if params["profile"] == "rex":
            assert profile == bind(rex, beta=params["beta"])
        else:
            assert "beta" not in params
            assert profile.__name__ == params["profile"]
        assert schedule.peak_value == params["peak_value"]
        assert schedule.end_value == 0.01 * params["peak_value"]
        assert schedule.warmup_ratio == params["warmup_ratio"]
        assert "end_ratio" not in params
        assert trial.distributions == {
            "profile": CategoricalDistribution(SPACE["profiles"]),
            "peak_value": FloatDistribution(0.003, 1, log=True),
            "warmup_ratio": FloatDistribution(0, 0.2),
            **({"beta": FloatDistribution(0, 0.9)} if params["profile"] == "rex" else {}),
        }
        searched.tell(trial, schedule.peak_value)
    seen = {trial.params["profile"] for trial in searched.trials}
    assert seen == set(SPACE["profiles"])


@pytest.mark.parametrize(
    ("space", "names", "expected"),
    [
        ({"profiles": ["linear"], "peak_value": 0.1}, set(), Schedule(linear, peak_value=0.1)),
        (
            {"profiles": ("rex",), "peak_value": 0.1, "beta": 0.8, "end_ratio": 0.5},
            set(),
            Schedule(bind(rex, beta=0.8), peak_value=0.1, end_value=0.05),
        ),
        (
            {"profiles": {"a": bind(rex, beta=0.9)}, "peak_value": 1, "warmup_ratio": [0.1, 0.1]},
            {"warmup_ratio"},
            Schedule(bind(rex, beta=0.9), warmup_ratio=0.1),
        ),
        (
            {
                "profiles": {"found": {"rex": {"beta": 0.2}}, "flat": constant},
                "peak_value": (2, 2),
            },
            {"profile", "peak_value"},
            Schedule(bind(rex, beta=0.2), peak_value=2.0),
        ),
    ],
    ids=["all fixed", "beta fixed", "its own beta", "labels"],
)
def test_what_is_fixed_is_no_parameter(space, names, expected):
    searched = study()
    searched.enqueue_trial({"profile": "found"})
    trial = searched.ask()
    assert suggest_schedule(trial, 50, **space) == expected
    assert set(trial.params) == names
    assert schedule_of(trial.params, 50, **space) == expected


def test_two_schedules_in_one_trial():
    trial = study().ask()
    rate = suggest_schedule(trial, 100, **SPACE)
    decay = suggest_schedule(trial, 100, peak_value=(1e-4, 1e-2), prefix="weight_decay_")
    assert rate.peak_value == trial.params["peak_value"]
    assert decay.peak_value == trial.params["weight_decay_peak_value"]
    again = schedule_of(trial.params, 100, peak_value=(1e-4, 1e-2), prefix="weight_decay_")
    assert (again, schedule_of(trial.params, 100, **SPACE)) == (decay, rate)


CODE = """
import json, sys
import optuna
from rex_core import to_dict
from rex_optuna import suggest_schedule

def objective(trial):
    schedule = suggest_schedule(trial, 100, **json.loads(sys.argv[2]))
    trial.set_user_attr("schedule", to_dict(schedule))
    return abs(schedule(50, 100) - 0.1)

study = optuna.create_study(study_name="rates", storage=sys.argv[1], load_if_exists=True)
study.optimize(objective, n_trials=12)
"""


@pytest.mark.long
def test_a_study_in_a_database_and_of_another_process(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    command = [sys.executable, "-W", "error", "-c", CODE, storage, json.dumps(SPACE)]
    for _ in range(2):  # The second goes on with the study of the first.
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    restored = optuna.load_study(study_name="rates", storage=storage)
    assert len(restored.trials) == 24
    for trial in restored.trials:
        schedule = from_dict(trial.user_attrs["schedule"])
        assert schedule_of(trial.params, 100, **SPACE) == schedule
        assert suggest_schedule(trial, 100, **SPACE) == schedule
        assert trial.value == abs(schedule(50, 100) - 0.1)
    best = schedule_of(restored.best_params, 100, **SPACE)
    assert best == from_dict(restored.best_trial.user_attrs["schedule"])


@pytest.mark.long
@pytest.mark.parametrize(
    "pruner",
    [
        SuccessiveHalvingPruner(min_resource=9, reduction_factor=3),
        HyperbandPruner(min_resource=9, max_resource=81, reduction_factor=3),
    ],
    ids=["halving", "hyperband"],
)
def test_rungs_are_complete_schedules(pruner):
    losses = {}

    def objective(trial):
        schedule = suggest_schedule(trial, RUNGS[-1], **SPACE)
        for T in RUNGS:
            if trial.should_prune():
                raise optuna.TrialPruned
            loss, rates = train(schedule, T)
            assert rates == [schedule(t, T) for t in range(T)]
            losses[trial.number, T] = loss
            trial.report(loss, step=T)
        return loss

    searched = study(pruner=pruner)
    searched.optimize(objective, n_trials=24)
    pruned = [t for t in searched.trials if t.state == TrialState.PRUNED]
    finished = [t for t in searched.trials if t.state == TrialState.COMPLETE]
    assert pruned
    assert finished
    assert {tuple(t.intermediate_values) for t in finished} == {RUNGS}
    assert {t.last_step for t in pruned} <= set(RUNGS[:-1])
    assert any(t.last_step == RUNGS[0] for t in pruned)
    # Of one rung, those that went on were better on average.
    stopped, went_on = (
        np.mean([losses[t.number, RUNGS[0]] for t in some])
        for some in ([t for t in pruned if t.last_step == RUNGS[0]], finished)
    )
    assert went_on < stopped
    assert searched.best_value < 0.5  # The digits are learned.
    best = schedule_of(searched.best_params, RUNGS[-1], **SPACE)
    assert train(best, RUNGS[-1])[0] == searched.best_value


RAY = """
import json, os, sys
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from rex_core import to_dict
from rex_optuna import schedule_of, suggest_schedule

SPACE, T = json.loads(sys.argv[1]), 100

def space(trial):
    suggest_schedule(trial, T, **SPACE)

def trainable(config):
    schedule = schedule_of(config, T, **SPACE)
    loss = abs(schedule(50, T) - 0.1)
    tune.report({"loss": loss, "schedule": json.dumps(to_dict(schedule))})

ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
tuner = tune.Tuner(
    trainable,
    tune_config=tune.TuneConfig(
        search_alg=OptunaSearch(space, metric="loss", mode="min", seed=0),
        num_samples=3,
        max_concurrent_trials=1,
        reuse_actors=True,
    ),
    run_config=tune.RunConfig(storage_path=sys.argv[2], verbose=0),
)
results = tuner.fit()
assert not results.errors
found = [{"config": r.config, **r.metrics} for r in results]
print("RESULT", json.dumps([{k: f[k] for k in ("config", "loss", "schedule")} for f in found]))
"""


@pytest.mark.long
def test_ray_tune(tmp_path):
    environment = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    run = subprocess.run(
        [sys.executable, "-c", RAY, json.dumps(SPACE), str(tmp_path)],
        env=os.environ | environment | {"RAY_ADDRESS": "local"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("RESULT ")]
    found = json.loads(line.removeprefix("RESULT "))
    assert len({trial["config"]["peak_value"] for trial in found}) == 3
    for trial in found:
        schedule = schedule_of(trial["config"], 100, **SPACE)
        assert schedule == from_dict(json.loads(trial["schedule"]))
        assert trial["loss"] == abs(schedule(50, 100) - 0.1)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"peak_value": 0}, r"peak_value must be a finite number > 0; got 0"),
        ({"peak_value": (0, 1)}, r"peak_value\[0\] must be a finite number > 0; got 0"),
        ({"peak_value": (0.1, np.inf)}, r"peak_value\[1\] must be a finite number > 0; got inf"),
        ({"peak_value": (1, 0.1)}, r"a pair \(low, high\) with low <= high; got \(1, 0.1\)"),
        ({"peak_value": (1, 2, 3)}, r"a number or a pair \(low, high\); got \(1, 2, 3\)"),
        ({"peak_value": "0.1"}, r"peak_value must be a finite number > 0; got '0.1'"),
        ({"warmup_ratio": (0, 1)}, r"warmup_ratio\[1\] must be in \[0, 1\); got 1"),
        ({"warmup_ratio": (0, 0.95)}, r"warmup_ratio must end before T.*got an end at 10 of T"),
        ({"profiles": ["linear"], "beta": (0, 0.9)}, r"^beta must be left out.*got \(0, 0\.9\)"),
        ({"profiles": {"r": bind(rex)}, "beta": (0, 0.9)}, "^beta must be left out"),
        ({"profiles": {"r": Schedule("rex")}, "beta": (0, 0.9)}, "^beta must be left out"),
        ({"profiles": ["cosine"], "beta": 0.9}, r"^beta must be left out.*got 0\.9"),
        ({"beta": (0, 1)}, r"beta\[1\] must be in \[-1e30, 1\); got 1"),
        ({"end_ratio": (0, 2)}, r"end_ratio\[1\] must be in \[0, 1\]; got 2"),
        ({"profiles": "rex"}, r"profiles must be names of profiles in a list, .*; got 'rex'"),
        ({"profiles": []}, r"profiles must be names of profiles in a list, .*; got \[\]"),
        ({"profiles": ["rexx"]}, r"profiles\['rexx'\] must be one of rex, .*is rex meant"),
        ({"profiles": [rex]}, r"profiles must have different strings as names, .*; got <function"),
        ({"profiles": ["rex", "rex"]}, r"profiles must have different strings as names, .*'rex'"),
        ({"profiles": {"a": "every_step"}}, r"profiles\['a'\] must not be a sampling"),
    ],
)
def test_bad_settings_are_refused(space, message):
    for trial in (study().ask(), FixedTrial({})):
        with pytest.raises(ValueError, match=message):
            suggest_schedule(trial, 10, **{"peak_value": 1, **space})
        assert not trial.params


@pytest.mark.parametrize("trial", [None, {"peak_value": 0.1}, optuna.create_study()])
def test_what_is_no_trial(trial):
    with pytest.raises(ValueError, match=r"^trial must be a trial of Optuna \(schedule_of takes"):
        suggest_schedule(trial, 100, peak_value=(0.1, 1))


@pytest.mark.parametrize("T", [0, -1, float("nan"), "100", True, [100]])
def test_bad_budgets_are_refused(T):
    with pytest.raises(ValueError, match="T must be a finite number > 0; got"):
        suggest_schedule(study().ask(), T, peak_value=(0.1, 1))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([("peak_value", 1)], "params must be a mapping of names to values"),
        ({"profile": "rex", "beta": 0.5, "warmup_ratio": 0}, "'peak_value' is not found"),
        ({}, r"^params must have each parameter.*; 'profile' is not found in \{\}"),
        ({"profile": "linear"}, r"^params must .*; 'peak_value' is not found in \{'profile': 'l"),
        ({"profile": "cosine", "peak_value": 0.1}, "'cosine' not in"),
    ],
)
def test_parameters_that_are_no_trial_of_the_space(params, message):
    with pytest.raises(ValueError, match=message):
        schedule_of(params, 100, **SPACE)


def test_a_budget_of_seconds():
    schedule = suggest_schedule(study().ask(), 3600.0, peak_value=0.1, warmup_ratio=(0.1, 0.9))
    assert schedule(3600.0, 3600.0) == 0 < schedule(3599.0, 3600.0) < 0.1
