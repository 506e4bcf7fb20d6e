"""The accuracy benchmark: its measures on rates whose errors are known, and its page."""

import math
import platform
import subprocess
import sys
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from torch.optim.lr_scheduler import LambdaLR

from benchmarks import record
from benchmarks.accuracy import behaviour, measure, peers, report
from benchmarks.accuracy.behaviour import Function, Scheduler
from benchmarks.accuracy.frameworks import rate, run
from benchmarks.accuracy.peers import Peer
from benchmarks.accuracy.study import study

# One worker makes the small run.
pytestmark = pytest.mark.long

BOUNDS = {"rex": 4, "linear": 4, "step": 4, "constant": 4}


@pytest.fixture(scope="module")
def content():
    """A small run of what the benchmark does."""
    return study((100, 1000), (3, 7), ("rex_core", "by hand", "PyTorch"), curve_budget=1000)


def rows(content, **wanted):
    return [
        row
        for schedule in content["schedules"]
        if all(schedule[key] == value for key, value in wanted.items())
        for row in schedule["budgets"]
    ]


def asked(library):
    """The schedules of a library that are asked, or a skip where it is not installed."""
    subjects = behaviour.installed([library]).values()
    if not subjects:
        pytest.skip(f"{library} is not installed")
    return subjects


def test_rex_core_is_within_its_bounds(content):
    for schedule in content["schedules"]:
        if schedule["library"] == "rex_core":
            bound = BOUNDS.get(schedule["profile"], 8)
            assert [row["T"] for row in schedule["budgets"]] == [100, 1000]
            assert max(row["ulp"] for row in schedule["budgets"]) <= bound
            assert schedule.get("small", {"not_zero": 0})["not_zero"] == 0
            assert all(row["rate"] == 0 for row in schedule.get("beyond", []))


def test_modes_and_dtypes(content):
    seen = {(s["how"], r["dtype"]) for s in content["schedules"] for r in s["budgets"]}
    assert seen == {("jitted", "float32"), ("x64 mode", "float64"), ("Python", "float64")}


@pytest.mark.parametrize("T", [100, 1000])
def test_an_error_that_is_known_exactly(content, T):
    """1 - t/T in float64, whose errors fractions tell."""
    (row,) = [
        r for r in rows(content, library="by hand", profile="linear", how="Python") if r["T"] == T
    ]
    exact = [Fraction(T - t, T) for t in range(T)]
    distance = [abs(Fraction(1 - t / T) - e) for t, e in enumerate(exact)]
    relative = max(d / e for d, e in zip(distance, exact, strict=True))
    ulp = max(d / Fraction(np.spacing(float(e))) for d, e in zip(distance, exact, strict=True))
    assert row["relative"] == pytest.approx(float(relative), rel=1e-3)
    assert row["ulp"] == pytest.approx(float(ulp), rel=1e-3)


@pytest.mark.parametrize("T", [100, 2**24 + 3, 2**31 - 1])
def test_a_float32_error_that_is_known_exactly(T):
    """1 - t/T in NumPy's float32, at the last step and everywhere."""

    def rates(T):
        return lambda steps: np.float32(1) - steps.astype(np.float32) / np.float32(T)

    row = measure.accuracy(Peer("by hand", "float32", "linear", "NumPy", rates), T)
    steps = measure.steps_of(T)
    errors = [
        abs(Fraction(float(value)) / Fraction(T - t, T) - 1)
        for t, value in zip(steps.tolist(), rates(T)(steps), strict=True)
    ]
    assert row["dtype"] == "float32"
    assert row["relative"] == pytest.approx(float(max(errors)), rel=1e-3)
    assert row["relative_last"] == pytest.approx(float(max(errors[-min(T, 1000) :])), rel=1e-3)
    assert row["at_T"] == 0


def test_steps_cover_the_start_the_end_and_the_milestones():
    for T in measure.BUDGETS:
        steps = set(measure.steps_of(T).tolist())
        assert steps >= {0, 1, T - 1, *range(max(0, T - 1000), T)}
        assert steps >= {b + i for b in peers.milestones(T) for i in (-1, 0, 1)}
        assert max(steps) == T - 1


@pytest.mark.parametrize(
    ("rate", "count"),
    [
        (lambda left: left.astype(float), 0),
        (lambda left: np.where(left > 12_345, 1.0, 0.0), 12_345),
        (lambda left: np.where(left > 3, 1.0, np.nan), 3),
        (lambda left: np.where(left == 77, 1.0, -1.0), 76),
        (lambda left: 0.0 * left, 100_000),
    ],
)
def test_steps_without_a_rate(rate, count):
    T = 100_000
    assert measure.without_rate(lambda steps: rate(T - steps), T) == count


def test_what_comes_instead_of_a_rate_is_the_result():
    def rates(T):
        after = {
            T + 1: lambda: (T - 150) ** 0.5,
            T + T // 2: lambda: math.inf,
            2 * T: lambda: 1 / 0,
        }
        return lambda steps: np.array([after[t]() for t in steps.tolist()])

    beyond = measure.beyond(Peer("by hand", "", "linear", "Python", rates))
    assert [row["rate"] for row in beyond] == ["a complex number", "inf", "ZeroDivisionError"]


def test_rex_core_answers_yes(content):
    assert {"rex_core.Schedule", "rex_optax.as_schedule"} < set(content["behaviour"])
    for name, answers in content["behaviour"].items():
        if name.startswith(("rex_core", "rex_optax", "rex_torch")):
            assert all(answer["yes"] is not False for answer in answers.values()), name


