"""The page of `rex explore`: schedules chosen with widgets, drawn and written as code.

Bokeh serves it on the loopback interface and runs this Python for each change. The whole state is a
dictionary of plain JSON. The link of the page holds it.
"""

import inspect
import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, CustomJS, TabPanel, Tabs
from bokeh.models import widgets as ui
from bokeh.palettes import Dark2_8
from bokeh.plotting import figure
from bokeh.server.server import Server

from rex_cli.pictures import points
from rex_cli.settings import PAIRS, RESTARTS, Setting, settings
from rex_cli.snippets import TARGETS, snippet
from rex_cli.state import REPLANS, State, added, curves, named, read_state, theory
from rex_core import Schedule
from rex_core.adapting import FUNCTIONS, PRESETS, PROFILES

_SLIDERS = {  # Their ends, and the value where none is given. Other numbers are typed.
    "beta": (-2, 0.99, 0.5),
    "warmup_ratio": (0, 0.95, 0),
    "hold_ratio": (0, 0.95, 0),
    "t0": (0, 0.99, 0.5),
}
_TABS = {  # The column of the data, and the titles of a tab and of its axis.
    "y": ("linear", "value"),
    "y_log": ("logarithmic", "value"),
    "y_sum": ("added up", "sum of the values"),
}
_WRONG: dict[str, str | None] = {"color": "#b00020"}
_WRAPPED = ".bk-btn-group {flex-wrap: wrap} .bk-btn-group > .bk-btn {flex-grow: 0}"
_DASHES = "solid", "dashed", "dotdash", "dotted"


class _Page:
    """The widgets of one reader, and the state that they show."""

    def __init__(self, document: Any, state: State) -> None:
        self.state = state
        self.chosen = 0
        self.notes: dict[str, ui.Div] = {}
        self.source = ColumnDataSource(name="curves", data={})
        self.theory = ui.PreText(name="theory")
        self.code = ui.PreText(name="code")
        self.link = ui.TextInput(name="link", title="The link to this page", width=700)
        replace = "window.history.replaceState(null, '', cb_obj.value)"
        self.link.js_on_change("value", CustomJS(code=replace))
        budgets = ui.Checkbox(name="budgets", label="also T/10, T/100", active=state["budgets"])
        budgets.on_change("active", lambda _, __, new: self.change("budgets", new, state))
        self.editor = column(width=320)
        self.picker = ui.RadioButtonGroup(
            name="schedules", active=0, width=300, stylesheets=[_WRAPPED]
        )
        self.picker.on_change("active", lambda _, __, new: self.choose(new))
        self.less = ui.Button(label="remove")
        self.less.on_click(self.remove)
        more = ui.Button(label="add")
        more.on_click(self.add)
        schedules = ui.Div(text="<b>Schedules</b>"), self.picker, row(more, self.less)
        left = column(self._field("T", state), budgets, *schedules, self.editor, width=330)
        tabs = [self._tab(*each) for each in _TABS.items()]
        after = row(
            self._field("replan", state, REPLANS),
            self._field("t0", state, title="t0, as a share of T"),
            self._field("T1", state, title="T1, the budget after it"),
        )
        self.note = ui.Div(name="note", styles=_WRONG, render_as_text=True)
        right = column(
            self.note,
            Tabs(tabs=tabs, sizing_mode="stretch_width"),
            after,
            self.theory,
            self._field("for", state, TARGETS),
            self.code,
            self.link,
            sizing_mode="stretch_width",
        )
        document.add_root(row(left, right, sizing_mode="stretch_width"))
        document.title = "rex explore"
        self.choose(0)

    def _tab(self, values: str, titles: tuple[str, str]) -> TabPanel:
        plot = figure(
            height=420,
            y_axis_type="log" if values == "y_log" else "linear",
            x_axis_label="t",
            y_axis_label=titles[1],
            sizing_mode="stretch_width",
            tools="pan,box_zoom,wheel_zoom,reset,save",
        )
        plot.toolbar.logo = None
        style: Any = {"line_color": "color", "line_dash": "dash", "legend_field": "label"}
        plot.multi_line("x", values, line_width=2, source=self.source, **style)
        return TabPanel(child=plot, title=titles[0])

    def _field(self, name: str, target: State, options: Any = (), title: str = "") -> Any:
        """A choice, a slider or a text, and the place for a message beside it."""
        event = "value"
        if options:
            field: Any = ui.Select(options=[*options], value=target.get(name, options[0]))
        elif name in _SLIDERS:
            start, end, first = _SLIDERS[name]
            value = float(target.get(name, first))
            field = ui.Slider(start=start, end=end, step=0.01, value=value)
            event = "value_throttled"
        else:
            field = ui.TextInput(value=str(target.get(name, "")))
        field.update(name=name, title=title or name, width=300)
        field.on_change(event, lambda _, __, new: self.change(name, new, target))
        self.notes[name] = ui.Div(name=f"note {name}", styles=_WRONG, render_as_text=True)
        return column(field, self.notes[name])

    def choose(self, number: int) -> None:
        """Show the fields of one schedule."""
        self.chosen = number
        rows = self.state["schedules"]
        self.picker.update(labels=[str(i + 1) for i in range(len(rows))], active=number)
        self.less.disabled = len(rows) == 1
        self.editor.children = self._editor(rows[number])
        self.update()

    def _editor(self, chosen: State) -> list[Any]:
        """The fields of a schedule: the arguments of its preset, profile and sampling."""
        taken = _taken(chosen)
        fields = [self._field("preset", chosen, ["", *PRESETS])]
        for each in settings():
            if each.name in taken:
                fields.append(self._field(each.name, chosen, _options(each, taken[each.name])))
        if "part" in taken:
            fields.append(self._field("part", chosen, ["lr", "momentum"]))
        return fields

    def change(self, name: str, value: Any, target: State) -> None:
        """Take one value from a widget; "" is none, and a schedule has its default then."""
        target[name] = round(value, 6) if isinstance(value, float) else value
        if value == "" and target is not self.state:
            del target[name]
        if name in ("preset", "profile", "sampling"):
            taken = _taken(target)
            for other in target.keys() - taken.keys():
                del target[other]
            if "part" in taken:
                target["part"] = "lr"
            self.editor.children = self._editor(target)
        self.update()

    def add(self) -> None:
        """Add a copy of the schedule that is shown."""
        self.state["schedules"].append(dict(self.state["schedules"][self.chosen]))
        self.choose(len(self.state["schedules"]) - 1)

    def remove(self) -> None:
        """Remove the schedule that is shown."""
        del self.state["schedules"][self.chosen]
        self.choose(max(self.chosen - 1, 0))

    def say(self, message: str) -> None:
        """Put a message beside the field that it is about."""
        note = self.notes.get(message.partition(" ")[0], self.note)
        for each in (self.note, *self.notes.values()):
            each.text = message if each is note else ""
            each.visible = each.text != ""

    def update(self) -> None:
        """Draw the state, or show its error."""
        try:
            own = named(self.state)
            found = curves(self.state, own)
            drawn = [points(each.schedule, each.T) for each in found]
            said = theory(own)
        except ValueError as error:
            self.say(str(error))
            return
        try:
            lines = snippet(own[self.chosen], self.state["for"])
        except ValueError as error:  # Frameworks count updates, and T may be hours.
            lines = str(error)
        self.source.data = {
            "label": [each.label for each in found],
            "color": [Dark2_8[i % 8] for i in range(len(found))],
            "dash": [_DASHES[i % 4] for i in range(len(found))],
            "x": [x for x, _ in drawn],
            "y": [y for _, y in drawn],
            "y_log": [[value if value > 0 else math.nan for value in y] for _, y in drawn],
            "y_sum": [added(each, x) for each, (x, _) in zip(found, drawn, strict=True)],
        }
        self.say("")
        self.theory.text, self.code.text = said, lines
        self.link.value = f"?{urlencode({'state': json.dumps(self.state)})}"


