"""The page of `rex explore`, in a real browser."""

import json
import shutil
import subprocess
import sys
from urllib.parse import parse_qs, urlencode, urlparse

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra [cli] is not installed")

from rex_cli.settings import Named
from rex_cli.state import FIRST, added, curves, named, read_state, theory

from rex_core import Replan, Schedule, bind, demon, falling_momentum, from_dict, one_cycle
from rex_core.theory import loss_bound


def state(*rows, **others):
    return {**FIRST, "schedules": [*rows], **others}


def drawn(shown):
    return curves(shown, named(shown))


def values(schedule, T):
    return [schedule(t, T) for t in range(T + 1)]


def test_a_state_is_drawn():
    shown = drawn(
        state({"profile": "rex", "beta": 0.9}, {"preset": "demon"}, T="100", budgets=True)
    )
    assert [each.T for each in shown] == [100, 10, 1] * 2
    assert shown[1].schedule == Schedule(bind("rex", beta=0.9))
    assert shown[3].schedule == demon()
    both = drawn(state({"profile": "linear"}, T="100", replan="replan", t0=0.3, T1="300"))
    assert [each.T for each in both] == [100, 300]
    assert both[1].schedule == Replan(Schedule("linear"), 30, 100)
    (pair,) = drawn(state({"preset": "one_cycle", "part": "momentum", "peak_value": "2"}))
    assert pair.schedule == one_cycle(2).momentum
    row = {"preset": "falling_momentum", "averaged": "true", "part": "lr"}
    (pair,) = drawn(state(row))
    assert pair.schedule == falling_momentum(averaged=True).lr
    (steps,) = drawn(state({"profile": "step", "milestones": "0.3,0.6,-10"}))
    assert steps.schedule == Schedule(bind("step", milestones=(0.3, 0.6, -10)))


LINKS = ["", "[]", "3", "{", "null", '{"schedules": []}', '{"T": 3}', '{"schedules": [3]}']
LINKS += ['{"replan": "later"}', '{"for": "me"}', '{"t0": 1}', '{"t0": NaN}', '{"t0": Infinity}']
LINKS += ['{"peak": 1}', '{"schedules": [{"profile": []}]}', '{"budgets": "yes"}']


@pytest.mark.parametrize("text", LINKS)
def test_links_that_are_none(text):
    with pytest.raises(ValueError, match=r"must|Expecting"):
        read_state(text)


def test_a_link_may_have_whole_numbers():
    assert read_state('{"t0": 0}')["t0"] == 0


@pytest.mark.parametrize(
    "row", [{"profile": "rex"}, {"preset": "step_decay"}, {"profile": "cosine", "cycles": "3"}]
)
def test_values_are_added_up(row):
    (each,) = named(state(row, T="1000"))
    sums = [sum(values(each.schedule, 1000)[:t]) for t in (0, 1, 500, 1000)]
    assert added(each, [0, 1, 500, 1000]) == pytest.approx(sums, rel=1e-14)
    T = 300_007
    each = each._replace(T=T)
    sums = [np.sum(each.schedule(np.arange(t), T)) for t in (0, 100_001, T)]
    assert added(each, [0, 100_001, T]) == pytest.approx(sums, rel=3e-5)


@pytest.mark.parametrize("T", [100, 10**6, 10**9])
def test_values_are_added_up_in_one_call(T):
    calls = []

    def counted(t, T):
        calls.append(len(t))
        return 1.0 - t / T

    assert added(Named("", counted, T), [T])[0] == pytest.approx((T + 1) / 2, rel=2e-5)
    assert calls == [min(T, 100_000)]


def test_theory_is_of_rates():
    momentum, pair = {"preset": "demon"}, {"preset": "one_cycle", "part": "momentum"}
    rate = {"profile": "linear"}
    assert theory(named(state(momentum, pair, T="100"))) == ""
    head, *lines = theory(named(state(momentum, rate, pair, rate, T="100"))).splitlines()
    assert head == "Best peak and bound, relative to schedule 2, by convex theory"
    assert lines == ["2: best peak 1, bound 1", "4: best peak 1, bound 1"]