def test_a_lambda_of_its_own_answers_for_itself():
    answers = behaviour.answers(Function(lambda T, warmup: lambda t: 1 - t / T))
    verdicts = {question: answer["yes"] for question, answer in answers.items()}
    assert verdicts.pop("pickles") is False
    assert set(verdicts.values()) == {True}


class Decay:
    """A callable object: LambdaLR saves what it holds, T too, and writes it back."""

    def __init__(self, T):
        self.T = T

    def __call__(self, t):
        return max(0.0, 1 - t / self.T)


def late(T, t):
    return 0.0 if t == 0 else Decay(T)(t)


def test_traps_are_told_apart():
    keeps = Scheduler(lambda own, T, warmup: LambdaLR(own, Decay(T)), warms=False)
    answers = behaviour.answers(keeps)
    assert answers["resumes with a new T"]["yes"] is False
    assert "old budget" in answers["resumes with a new T"]["what"]
    assert answers["pickles"]["yes"] is True
    assert answers["warmup = T"]["yes"] is None
    begins_late = Scheduler(lambda own, T, warmup: LambdaLR(own, partial(late, T)), warms=False)
    answers = behaviour.answers(begins_late)
    assert answers["first update at the peak"] == {"yes": False, "what": "the first rate is 0"}
    assert answers["resumes with a new T"]["yes"] is True


def test_timm_is_asked_as_its_train_script_does():
    (timm,) = asked("timm")
    answers = behaviour.answers(timm)
    assert answers["first update at the peak"]["yes"] is True
    assert answers["warmup = T"] == {"yes": True, "what": "accepted: it ends at 0"}
    assert answers["resumes with a new T"]["yes"] is True
    warm = timm.make(100, 10)
    rates = [rate(warm)]
    for t in range(1, 100):
        timm.advance(warm, t)
        rates.append(rate(warm))
    assert rates[:10] == pytest.approx(np.linspace(1e-5, 1, 11)[:10])
    assert rates[10:] == pytest.approx(np.cos(np.pi / 200 * np.arange(10, 100)) ** 2)


def test_what_is_told_the_count_gets_its_optimizer_back():
    (timm,) = asked("timm")
    before = timm.make(100, 0)
    before.optimizer.param_groups[0]["momentum"] = 0.5
    timm.advance(before, 50)
    after = timm.resume(before, 200)
    assert after.optimizer is not before.optimizer
    assert after.optimizer.param_groups[0]["momentum"] == 0.5
    timm.advance(after, 50)
    assert rate(after) == pytest.approx(math.cos(math.pi * 50 / 400) ** 2)


def test_pytorch_optimizer_is_stepped_after_each_update():
    """The first update comes before any step; the errors are those of the updates after it."""
    T = 20
    cosine, rex = asked("pytorch-optimizer")
    measured = {
        peer.profile: list(peer.rates(T)(np.arange(T + 1)))
        for peer in peers.installed(["pytorch-optimizer"])[0]
    }
    for subject, rates in ((cosine, measured["cosine"]), (rex, measured["rex"][1:])):
        assert list(islice(run(subject.make(T, 0)), len(rates) + 1)) == [0, *rates]
        answer = behaviour.answers(subject)["first update at the peak"]
        assert answer == {"yes": False, "what": "the first rate is 0"}


def test_what_is_made_for_pytorch_is_not_asked_to_be_traced():
    (fvcore,) = asked("fvcore")
    answer = behaviour.answers(fvcore)["traced T"]
    assert answer == {"yes": None, "what": "it runs outside the compiled step"}


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    found, missing = peers.installed(["by hand", "timm"])
    assert {peer.library for peer in found} == {"by hand"}
    assert missing["timm"].endswith("to measure it: pip install --no-deps timm")
    assert behaviour.installed(["timm"]) == {}


def test_timm_is_imported_without_its_models():
    pytest.importorskip("torch")
    if record.versions(["timm"])["timm"] is None:
        pytest.skip("timm is not installed; `pip install --no-deps timm` does it")
    code = """if True:
        import sys
        from benchmarks.accuracy.peers import installed
        assert [peer.library for peer in installed(["timm"])[0]] == ["timm"] * 5
        assert not {"timm.models", "torchvision"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)


ROOT = Path(__file__).parents[2]


def test_page_shows_what_was_measured(tmp_path):
    measured = record.read(report.RESULTS)
    page = tmp_path / "README.md"
    text = report.README.read_text(encoding="utf-8")
    page.write_text(text.replace(report.tables(measured), "old tables"), encoding="utf-8")
    assert page.read_text(encoding="utf-8") != text
    report.insert(measured, page)
    assert page.read_text(encoding="utf-8") == text


def test_a_page_without_a_place_is_refused(content, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# Title\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"README.md must have the lines"):
        report.insert(content, page)


def test_results_tell_command_machine_and_versions():
    measured = record.read(report.RESULTS)
    assert measured["command"] == "python -m benchmarks.accuracy"
    assert set(measured["machine"]) == {"cpu", "cores", "system", "device"}
    assert None not in measured["versions"].values()
    assert measured["missing"] == {}
    assert measured["budgets"] == list(measure.BUDGETS)
    if len(platform.node()) > 3:
        assert platform.node() not in report.RESULTS.read_text(encoding="utf-8")


def test_record_of_a_small_run(content, tmp_path):
    path = tmp_path / "new" / "results.json"
    record.write(path, "a command", ["numpy", "no-such-distribution"], content)
    again = record.read(path)
    assert {key: again[key] for key in content} == content
    assert again["versions"]["numpy"] == np.__version__
    assert again["versions"]["no-such-distribution"] is None
    assert report.tables(again) == report.tables(content)
    with pytest.raises(ValueError, match="JSON"):
        record.write(path, "a command", [], {"value": float("nan")})


def test_figure(content, tmp_path):
    report.draw(content, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
