"""The study: cells that are done once, engines that give the same, lanes that stay apart."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import record
from benchmarks.budgeted import cells, settings
from benchmarks.budgeted.cells import Cell, best_rates, failures, results
from benchmarks.budgeted.engine import programs
from benchmarks.budgeted.optimizers import OPTIMIZERS
from benchmarks.budgeted.schedules import RULES, SAMPLED, STUDY, Rule
from benchmarks.budgeted.setting import Model, Setting
from benchmarks.budgeted.settings.digits import digits
from benchmarks.budgeted.study import study
from rex_core import Plateau, Schedule, constant

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {"schedules": ("REX", "plateau"), "percents": (1, 2), "seeds": 2}
STUDY_OF_DIGITS = [
    *(sys.executable, "-W", "error", "-m", "benchmarks.budgeted", "study", "digits"),
    *("--optimizers", "SGDM", "--seeds", "2"),
]
COMMAND = [*STUDY_OF_DIGITS, "--schedules", "REX", "plateau", "--percents", "1", "2"]
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "local"}


def cell(**changes: Any) -> Cell:
    return replace(
        Cell("digits", "SGDM", "compare", 1.0, ("REX", "OneCycle"), (0.3, 0.1), (0, 1)), **changes
    )


def numbers(path: Path) -> dict[Cell, Any]:
    return {c: (line["validation"], line.get("test")) for c, line in results(path).items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "results.jsonl"
    assert study(["digits"], path, optimizers=["SGDM"], **SMALL)
    return path


def test_study_tunes_and_compares(whole: Path) -> None:
    lines = list(results(whole).values())
    tuning = [line for line in lines if line["cell"].purpose == "tune"]
    comparing = [line for line in lines if line["cell"].purpose == "compare"]
    assert [line["cell"].rates[0] for line in tuning] == list(digits().rates["SGDM"])
    assert {line["cell"].percent for line in tuning} == {10}
    assert {line["cell"].percent for line in comparing} == {1, 2}
    best = best_rates(tuning)
    for line in comparing:
        assert dict(zip(line["cell"].schedules, line["cell"].rates, strict=True)) == best
        assert np.shape(line["test"]) == (2, 2)
        assert line["curve"]["t"][-1] == line["updates"]
        np.testing.assert_allclose(
            line["curve"]["validation"][-1], np.mean(line["validation"], axis=0), atol=1e-6
        )
        assert line["versions"]["jax"] == jax.__version__
        assert line["machine"]["cores"] == os.cpu_count()
        assert not set(line["cell"].seeds) & {seed for t in tuning for seed in t["cell"].seeds}
    # What the rates are chosen by is never an example of the test.
    assert all("test" not in line for line in tuning)


def test_what_is_done_is_not_done_again(whole: Path) -> None:
    before = whole.read_bytes()
    assert study(["digits"], whole, optimizers=["SGDM"], **SMALL)
    assert whole.read_bytes() == before


def test_a_killed_run_goes_on_where_it_was(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    command = [*COMMAND, "--results", str(path)]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while run.poll() is None and len(results(path)) < 2:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert len(results(path)) >= 2
    with path.open("ab") as file:
        file.write(b'{"cell": {"sett')  # as a write that was cut off leaves it
    before = path.read_bytes()
    assert study(["digits"], path, optimizers=["SGDM"], **SMALL)
    assert path.read_bytes().startswith(before)
    assert len(list(cells.read(path))) == len(results(path))
    assert numbers(path) == numbers(whole)


@pytest.mark.parametrize("setting", ["digits", "lowprecision-kahan"])
def test_a_cell_that_ran_out_of_time_goes_on_where_it_was(setting: str, tmp_path: Path) -> None:
    once, often = tmp_path / "once.jsonl", tmp_path / "often.jsonl"
    long = cell(setting=setting, percent=100.0, schedules=("REX", "plateau"), seeds=(3,))
    cells.run(long, once)
    states = set()
    while not results(often):
        cells._programs.cache_clear()  # So that each run takes longer than it is given.
        cells.run(long, often, time.time() + 0.5)
        states |= {path.read_bytes() for path in often.with_suffix(".partial").glob("*")}
        if len(states) > 2:
            cells.run(long, often)
    assert len(states) > 2
    assert numbers(often) == numbers(once)
    assert results(often)[long]["curve"] == results(once)[long]["curve"]
    assert not list(often.with_suffix(".partial").glob("*"))


def test_nothing_begins_after_the_deadline(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert not study(["digits"], path, minutes=0, **SMALL)
    assert not path.exists()


def test_samplings_take_the_place_of_the_schedules(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    own = ["--samplings", "--percents", "1", "--results", str(path)]
    subprocess.run([*STUDY_OF_DIGITS, *own], cwd=ROOT, check=True, capture_output=True)
    assert {c.schedules for c in results(path)} == {tuple(SAMPLED)}


@pytest.fixture
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files are found as settings."""
    monkeypatch.setattr(settings, "__path__", [*settings.__path__, str(tmp_path)])
    settings.load.cache_clear()
    return tmp_path