def _options(setting: Setting, default: Any) -> list[str]:
    """The values among which a setting is chosen, its default first. A number has none."""
    if setting.kind == "truth":
        return ["false", "true"]
    if setting.kind != "function":
        return []
    curve = setting.name != "sampling"
    names = [name for name, function in FUNCTIONS.items() if (function in PROFILES) == curve]
    return sorted(names, key=lambda name: name != default)


def _taken(chosen: State) -> dict[str, Any]:
    """The settings of a schedule. Settings that are functions have their default's name."""
    preset = chosen.get("preset")
    arguments = inspect.signature(PRESETS.get(str(preset), Schedule)).parameters
    taken = {
        name: each.default.__name__ if inspect.isfunction(each.default) else None
        for name, each in arguments.items()
    }
    for field in ("profile", "sampling"):
        name = chosen.get(field, taken.get(field))
        if field in taken and name in FUNCTIONS:
            taken |= dict.fromkeys([*inspect.signature(FUNCTIONS[name]).parameters][2:])
    pair = ["part"] if preset in PAIRS else []
    return taken | dict.fromkeys([*RESTARTS, "preset", *pair])


def page(document: Any) -> None:
    """Fill a document of Bokeh's, from the state in the link."""
    given = document.session_context.request.arguments.get("state", [b"{}"])[0]
    message = ""
    try:
        state = read_state(given)
        curves(state, named(state))
    except (ValueError, RecursionError) as error:
        state, message = read_state("{}"), f"This link is not one of the page's: {error}"
    _Page(document, state).say(message)


def serve(port: int, opened: Callable[[str], Any]) -> None:
    """Serve the page on loopback, and call `opened` with its address; port 0 is any free one."""
    server = Server({"/": page}, address="127.0.0.1", port=port)
    server.start()
    server.io_loop.add_callback(opened, f"http://127.0.0.1:{server.port}/")
    server.io_loop.start()
