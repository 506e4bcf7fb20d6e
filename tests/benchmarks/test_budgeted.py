"""The demo and the engine: what the table rests on, checked by small real runs."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.budgeted.compilations import compilations
from benchmarks.budgeted.demo import demo
from benchmarks.budgeted.demo_report import established, text
from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.schedules import DEMO, SCHEDULES, Rule
from benchmarks.budgeted.setting import Model, Setting
from benchmarks.budgeted.settings.digits import digits
from benchmarks.budgeted.sweep import Results, run
from rex_core import Schedule, constant

NAMES = list(SCHEDULES)
RULES = list(SCHEDULES.values())
SGDM = OPTIMIZERS["SGDM"]


def slope() -> Setting:
    """One weight on a slope of 1: an update takes from it the rate times the summed momentum."""

    def metric(model: Model, batch: Any, key: Any) -> Any:
        return model.params

    examples = np.zeros(8)
    return Setting(
        name="slope",
        train=examples,
        validation=examples,
        test=examples,
        init=lambda key: Model(jnp.asarray(0.0)),
        loss=lambda model, batch, key: (model.params, None),
        metric=metric,
        batch_size=4,
        epochs=20,
    )


class Lanes:
    """The programs of a setting, with their schedules, peak rates and seeds."""

    def __init__(self, setting: Setting, rules: list[Rule], rates: Any, seeds: Any) -> None:
        self.programs = programs(setting, SGDM, rules)
        peaks = np.repeat(np.reshape(rates, (-1, 1)), len(rules), axis=1)
        self.start = partial(self.programs.start, np.asarray(seeds), peaks)
        self.advance = self.programs.advance

    def train(self, T: int, *stops: int) -> Any:
        state = self.start()
        for until in (*stops, T):
            state = self.advance(state, T, until)
        return state

    def errors(self, state: Any) -> Any:
        return np.array([self.programs.validation(state), self.programs.test(state)])


@pytest.mark.long
@pytest.mark.parametrize("T", [1, 7])
def test_schedule_free_is_measured_at_its_average(T: int) -> None:
    lanes = programs(slope(), OPTIMIZERS["Schedule-Free SGD"], [Rule(Schedule(constant))])
    state = lanes.advance(lanes.start([0], [[0.5]]), T, T)
    # The fast weights are at -0.5, -1, ..., and their mean counts.
    np.testing.assert_allclose(lanes.test(state), -0.5 * (T + 1) / 2, rtol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("T", [1, 2, 7, 40])
def test_program_applies_the_rates_and_momenta_of_rex_core(T: int) -> None:
    rates = (0.5, 0.1)
    lanes = Lanes(slope(), RULES, rates, seeds=[0])
    weights, expected = [], []
    state = lanes.start()
    speed = np.zeros(len(RULES))
    weight = np.zeros((len(rates), len(RULES)))
    for t in range(T):
        state = lanes.advance(state, T, t + 1)
        weights.append(np.asarray(state.model.params).reshape(weight.shape))
        # A budget of one step has no room for a warmup, which rex_core refuses when it can see it.
        pairs = [(_at(rule.rate, t, T), _at(rule.momentum, t, T)) for rule in RULES]
        share, momentum = np.array(pairs).T
        speed = momentum * speed + 1
        weight = weight - np.outer(rates, share * speed)
        expected.append(weight)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def _both(a: Any, b: Any) -> Any:
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)


def _at(schedule: Any, t: int, T: int) -> float:
    return float(schedule(t, T) if T > 1 else jax.jit(lambda t, T: schedule(t, T))(t, T))


@pytest.mark.long
def test_a_lane_alone_is_the_lane_among_others() -> None:
    setting, rates, seeds = digits(), (0.3, 0.1), (0, 5)
    together = Lanes(setting, RULES, rates, seeds)
    state = together.train(20)
    errors = together.errors(state)
    for seed, rate, name in [(0, 0, "REX"), (1, 1, "OneCycle")]:
        schedule = NAMES.index(name)
        alone = Lanes(setting, [SCHEDULES[name]], [rates[rate]], [seeds[seed]])
        own = alone.train(20)
        lane = rate * len(NAMES) + schedule
        for among, only in _both(state.model, own.model):
            among, only = np.asarray(among)[seed, lane], np.asarray(only)[0, 0]
            np.testing.assert_allclose(among, only, rtol=1e-3, atol=1e-5)
        own_errors = np.ravel(alone.errors(own))
        np.testing.assert_allclose(errors[:, seed, rate, schedule], own_errors, atol=0.01)


@pytest.mark.long
def test_stops_on_the_way_change_nothing() -> None:
    lanes = Lanes(digits(), [SCHEDULES["REX"]], [0.1], [3])
    whole, halting = lanes.train(40), lanes.train(40, 1, 28, 29)
    assert int(whole.t) == 40
    for a, b in _both(whole.model, halting.model):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
def test_an_epoch_shows_every_example_once() -> None:
    def metric(model: Model, rows: Any, key: Any) -> Any:
        return -model.params[rows].sum()

    rows = np.arange(12)
    setting = Setting(
        name="count",
        train=rows,
        validation=rows,
        test=rows,
        init=lambda key: Model(jnp.zeros(12)),
        loss=lambda model, rows, key: (metric(model, rows, key), None),
        metric=metric,
        batch_size=4,
        epochs=1,
    )
    plain = Rule(Schedule(constant), Schedule(constant, peak_value=0.0))
    lanes = Lanes(setting, [plain], [1.0], seeds=[0, 1])
    one, two = (np.asarray(lanes.train(T).model.params)[:, 0] for T in (1, 2))
    assert (one.sum(axis=1) == 4).all()
    assert one[0].tolist() != one[1].tolist()  # Each seed has an order of its own.
    assert ((two == 1).sum(axis=1) == 8).all()
    orders = [np.asarray(lanes.train(3 * epochs).order) for epochs in (1, 2)]
    assert (orders[0] != orders[1]).any(axis=1).all()  # So has each epoch.
    for epochs in (1, 2):
        np.testing.assert_array_equal(lanes.train(3 * epochs).model.params, epochs)


@pytest.mark.long
def test_budgets_share_one_compilation() -> None:
    results = run(slope(), SCHEDULES, (5, 50, 100), (0.1,), (0, 1))
    assert results.updates == (2, 20, 40)
    assert results.compilations == (1, 0, 0)


@pytest.mark.long
def test_a_static_budget_would_be_counted() -> None:
    lanes = Lanes(slope(), RULES, (0.1,), (0,))
    static = jax.jit(lambda state, T: lanes.advance(state, T, T), static_argnums=1)
    state = lanes.start()
    counts = []
    for T in (3, 5, 5):
        with compilations() as names:
            static(state, T)
        counts.append(len(names))
    assert counts == [1, 1, 0]


def test_rate_is_chosen_on_validation_and_reported_on_test() -> None:
    # One budget, two seeds, three rates, two schedules.
    validation = np.array(
        [[[[0.3, 0.3], [0.1, 0.2], [0.2, 0.1]], [[0.3, 0.3], [0.1, 0.2], [0.2, 0.3]]]]
    )
    test = np.array([[[[0.0, 0.0], [0.5, 0.4], [0.0, 0.0]], [[0.0, 0.0], [0.7, 0.4], [0.0, 0.0]]]])
    results = Results(
        setting=slope(),
        schedules=("a", "b"),
        percents=(100,),
        updates=(40,),
        rates=(1.0, 0.3, 0.1),
        seeds=(0, 1),
        validation=validation,
        test=test,
        compilations=(1,),
        seconds=1.0,
    )
    assert results.chosen.tolist() == [[1, 1]]  # Of b, two rates are equal: the first.
    np.testing.assert_allclose(results.mean, [[0.6, 0.4]])
    np.testing.assert_allclose(results.deviation, [[0.1 * 2**0.5, 0]], atol=1e-12)
    (row,) = results.against("a")
    assert [difference.mean for difference in row] == pytest.approx([0, -0.2])
    assert row[1].error == pytest.approx(0.1)


def test_the_demo_says_what_is_established() -> None:
    rng = np.random.default_rng(0)
    names = "linear", "better", "same", "worse"
    gaps = np.array([0, -0.1, 0, 0.1])
    seeds = 0.3 + rng.normal(0, 0.1, (20, 1, 1)) + rng.normal(0, 0.01, (20, 1, 4))
    results = Results(
        setting=slope(),
        schedules=names,
        percents=(10, 50),
        updates=(4, 20),
        rates=(0.1,),
        seeds=tuple(range(20)),
        validation=np.zeros((2, 20, 1, 4)),
        test=np.stack([seeds + gaps, seeds]),
        compilations=(1, 0),
        seconds=1.0,
    )
    assert established(results).tolist() == [[False, True, False, True], [False] * 4]
    said = text(results)
    assert "  better: less error at 10 %\n  worse: more error at 10 %\nThe other 4 " in said
    table = said[: said.index("Established")]
    rows = {line.split("  ")[0]: line for line in table.splitlines()}
    assert rows["better"].count("*") == rows["worse"].count("*") == 1
    assert "*" not in rows["same"] + rows["linear"]


def test_digits_are_split_into_three_disjoint_stratified_parts() -> None:
    setting = digits()
    parts = [setting.train, setting.validation, setting.test]
    assert [len(y) for _, y in parts] == [897, 360, 540]
    for _, y in parts:
        share = np.bincount(y, minlength=10) / len(y)
        np.testing.assert_allclose(share, 0.1, atol=0.01)
    images = np.concatenate([x for x, _ in parts])
    assert len(np.unique(images, axis=0)) == len(images) == 1797
    assert [setting.updates(percent) for percent in (0.001, 1, 100)] == [1, 14, 1400]


@pytest.mark.long
def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = demo(tmp_path, percents=(1, 5), rates=(0.3, 0.1), seeds=(0, 1))
    out = capsys.readouterr().out
    assert "compilations of the training program: 1 (for 2 budgets, 84 updates, 32 lanes)" in out
    assert all(f"\n{name} " in out for name in DEMO)
    assert (results.mean[1] < results.mean[0]).all()
    written = json.loads((tmp_path / "budgeted_demo.json").read_text())
    assert written["schedules"]["REX"]["test_error_mean"] == results.mean[:, 0].round(6).tolist()
    assert (tmp_path / "budgeted_demo.png").read_bytes().startswith(b"\x89PNG")