def test_a_replan_that_comes_too_late():
    for T1 in ("50", "20"):
        with pytest.raises(ValueError, match=f"^T1 must be above t0 = 50; got {T1}$"):
            drawn(state({"profile": "rex"}, T="100", T1=T1, replan="replan"))


@pytest.fixture(scope="module")
def address():
    """The page of a process of its own."""
    command = [sys.executable, "-m", "rex_cli", "explore", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no browser; Debian has it as `chromium`")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


class Reader:
    """A page in the browser: what it shows, and what it has asked of whom."""

    def __init__(self, browser, address):
        self.asked, self.errors = [], []
        self.page = browser.new_page(viewport={"width": 1300, "height": 1000})
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.page.wait_for_selector("text=schedule = Schedule")

    def model(self, name, field):
        find = f"Bokeh.documents[0].get_model_by_name({json.dumps(name)}).{field}"
        return self.page.evaluate(f"JSON.parse(JSON.stringify({find}))")

    def curves(self):
        data = self.model("curves", "data")
        return dict(zip(data["label"], data["y"], strict=True))

    def wait(self, name, field, value):
        find = f"Bokeh.documents[0].get_model_by_name({json.dumps(name)}).{field}"
        self.page.wait_for_function(f"{find} === {json.dumps(value)}")

    def state(self):
        return read_state(parse_qs(urlparse(self.page.url).query)["state"][0])


@pytest.fixture
def reader(browser, address):
    opened = Reader(browser, address)
    yield opened
    hosts = {urlparse(url).hostname for url in opened.asked if not url.startswith(("data", "blob"))}
    assert hosts == {"127.0.0.1"}
    assert opened.errors == []
    opened.page.close()


def test_what_is_typed_is_drawn_and_written(reader, tmp_path):
    reader.page.get_by_label("T", exact=True).fill("200")
    reader.page.keyboard.press("Enter")
    reader.page.wait_for_selector("text=total_steps=200")
    reader.page.get_by_label("for").select_option("json")
    rate = Schedule(peak_value=0.1, warmup_ratio=0.05)
    assert reader.curves() == {"1: rex": values(rate, 200)}
    reader.page.wait_for_selector('text="version": 1')
    assert from_dict(json.loads(reader.model("code", "text"))) == rate
    reader.page.screenshot(path=tmp_path / "explore.png")
    assert (tmp_path / "explore.png").stat().st_size > 10_000


def test_a_slider_moves_the_curve_and_the_link_holds_it(reader, browser, address):
    slider = reader.page.locator(".noUi-handle").first
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    reader.page.wait_for_selector("text=warmup_ratio=0.08")
    assert reader.curves() == {
        "1: rex": [
            Schedule(peak_value=0.1, warmup_ratio=0.08)(t, 10_000)
            for t in sorted({10_000 * i // 4000 for i in range(4001)})
        ]
    }
    assert reader.state()["schedules"][0]["warmup_ratio"] == pytest.approx(0.08)
    other = Reader(browser, reader.page.url)
    assert other.curves() == reader.curves()
    assert other.model("code", "text") == reader.model("code", "text")
    other.page.close()


def test_bad_input_is_said_beside_the_field(reader):
    before = reader.curves()
    reader.page.get_by_label("peak_value").fill("high")
    reader.page.keyboard.press("Enter")
    reader.wait("note peak_value", "text", "peak_value must be a finite number; got 'high'")
    reader.page.get_by_text("peak_value must be").wait_for()
    assert reader.curves() == before
    reader.page.get_by_label("peak_value").fill("0.2")
    reader.page.keyboard.press("Enter")
    reader.page.wait_for_selector("text=peak_value=0.2")
    reader.page.get_by_text("peak_value must be").wait_for(state="hidden")


@pytest.mark.long
@pytest.mark.parametrize("name", ["T", "T1"])
def test_an_empty_budget_is_said_beside_its_field(reader, name):
    reader.page.get_by_label("replan").select_option("replan")
    reader.wait("curves", "data.label.length", 2)
    field = reader.page.get_by_label(name, exact=name == "T")
    field.fill("")
    reader.page.keyboard.press("Enter")
    reader.wait(f"note {name}", "text", f"{name} must be a finite number > 0; got ''")
    field.fill("30000")
    reader.page.keyboard.press("Enter")
    reader.wait(f"note {name}", "text", "")
    reader.wait(f"note {name}", "visible", False)
    reader.wait("curves", "data.label.length", 2)


@pytest.mark.long
def test_many_schedules_leave_the_buttons_free(browser, address):
    shown = state(*[{"profile": "rex"}] * 14, T="20")
    reader = Reader(browser, f"{address}?{urlencode({'state': json.dumps(shown)})}")
    reader.page.get_by_role("button", name="remove").click()
    reader.wait("schedules", "labels.length", 13)
    reader.page.get_by_role("button", name="13", exact=True).click()
    reader.wait("schedules", "active", 12)
    reader.page.close()


@pytest.mark.long
def test_several_schedules(browser, address):
    shown = state({"profile": "rex"}, {"profile": "cosine"}, T="50", replan="cooldown", T1="40")
    reader = Reader(browser, f"{address}?{urlencode({'state': json.dumps(shown)})}")
    expected = {each.label: values(each.schedule, each.T) for each in drawn(shown)}
    assert reader.curves() == expected
    assert len(expected) == 4
    reader.page.get_by_role("button", name="add").click()
    reader.wait("schedules", "labels.length", 3)
    assert reader.model("theory", "text").splitlines()[1] == "1: best peak 1, bound 1"
    ratio = loss_bound(Schedule("cosine"), 50) / loss_bound(Schedule("rex"), 50)
    assert reader.model("theory", "text").splitlines()[2].endswith(f"bound {ratio:.4g}")
    reader.page.close()


@pytest.mark.long
def test_a_preset_shows_its_own_fields(reader):
    reader.page.get_by_label("preset").select_option("noam")
    reader.page.wait_for_selector("text=inverse_sqrt")
    assert reader.state()["schedules"] == [{"preset": "noam", "peak_value": "0.1"}]
    assert reader.page.get_by_label("warmup_ratio").count() == 0
    reader.page.get_by_label("preset").select_option("one_cycle")
    reader.page.get_by_label("part").select_option("momentum")
    reader.page.wait_for_selector("text=peak_value=0.85")
    assert "total_steps=10000, momentum=schedule)" in reader.model("code", "text")
    assert reader.curves() == {
        "1: one_cycle": [
            one_cycle(0.1).momentum(t, 10_000)
            for t in sorted({10_000 * i // 4000 for i in range(4001)})
        ]
    }
    reader.page.get_by_label("preset").select_option("falling_momentum")
    reader.page.get_by_label("averaged").select_option("true")
    reader.page.wait_for_selector("text=init_value=0.01")
    assert reader.curves()["1: falling_momentum"][0] == falling_momentum(0.1, averaged=True).lr(
        0, 100
    )


@pytest.mark.long
def test_a_link_that_is_broken_is_said(browser, address):
    hostile = '{"<img src=x onerror=document.title=1>": 1}'
    for text in (hostile, '{"schedules": [{"profile": 3}]}', "[" * 20_000):
        reader = Reader(browser, f"{address}?{urlencode({'state': text})}")
        reader.page.get_by_text("This link is not one of the page's").wait_for()
        assert reader.page.title() == "rex explore"
        reader.page.close()


@pytest.mark.long
def test_a_budget_of_hours_has_a_picture_and_no_lines(browser, address):
    shown = state({"profile": "rex"}, T="8.5")
    page = browser.new_page()
    page.goto(f"{address}?{urlencode({'state': json.dumps(shown)})}")
    page.wait_for_selector("text=total_steps must be an integer")
    data = page.evaluate("Bokeh.documents[0].get_model_by_name('curves').data.y[0]")
    assert data == [Schedule()(8.5 * (i / 4000), 8.5) for i in range(4001)]
    page.close()