def test_the_setting_of_the_docs(own_settings: Path) -> None:
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n# two_moons.py\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (own_settings / "two_moons.py").write_text(code)
    path = own_settings / "results.jsonl"
    assert study(["two_moons"], path, schedules=("REX",), percents=(10, 100))
    errors = [line["test"] for cell, line in results(path).items() if cell.percent == 100]
    assert len(errors) == 2  # one for each optimizer
    assert np.mean(errors) < 0.1


def test_a_failing_cell_is_reported_and_the_others_go_on(
    own_settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = """
from dataclasses import asdict, replace
from benchmarks.budgeted.settings.digits import digits

VARIANTS = "bad", "missing", "good"

def fails(model, batch, key):
    raise RuntimeError("no loss today")

def moody(variant):
    if variant == "missing":
        raise FileNotFoundError("no data today")
    setting = replace(digits(), rates={"SGDM": (0.3,)})
    return replace(setting, loss=fails) if variant == "bad" else setting
"""
    file, path = own_settings / "moody.py", own_settings / "results.jsonl"
    file.write_text(code)
    names = settings.variants("moody")
    assert not study(names, path, schedules=("REX",), percents=(1,))
    assert {c.setting for c in results(path)} == {"moody-good"}
    assert len(results(path)) == 2
    (failed,) = failures(path)
    assert failed.setting == "moody-bad"
    errors = capsys.readouterr().err
    assert "no loss today" in errors
    assert "no data today" in errors

    sys.modules.pop("benchmarks.budgeted.settings.moody")
    file.write_text(code.replace("if variant", "if False and variant").replace("loss=fails", ""))
    settings.load.cache_clear()
    before = path.read_bytes()
    assert study(names, path, schedules=("REX",), percents=(1,))
    assert path.read_bytes().startswith(before)
    assert (len(results(path)), failures(path)) == (6, {})


@pytest.mark.parametrize("more", [["--jobs", "2"], ["--engine", "ray"]])
def test_a_cell_that_kills_its_worker_is_reported_and_the_others_go_on(
    more: list[str], tmp_path: Path
) -> None:
    code = """
import os
import signal
from dataclasses import replace
from benchmarks.budgeted.settings.digits import digits

VARIANTS = "good", "deadly", "too"

def kills(model, batch, key):
    os.kill(os.getpid(), signal.SIGKILL)

def grave(variant):
    setting = replace(digits(), rates={"SGDM": (0.3,)})
    return replace(setting, loss=kills) if variant == "deadly" else setting
"""
    ignored = shutil.ignore_patterns("results", "__pycache__")
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=ignored)
    (tmp_path / "benchmarks/budgeted/settings/grave.py").write_text(code)
    path = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "benchmarks.budgeted", "study", "grave", "--schedules", "REX"]
    run = subprocess.run(
        [*command, "--percents", "1", "--results", str(path), *more],
        cwd=tmp_path,
        env=os.environ | RAY,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1, run.stderr
    assert {c.setting: c.purpose for c in results(path)} == {
        "grave-good": "compare",
        "grave-too": "compare",
    }
    (failed,) = failures(path)
    assert failed.setting == "grave-deadly"


def test_a_setting_without_rates_is_reported(
    own_settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = """
from dataclasses import replace
from benchmarks.budgeted.settings.digits import digits

def idle():
    return replace(digits(), rates={})
"""
    (own_settings / "idle.py").write_text(code)
    assert not study(["idle"], own_settings / "results.jsonl")
    assert "rates must be for some of SGDM, Adam" in capsys.readouterr().err


@pytest.mark.parametrize(("engine", "more"), [("local", ["--jobs", "2"]), ("ray", [])])
def test_engines_give_the_same(engine: str, more: list[str], whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    run = subprocess.run(
        [*COMMAND, "--results", str(path), "--engine", engine, *more],
        cwd=ROOT,
        env=os.environ | RAY,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert numbers(path) == numbers(whole)


@pytest.mark.parametrize("more", [["--jobs", "2"], ["--engine", "ray"]])
def test_time_left_is_known_before_a_cell_is_done(more: list[str], tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 120))
    long = ["--schedules", "REX", "--percents", "300000"]
    run = subprocess.Popen(
        [*STUDY_OF_DIGITS, *long, "--results", str(tmp_path / "results.jsonl"), *more],
        cwd=ROOT,
        env=os.environ | RAY,
        stdout=subprocess.DEVNULL,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    bar = re.compile(r"comparing: .* (\S+)([kM])/8\.40M \[\S+<([\d:]+), .* 0 of 1 cells")
    seen: list[tuple[float, float, float]] = []
    shown = ""
    while len(seen) < 12:
        shown += os.read(terminal, 1000).decode(errors="replace")
        *bars, shown = shown.split("\r")
        for match in filter(None, map(bar.match, bars)):
            number, unit, clock = match.groups()
            parts = reversed(clock.split(":"))
            seconds = sum(60**power * int(part) for power, part in enumerate(parts))
            seen.append((time.time(), float(number) * {"k": 1e3, "M": 1e6}[unit], seconds))
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    os.close(terminal)
    (began, before, _), (now, done, left) = seen[5], seen[-1]
    assert left == pytest.approx((8.4e6 - done) * (now - began) / (done - before), rel=0.5)


def test_what_goes_on_counts_no_earlier_updates_into_its_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def bars(percent: float, minutes: float = np.inf) -> list[str]:
        path = tmp_path / "results.jsonl"
        one: dict[str, Any] = {"optimizers": ["SGDM"], "schedules": ["REX"], "seeds": 1}
        study(["digits"], path, percents=[percent], minutes=minutes, **one)
        return capsys.readouterr().err.split("\r")[1:]

    bars(1)  # It chooses the rate.
    begun = bars(100_000, minutes=0.1)
    assert len(begun) == 2  # One each at the start and at the end: this is no terminal.
    (done,) = re.findall(r"([1-9]\S*)/1\.40M .* 0 of 1 cells", begun[-1])
    for bar in bars(100_000, minutes=0):
        assert f" {done}/1.40M [00:00<?, ? updates/s" in bar
    (saved,) = tmp_path.glob("*/*.msgpack")
    saved.unlink()  # as if it had been killed before it was saved
    assert "-" not in bars(100_000, minutes=0.1)[-1]


def test_lines_that_are_not_whole_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert list(cells.read(path)) == []
    path.write_bytes('{"cell": {"schedules": ["REX, β'.encode()[:-1])
    record.append(path, {"cell": asdict(cell()), "error": "none"})
    assert [line["cell"] for line in cells.read(path)] == [cell()]
    assert path.read_bytes().count(b"\n") == 2


def test_numbers_that_json_has_not() -> None:
    text = json.dumps(cells.finite([[0.12345678, np.nan], [np.inf, 1]]), allow_nan=False)
    assert text == "[[0.1234568, null], [null, 1.0]]"


def test_best_rates() -> None:
    def line(rate: float, *validation: Any) -> Any:
        return {"cell": cell(purpose="tune", rates=(rate, rate)), "validation": validation}

    lines = [
        line(1.0, [None, 0.2], [0.0, 0.4]),  # One run of the first came to no number.
        line(0.3, [0.3, 0.3], [0.5, 0.3]),
        line(0.1, [0.5, 0.9], [0.2, 0.1]),
    ]
    assert best_rates(lines) == {"REX": 0.1, "OneCycle": 1.0}


def test_lanes_do_not_influence_each_other() -> None:
    names = ["REX", "OneCycle", "plateau", "Demon"]
    lanes = programs(digits(), OPTIMIZERS["SGDM"], [RULES[name] for name in names])
    rates = np.array([[0.3, 0.1, 0.3, 0.1]])
    state = lanes.advance(lanes.start([0, 1], rates), 60, 60)
    rates[0, 1] = 1e30
    other = lanes.advance(lanes.start([0, 1], rates), 60, 60)
    for a, b in zip(jax.tree.leaves(state.model), jax.tree.leaves(other.model), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_array_equal(a[:, [0, 2, 3]], b[:, [0, 2, 3]])
        assert not np.isfinite(b[:, 1]).all()


@pytest.mark.parametrize("at_once", [1, 2])
def test_lanes_some_at_a_time(at_once: int) -> None:
    rules = [RULES[name] for name in ("REX", "plateau", "OneCycle")]
    states = []
    for setting in (digits(), replace(digits(), lanes_at_once=at_once, evaluation_batch=60)):
        lanes = programs(setting, OPTIMIZERS["Adam"], rules)
        state = lanes.advance(lanes.start([0, 1], np.full((1, 3), 0.01)), 30, 30)
        states.append((state.model, lanes.validation(state), lanes.test(state)))
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_plateau_in_the_program_is_the_pure_one() -> None:
    def metric(model: Model, batch: Any, key: Any) -> Any:
        return jnp.round(model.params)  # falls by fits and starts

    setting = Setting(
        name="steps",
        train=np.zeros(8),
        validation=np.zeros(8),
        test=np.zeros(8),
        init=lambda key: Model(jnp.asarray(0.0)),
        loss=lambda model, batch, key: (model.params, None),
        metric=metric,
        batch_size=4,
        epochs=20,
    )
    plateau, rates = (
        Plateau(factor=0.5, patience=1, threshold_mode="abs"),
        np.array([[0.13], [0.03]]),
    )
    rule = Rule(Schedule(constant), plateau=plateau)
    lanes = programs(setting, OPTIMIZERS["GD"], [rule])
    state = lanes.advance(lanes.start([0, 1], rates), 40, 40)
    for lane, (rate,) in enumerate(rates):
        weight, own = 0.0, plateau.init()
        for t in range(40):
            weight -= rate * own.scale
            if t % 2:
                own = plateau.update(own, float(np.round(weight)))
        assert own.scale < 1
        np.testing.assert_allclose(state.model.params[:, lane], weight, rtol=1e-4)
        np.testing.assert_array_equal(state.plateaus[0].scale[:, lane], own.scale)


def test_schedules_of_the_study() -> None:
    assert len(STUDY) == 13
    assert len(SAMPLED) == 21
    for sampling, read in {
        "50-75": [0, 50, 75],
        "33-66": [0, 33, 66],
        "25-50-75": [0, 25, 50, 75],
        "every 10 %": [*range(0, 101, 10)],
        "every 5 %": [*range(0, 101, 5)],
        "every 1 %": [*range(101)],
        "every iteration": [*range(101)],
    }.items():
        for profile in ("step", "linear", "REX"):
            rate = SAMPLED[f"{profile} × {sampling}"].rate
            values = [rate(t, 100) for t in range(101)]
            changes = [t for t in range(101) if t == 0 or values[t] != values[t - 1]]
            assert changes == read
    halves = SAMPLED["step × 50-75"].rate
    assert [halves(t, 100) for t in (0, 50)] == pytest.approx([1, 0.1])
