"""The command `rex`: in this process, and as a process where start-up or a shell matters."""

import csv
import inspect
import io
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("click", reason="the extra [cli] is not installed")

from click.testing import CliRunner
from rex_cli import plot
from rex_cli.command import rex

import rex_core as rc
from rex_core import Restarts, Schedule, bind, from_dict, to_dict
from rex_core.adapting import FUNCTIONS, PRESETS

BUDGET = ["-T", "100"]
# Other tests register functions of their own.
OWN = {name: each for name, each in FUNCTIONS.items() if each.__module__.startswith("rex_core.")}


def run(*args, text=None):
    """Run the command, and give what it has printed."""
    done = CliRunner().invoke(rex, args, input=text, prog_name="rex")
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    return done.stdout


def refused(*args):
    """The one line of an error."""
    done = CliRunner().invoke(rex, args, prog_name="rex")
    assert (done.exit_code, done.stdout) == (2, "")
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.startswith("rex: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("rex: ").strip()


def table(*args, text=None):
    """The columns of a CSV, by their names."""
    head, *rows = csv.reader(io.StringIO(run("values", *args, "--csv", text=text)))
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(head)}


def curve(schedule, T=100):
    return [schedule(t, T) for t in range(T + 1)]


# Flags, and the schedule that they make.
FLAGS = [
    ("", Schedule()),
    ("--profile cosine", Schedule("cosine")),
    (
        "--profile rex --beta 0.9 --peak 3e-4 --warmup-ratio 0.05 --decay-steps 20",
        Schedule(bind("rex", beta=0.9), peak_value=3e-4, warmup_ratio=0.05, decay_steps=20),
    ),
    (
        "--peak-value 0.1 --end-value 0.01 --init-value 0.02 --warmup-steps 10 --hold-ratio 0.2",
        Schedule(peak_value=0.1, end_value=0.01, init_value=0.02, warmup_steps=10, hold_ratio=0.2),
    ),
    ("--beta -2", Schedule(bind("rex", beta=-2))),
    (
        "--profile step --milestones 0.3 0.6 -10 --factor 0.5",
        Schedule(bind("step", milestones=(0.3, 0.6, -10), factor=0.5)),
    ),
    (
        "--profile interpolate --values=1,0.5 0 --peak 2",
        Schedule(bind("interpolate", values=(1, 0.5, 0)), peak_value=2),
    ),
    (
        "--profile linear --sampling every --steps 7",
        Schedule("linear", bind("every", steps=7)),
    ),
    (
        '--profile step --milestones 0.5 --sampling \'{"every": {"steps": 3}}\'',
        Schedule(bind("step", milestones=(0.5,)), bind("every", steps=3)),
    ),
    (
        '--warmup-steps 9 --warmup-profile \'{"polynomial": {"power": 3}}\' '
        "--profile '{\"rex\": {}}' --beta 0",
        Schedule(bind("rex", beta=0), warmup_steps=9, warmup_profile=bind("polynomial", power=3)),
    ),
    ("--preset noam --peak 1e-3 --warmup-steps 40", rc.noam(1e-3, warmup_steps=40)),
    (
        "--preset warmup_stable_decay --profile cosine --power 2 --decay-steps 30",
        rc.warmup_stable_decay(profile=bind("cosine", power=2), decay_steps=30),
    ),
    ("--preset one_cycle --peak 0.1 --part lr", rc.one_cycle(0.1).lr),
    (
        "--preset one_cycle --max-momentum 0.9 --part momentum",
        rc.one_cycle(max_momentum=0.9).momentum,
    ),
    (
        "--preset falling_momentum --peak 0.1 --averaged true --part lr",
        rc.falling_momentum(0.1, averaged=True).lr,
    ),
    (
        "--preset falling_momentum --peak 0.1 --averaged False --part lr",
        rc.falling_momentum(0.1).lr,
    ),
    (
        "--profile linear --cycles 3 --period-mult 2 --peak-mult 0.5",
        Restarts(Schedule("linear"), 3, period_mult=2, peak_mult=0.5),
    ),
    ("--preset demon --cycles 2", Restarts(rc.demon(), 2)),
]


@pytest.mark.parametrize(("flags", "schedule"), FLAGS, ids=[flags for flags, _ in FLAGS])
def test_flags_make_the_schedule(flags, schedule):
    assert from_dict(json.loads(run("code", *shlex.split(flags), "--for", "json"))) == schedule
    columns = table(*shlex.split(flags), *BUDGET)
    assert columns == {"t": [*range(101)], "value": curve(schedule)}


# A value of each parameter that a profile, a sampling or a preset has.
PARAMETERS = {
    "beta": 0.25,
    "delay": 0.25,
    "end_value": 0.01,
    "factor": 0.3,
    "fraction": 0.25,
    "gamma": 2,
    "high": 3,
    "init_value": 0.4,
    "k": 2,
    "low": 1e-3,
    "lower": -5,
    "max_momentum": 0.8,
    "min_momentum": 0.7,
    "peak_value": 2,
    "power": 3,
    "ratio": 0.2,
    "steps": 6,
    "timescale": 30,
    "upper": 4,
    "warmup_steps": 12,
}
SEQUENCES = {"milestones": (0.2, 0.7), "values": (1, 3, 0.5)}


def parameters(function):
    names = [name for name in inspect.signature(function).parameters if name not in ("t", "T")]
    return {n: v for n, v in (PARAMETERS | SEQUENCES).items() if n in names}, names


@pytest.mark.parametrize("name", OWN)
def test_each_parameter_of_a_function_is_a_flag(name):
    params, names = parameters(OWN[name])
    assert sorted(params) == sorted(names)
    flags = []
    for each, value in params.items():
        values = value if isinstance(value, tuple) else (value,)
        flags += [f"--{each}", *map(str, values)]
    field = "sampling" if OWN[name].__module__ == "rex_core.sampling" else "profile"
    expected = Schedule(**{field: bind(name, **params) if params else name})
    assert table(f"--{field}", name, *flags, *BUDGET)["value"] == curve(expected)


@pytest.mark.parametrize("name", PRESETS)
def test_each_number_of_a_preset_is_a_flag(name):
    params, _ = parameters(PRESETS[name])
    flags = []
    for each, value in params.items():
        values = value if isinstance(value, tuple) else (value,)
        flags += [f"--{each.replace('_', '-')}", *map(str, values)]
    made = PRESETS[name](**params)
    if isinstance(made, rc.Pair):
        flags, made = [*flags, "--part", "lr"], made.lr
    assert table("--preset", name, *flags, *BUDGET)["value"] == curve(made)


def test_every_setting_of_a_schedule_is_in_the_help():
    text = run("plot", "--help")
    functions = [*OWN.values(), *PRESETS.values(), Schedule]
    names = {name for each in functions for name in inspect.signature(each).parameters} - {"t", "T"}
    missing = {name for name in names if not re.search(rf"--{name.replace('_', '-')}\b", text)}
    assert missing == set()
    assert "rex, falling_momentum: β, in [-1e30, 1)" in text


PERSON = Schedule("cosine", peak_value=3e-4, warmup_ratio=0.05)
FILES = {
    "a.json": json.dumps(to_dict(PERSON)),
    "b.json": '{"profile": "cosine", "peak_value": 3e-4, "warmup_ratio": 0.05}',
    "c.toml": 'profile = "cosine"\npeak_value = 3e-4\nwarmup_ratio = 0.05\n',
    "d.yaml": "profile: cosine\npeak_value: 3e-4\nwarmup_ratio: 0.05\n",
    "e.yml": "{profile: {cosine: {power: 1.0e0}}, peak_value: 3.0e-4, warmup_ratio: 5e-2}",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read(name, tmp_path):
    path = tmp_path / name
    path.write_text(FILES[name])
    assert table(str(path), *BUDGET)["value"] == curve(PERSON)
    changed = PERSON.replace(profile=bind("cosine", power=2), peak_value=1e-3)
    flags = ["--peak", "1e-3", "--power", "2"]
    assert table(str(path), *flags, *BUDGET)["value"] == curve(changed)


def test_a_file_may_hold_whatever_from_dict_reads(tmp_path):
    path = tmp_path / "schedule.json"
    for value in (
        rc.Join([Schedule(), "linear"], [0.3]),
        Schedule("constant", warmup_steps=5) * Schedule("cosine"),
        rc.Replan(Schedule(), 20, 50),
        bind("rex", beta=0.9),
        rc.linear,
    ):
        path.write_text(json.dumps(to_dict(value)))
        assert table(str(path), *BUDGET)["value"] == curve(value)
    path.write_text('"cosine"')
    assert table(str(path), "--peak", "2", *BUDGET)["value"] == curve(
        Schedule("cosine", peak_value=2)
    )
    assert table("-", *BUDGET, text='{"preset": "demon"}')["value"] == curve(rc.demon())


def test_a_flag_several_times_makes_several_schedules():
    columns = table(
        "--profile", "rex", "--profile", "cosine", "--beta", "0.9", "--peak", "2", *BUDGET
    )
    assert columns == {
        "t": [*range(101)],
        "rex": curve(Schedule(bind("rex", beta=0.9), peak_value=2)),
        "cosine": curve(Schedule("cosine", peak_value=2)),
    }
    columns = table("--beta", "0.5", "--beta", "0.9", "--end", "0", "--end", "0.1", *BUDGET)
    assert [*columns] == ["t", "rex, beta = 0.5, end_value = 0", "rex, beta = 0.9, end_value = 0.1"]
    assert columns["rex, beta = 0.9, end_value = 0.1"] == curve(
        Schedule(bind("rex", beta=0.9), end_value=0.1)
    )


@pytest.mark.parametrize(
    ("T", "places", "steps"),
    [
        ("1000", ["0", "100", "0.5", "-1"], [0, 100, 500, 999]),
        ("10", ["0.7,1.0", "-10"], [7, 10, 0]),  # 0.7 of 10 is 7 exactly.
        ("1e4", ["0.05", "--at", "3"], [500, 3]),
        ("100", ["0.29"], [29]),  # 0.29 * 100 is below 29 in floats.
        ("8.0", ["0.25"], [2.0]),
    ],
)
def test_places(T, places, steps):
    head, *lines = run("values", "-T", T, "--at", *places).splitlines()
    assert head.split() == ["t", "value"]
    found = [tuple(map(float, line.split())) for line in lines]
    whole = float(T) if "." in T else int(float(T))
    assert found == [(t, Schedule()(t, whole)) for t in steps]


def test_places_by_default():
    lines = run("values", "-T", "1000").splitlines()[1:]
    assert [int(line.split()[0]) for line in lines] == [*range(0, 1001, 100)]
    assert [int(line.split()[0]) for line in run("values", "-T", "2").splitlines()[1:]] == [0, 1, 2]


REFUSED = [
    ("values", "Missing option '-T'"),
    ("values -T 0", "T must be a finite number > 0; got 0"),
    ("values -T many", "T must be a finite number > 0; got 'many'"),
    ("values -T 10 --pek 1", "No such option"),
    ("values -T 10 --peak high", "peak_value must be a finite number; got 'high'"),
    ("values -T 10 --beta 1", "beta must be in [-1e30, 1); got 1"),
    ("values -T 10 --profile cosin", "(is cosine meant?); got 'cosin'"),
    ("values -T 10 --preset noan", "(is noam meant?); got 'noan'"),
    ("values -T 10 --profile every", "profile must not be a sampling; got every"),
    ("values -T 10 --profile cosine --beta 0.9", "beta must be a parameter of cosine"),
    (
        "values -T 10 --profile rex --profile cosine --beta 0.9 --beta 0.8",
        "beta must be a parameter of cosine",
    ),
    ("values -T 10 -T 20", "T must be given once here; got (10, 20)"),
    ("values -T 10 --preset demon --delay 0.1", "delay must be a parameter of demon"),
    ("values -T 10 --delay 0.1", "delay must be a parameter of Schedule"),
    ("values -T 10 --profile geometric", "profile must be bound to a value of ratio"),
    ("values -T 10 --sampling every", "sampling must be bound to a value of steps, with --steps; "),
    ("values -T 10 --profile inverse_sqrt", "value of timescale, with --timescale; got inverse"),
    ("values -T 10 --warmup-profile interpolate", "warmup_profile must be bound to a value of v"),
    ("values every.json -T 10", "sampling must be bound to a value of fraction, with --fraction"),
    ("values -T 10 --profile {", "a function must be a name or JSON"),
    ("values -T 10 --period-mult 2", "cycles must be given"),
    ("values -T 10 --warmup-steps 20", "warmup_steps must end before T"),
    ("values -T 10 --warmup-ratio 0.5 --warmup-steps 2", "warmup_ratio must be 0"),
    ("values -T 10 --preset one_cycle", "part must be lr or momentum"),
    ("values -T 10 --part lr", "part must be left out"),
    (
        "values -T 10 --preset falling_momentum --averaged 1 --part lr",
        "averaged must be True or False; got '1'",
    ),
    (
        "values -T 10 --beta 0 --beta 0.1 --peak 1 --peak 2 --peak 3",
        "got 2 of beta, 3 of peak_value",
    ),
    (
        "values -T 10 --profile step --sampling at --milestones 0.5",
        "milestones must be written as JSON",
    ),
    ("values -T 10 --at 11", "at must be integers in [-10, 10]"),
    ("values -T 10 --at -0.5", "shares of T in (0, 1], as 0.5; got -0.5"),
    ("values -T 8.0 --csv", "at must be given with csv"),
    ("values -T 10 none.json", "No such file or directory: none.json"),
    ("values -T 10 schedule.txt", "must end in .json, .toml, .yaml, .yml"),
    ("values -T 10 broken.json", "broken.json must hold a schedule; got Expecting"),
    ("values -T 10 broken.toml", "broken.toml must hold a schedule"),
    ("values -T 10 broken.yaml", "broken.yaml must hold a schedule"),
    ("values -T 10 deep.json", "deep.json must hold a schedule"),
    ("values -T 10 latin.toml", "latin.toml must be text in UTF-8; got 'utf-8' codec"),
    ("compare latin.csv -T 10", "latin.csv must be text in UTF-8; got 'utf-8' codec"),
    ("values -T 10 odd.json --beta 0.1", "must be"),
    ("values -T 10 restarts.json", "cycles must be given in a Restarts"),
    ("compare none.csv -T 10", "No such file or directory: none.csv"),
    ("compare three.csv -T 10", "columns must be given"),
    ("compare three.csv -T 10 --columns step rate", "columns must be two of step, lr, loss"),
    (
        "compare three.csv -T 10 --columns step loss",
        "row 2 of three.csv must have two finite numbers",
    ),
    ("compare empty.csv -T 10", "columns must be given"),
    ("compare spaces.csv -T 10", "not two of them, with commas, semicolons or tabs between them; "),
    ("compare german.csv -T 10", "row 2 of german.csv must have two finite numbers; got 0, 0,1"),
    ("compare long.csv -T 10", "long.csv must be a CSV file; got field larger than"),
    ("compare three.csv --columns step lr --beta 0 --beta 0.5 -T 10", "one schedule here; got 2"),
    ("steps", "epochs, samples or tokens must be given"),
    ("steps --epochs 3 --dataset-size 100", "batch_size must be given with epochs"),
    ("code --for optax", "-T must be given with --for optax, the budget in updates; got none"),
    ("code --for optax -T 0", "total_steps must be an integer in [1, 2147483647]; got 0"),
    ("code --for optax -T 1.5", "total_steps must be an integer"),
    ("code --for optax -T 10 --peak -1", "each value of schedule must be"),
    ("code --for tensorflow -T 10", "'tensorflow' is not one of 'torch'"),
    ("plot -T 10 -o picture.abc", "Format 'abc' is not supported"),
    ("plot -T 10 -o none/picture.png", "No such file or directory: none/picture.png"),
    ("plot -T 10 --steps-per-epoch 0", "steps_per_epoch must be a finite number > 0; got 0"),
    ("plot -T 10 --steps-per-epoch 2 --tokens-per-step 3", "without tokens_per_step"),
    ("plot -T 10 --peak 0 --log", "log must be left out"),
    ("draw", "No such command 'draw'"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with files that are not what they should be, as the current one."""
    for name, content in {
        "broken.json": "{",
        "broken.toml": "[[",
        "broken.yaml": "a: [",
        "deep.json": "[" * 100_000,
        "odd.json": '{"profile": {"function": [], "params": 3}}',
        "restarts.json": '{"type": "Restarts", "schedule": "rex"}',
        "every.json": '{"sampling": "every_fraction"}',
        "three.csv": "step,lr,loss\n0,0.1,nan\n",
        "empty.csv": "",
        "spaces.csv": "step lr\n0 0.1\n",
        "german.csv": "step;lr\n0;0,1\n",
        "long.csv": "step,lr\n0," + 200_000 * "1",
    }.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "latin.toml").write_bytes('profile = "linéar"'.encode("latin-1"))
    (tmp_path / "latin.csv").write_bytes("Schritt,Größe\n0,0.1\n".encode("latin-1"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=[line for line, _ in REFUSED])
def test_bad_input_is_one_line_and_2(line, message, folder):
    assert message in refused(*shlex.split(line))


@pytest.mark.parametrize(
    ("field", "more", "wanted"),
    [
        ("--profile", "", "rex_core.profiles"),
        ("--profile", "--beta 0.5", "rex_core.profiles"),
        ("--warmup-profile", "", "rex_core.profiles"),
        ("--sampling", "", "rex_core.sampling"),
    ],
)
def test_an_unknown_name_gets_the_names_of_its_kind(field, more, wanted):
    message = refused("values", "-T", "10", field, "exx", *more.split())
    names, _ = re.fullmatch(r".* must be one of (.*), or registered .*got '(.*)'", message).groups()
    own = {name for name in names.split(", ") if name in OWN}
    assert own == {name for name, each in OWN.items() if each.__module__ == wanted}


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "schedule.toml"
    path.write_text(FILES["c.toml"], encoding="utf-8-sig")
    assert table(str(path), *BUDGET)["value"] == curve(PERSON)


def test_without_a_command_there_is_help():
    assert run() == run("--help")
    assert run("--version").strip() == rc.__version__


EXAMPLES = {
    line: name for name, command in [("", rex), *rex.commands.items()] for line in command.examples
}
del EXAMPLES["rex explore"]  # It serves until it is stopped: test_rex_explore.py


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A folder with the files of the examples."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "schedule.toml").write_text(FILES["c.toml"])
    (folder / "a.json").write_text(FILES["a.json"])
    (folder / "b.yaml").write_text(FILES["d.yaml"])
    rows = [f"{t},{PERSON(t, 10_000)!r}" for t in range(50)]
    (folder / "logged.csv").write_text("\n".join(rows))
    rows = [f"{t},{PERSON(t, 10_000)!r},1.5" for t in range(50)]
    (folder / "run.csv").write_text("\n".join(["step,lr,loss", *rows]))
    return folder


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_examples_of_the_help_run(line, examples, shell, monkeypatch):
    assert line in " ".join(run(*EXAMPLES[line].split(), "--help").splitlines())
    if set(line) & set("$>"):
        done = subprocess.run(
            ["bash", "-c", line], cwd=examples, env=shell, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        return
    monkeypatch.chdir(examples)
    monkeypatch.setenv("MPLBACKEND", "agg")
    output = run(*shlex.split(line)[1:])
    assert output or (examples / "restarts.png").read_bytes().startswith(b"\x89PNG")


def process(line, shell, **more):
    return subprocess.run(
        ["bash", "-c", line], env=shell | more, capture_output=True, text=True, timeout=60
    )


def test_an_error_of_the_process_has_no_traceback(shell):
    done = process("rex values -T 10 --beta 1", shell)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rex: beta must be in [-1e30, 1); got 1\n"


def test_a_reader_that_leaves_early_is_no_error(shell):
    done = process("set -o pipefail; rex values -T 1000000 --csv | head -n 2", shell)
    assert done.stdout == "t,value\n0,1.0\n"
    assert done.stderr == ""


def test_a_window_that_cannot_open_is_no_error(shell):
    # matplotlib then takes a backend without windows.
    done = process("rex plot -T 10", shell, MPLBACKEND="tkagg")
    assert (done.returncode, done.stderr) == (0, "")
    assert "(updates)" in done.stdout


def test_a_missing_extra_is_named(shell, tmp_path):
    (tmp_path / "click").mkdir()
    (tmp_path / "click" / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'click'\", name='click')"
    )
    path = f"{tmp_path}:{shell.get('PYTHONPATH', '')}"
    done = process("rex values -T 10", shell, PYTHONPATH=path)
    assert done.returncode == 2
    assert done.stderr == "rex: it needs click: pip install 'rex-schedules[cli]'\n"


def test_values_start_without_matplotlib_and_frameworks():
    program = (
        "import sys; from rex_cli.command import rex\n"
        "rex(['values', '--profile', 'cosine', '-T', '10'], standalone_mode=False)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    imported = set(done.stdout.splitlines()[-1].split())
    assert {"rex_cli", "click", "numpy"} <= imported
    assert not imported & {"matplotlib", "plotille", "yaml", "torch", "jax", "keras"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("rex va", {"values"}),
        ("rex plot --pro", {"--profile"}),
        ("rex plot --profile co", {"cosine", "constant"}),
        ("rex plot --sampling e", {"every", "every_step", "every_fraction"}),
        ("rex values --preset o", {"one_cycle"}),
        ("rex code --for k", {"keras"}),
    ],
)
def test_shell_completion(words, expected, shell):
    place = str(len(words.split()) - 1)
    done = process("rex", shell, _REX_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=place)
    assert {line.partition(",")[2] for line in done.stdout.split()} == expected


def test_steps():
    flags = shlex.split("--epochs 3 --dataset-size 50000 --batch-size 32 --accumulation 4")
    expected = rc.total_steps(epochs=3, dataset_size=50_000, batch_size=32, accumulation=4)
    assert run("steps", *flags) == f"{expected}\n"
    expected = rc.total_steps(epochs=0.5, dataset_size=1000, batch_size=7, drop_last=True)
    flags = shlex.split("--epochs 0.5 --dataset-size 1000 --batch-size 7 --drop-last")
    assert run("steps", *flags) == f"{expected}\n"


def written(path, rows, *head):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([*head, *rows])
    return str(path)


def test_compare_with_a_run_that_agrees(tmp_path):
    rows = [(t, PERSON(t, 1000)) for t in range(1000)]
    flags = shlex.split("--profile cosine --peak 3e-4 --warmup-ratio 0.05 -T 1000")
    lines = run("compare", written(tmp_path / "log.csv", rows), *flags).splitlines()
    assert lines[0] == "rows        1000, t from 0 to 999"
    assert lines[1] == "difference  0.0, the largest, at t = 0"
    assert len(lines) == 4


def test_compare_finds_the_largest_difference_and_where(tmp_path):
    rows = [[t, PERSON(t, 1000), 0.5] for t in range(0, 1000, 10)]
    rows[30][1] += 1e-6
    rows[40][1] -= 2e-6
    rows[50][1] = ""
    path = written(tmp_path / "log.csv", rows, ["step", "lr", "loss"])
    flags = shlex.split("--profile cosine --peak 3e-4 --warmup-ratio 0.05 -T 1000")
    lines = run("compare", path, "--columns", "step", "lr", *flags).splitlines()
    here, there = PERSON(400, 1000), rows[40][1]
    assert lines == [
        "rows        99, t from 0 to 990; 1 more without a value",
        f"difference  {abs(here - there)!r}, the largest, at t = 400",
        f"schedule    {here!r}",
        f"log         {there!r}",
    ]


@pytest.mark.parametrize(("shift", "said"), [(1, "+ 1"), (-1, "- 1")])
def test_compare_sees_a_log_that_counts_from_another_step(shift, said, tmp_path):
    rows = [(t, PERSON(t + shift, 1000)) for t in range(1, 1000)]
    flags = shlex.split("--profile cosine --peak 3e-4 --warmup-ratio 0.05 -T 1000")
    *_, last = run("compare", written(tmp_path / "log.csv", rows), *flags).splitlines()
    assert last == f"The log fits better at t {said}, where the largest difference is 0.0."


LOGS = {
    "a byte order mark": "\ufeffstep,lr\n0,0.1\n1,0.08\n",
    "commas": "step,lr\n0,0.1\n1,0.08\n",
    "semicolons": "step;lr\n0;0.1\n1;0.08\n",
    "tabs": "step\tlr\n0\t0.1\n1\t0.08\n",
    "tabs without names": "0\t0.1\n1\t0.08\n",
    "a comment": "# run.csv\nstep,lr\n0,0.1\n# resumed\n1,0.08\n",
    "a comment before numbers": "# step,lr\n0,0.1\n1,0.08\n",
    "the rate first": "lr,step\n0.1,0\n0.08,1\n",
    "the value first": "Value,Wall time\n0.1,0\n0.08,1\n",
    "paths": "train/learning_rate;train/global_step\n0.1;0\n0.08;1\n",
    "spaces": " lr , _step \n0.1, 0\n0.08, 1\n",
    "unknown names": "here,there\n0,0.1\n1,0.08\n",
    "a line break in a cell": '"step","the\n#lr"\n0,0.1\n1,0.08\n',
}


@pytest.mark.parametrize("name", LOGS)
def test_compare_reads_the_logs_that_people_have(name, tmp_path):
    expected = ["rows        2, t from 0 to 1", "difference  0.0, the largest, at t = 0"]
    flags = shlex.split("--profile linear --peak 0.1 -T 5")
    there = LOGS[name].replace("0.08", repr(Schedule("linear", peak_value=0.1)(1, 5)))
    (tmp_path / "log.csv").write_text(there)
    assert run("compare", str(tmp_path / "log.csv"), *flags).splitlines()[:2] == expected
    assert run("compare", "-", *flags, text=there).splitlines()[:2] == expected


def test_compare_counts_the_rows_outside_of_the_budget(tmp_path):
    rows = [(t, PERSON(t, 1000)) for t in range(-2, 1001)]
    flags = shlex.split("--profile cosine --peak 3e-4 --warmup-ratio 0.05")
    path = written(tmp_path / "log.csv", rows, ["step", "lr"])
    lines = run("compare", path, *flags, "-T", "100").splitlines()
    assert lines[1] == "outside     902 of the rows, with t below 0 or above T = 100"
    lines = run("compare", written(tmp_path / "log.csv", rows[2:]), *flags, "-T", "1000")
    assert "outside" not in lines


def test_compare_with_what_pytorch_has_logged(tmp_path):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=500)
    rows = []
    for t in range(500):
        rows.append((t, scheduler.get_last_lr()[0]))
        optimizer.step()
        scheduler.step()
    path = written(tmp_path / "log.csv", rows, ["step", "lr"])
    lines = run("compare", path, *shlex.split("--profile cosine --peak 0.1 -T 500")).splitlines()
    assert 0 < float(lines[1].split()[1].rstrip(",")) < 1e-15
    lines = run("compare", path, *shlex.split("--profile linear --peak 0.1 -T 500")).splitlines()
    size = max(abs(value - Schedule("linear", peak_value=0.1)(t, 500)) for t, value in rows)
    assert float(lines[1].split()[1].rstrip(",")) == size


@pytest.fixture
def pyplot(monkeypatch):
    """matplotlib without a display."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    yield plt
    plt.close("all")


def test_plot_draws_the_values(pyplot):
    axes = plot(PERSON, 1000)
    (line,) = axes.lines
    assert [*line.get_xdata()] == [*range(1001)]
    assert [*line.get_ydata()] == curve(PERSON, 1000)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("updates", "value")
    assert axes.get_legend() is None


def test_plot_takes_axes_and_gives_them_back(pyplot):
    _, ax = pyplot.subplots()
    assert plot("cosine", 20, ax, label="a", unit="epochs", per_update=0.5) is ax
    assert plot({"preset": "demon"}, 10, ax, label="b", unit="epochs", per_update=0.5) is ax
    first, second = ax.lines
    assert [*first.get_xdata()] == [t / 2 for t in range(21)]
    assert [*second.get_ydata()] == curve(rc.demon(), 10)
    assert first.get_linestyle() != second.get_linestyle()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert ax.get_xlabel() == "epochs"


@pytest.mark.long
@pytest.mark.parametrize("T", [10**6 + 7, 10**12, 8.0, 1.0])
def test_plot_reads_long_budgets_at_some_places(pyplot, T):
    (line,) = plot(PERSON, T).lines
    x, y = [*line.get_xdata()], [*line.get_ydata()]
    assert len(x) == 4001
    assert (x[0], x[-1], y[-1]) == (0, T, 0)
    assert y == [PERSON(t, T) for t in x]


@pytest.mark.parametrize("bad", [{"T": 0}, {"T": "1"}, {"T": 10, "per_update": -1}, {"T": None}])
def test_plot_refuses(bad):
    with pytest.raises(ValueError, match="must be a finite number > 0"):
        plot(PERSON, **bad)
    with pytest.raises(ValueError, match="schedule must be one of the two schedules"):
        plot(rc.one_cycle(), 10)


@pytest.mark.parametrize("name", ["picture.png", "picture.svg", "picture.pdf"])
def test_plot_writes_a_file(name, tmp_path, pyplot):
    flags = "--profile rex --profile cosine --peak 3e-4 -T 1000 --log --tokens-per-step 100"
    assert run("plot", *shlex.split(flags), "-o", str(tmp_path / name)) == ""
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[name[-3:]]
    assert (tmp_path / name).read_bytes().startswith(start)
    (axes,) = pyplot.gcf().axes
    assert (axes.get_xlabel(), axes.get_yscale()) == ("tokens", "log")
    for line, profile in zip(axes.lines, ("rex", "cosine"), strict=True):
        assert line.get_label() == profile
        assert [*line.get_xdata()] == [100 * t for t in range(1001)]
        assert [*line.get_ydata()] == curve(Schedule(profile, peak_value=3e-4), 1000)


def dots(text):
    """Where a picture in text has dots: (column, row from below), of 2 x 4 in a character."""
    rows = [line.split("| ", 1)[1] for line in text.splitlines() if " | " in line][:-1]
    bits = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]
    return {
        (2 * column + x, 4 * (len(rows) - row) - 1 - y)
        for row, line in enumerate(rows)
        for column, character in enumerate(line)
        for bit, (x, y) in enumerate(bits)
        if 0x2800 <= ord(character) < 0x2900 and (ord(character) - 0x2800) >> bit & 1
    }


@pytest.mark.parametrize("name", ["linear", "cosine", "rex"])
def test_the_picture_in_text_is_the_curve(name, pyplot):
    text = run("plot", "--profile", name, "-T", "1000", "--peak", "2")
    found = dots(text)
    # 50 columns to T and 15 rows to the peak, in dots.
    assert {column for column, _ in found} == {*range(101)}
    for column, row in found:
        steps = [min(max(10 * (column + d), 0), 1000) for d in (-0.6, 0.6)]
        most, least = (2 * Schedule(name)(t, 1000.0) for t in steps)
        assert least - 0.05 <= 2 * row / 60 <= most + 0.05


def test_the_picture_in_text_names_what_it_shows(pyplot):
    flags = "--profile rex --profile cosine --warmup-ratio 0.1 -T 3900 --steps-per-epoch 390"
    text = run("plot", *shlex.split(flags))
    assert "(epochs)" in text
    assert re.search(r"0 +2 +4 +6 +8 +10$", text, re.MULTILINE)
    assert text.splitlines()[-2:] == ["a  rex", "b  cosine"]
    assert text.count("a") > 4 < text.count("b")
    assert max(map(len, text.splitlines())) <= 80


def test_the_picture_in_text_has_a_logarithmic_axis(pyplot):
    text = run("plot", "--profile", "geometric", "--ratio", "1e-6", "-T", "1000", "--log")
    found = dots(text)
    for column, row in found:
        assert row / 60 == pytest.approx(1 - column / 100, abs=0.04)
    assert re.search(r"^ *1e-06 \|", text, re.MULTILINE)


@pytest.mark.long
def test_colours_only_where_a_terminal_shows_them(shell):
    script = shutil.which("script")
    line = "rex plot --profile rex --profile cosine -T 100"
    assert "\x1b[" not in process(line, shell).stdout
    if script is None:
        pytest.skip("the terminal of util-linux, `script`, is not installed")
    terminal = f"script -qec {shlex.quote(line)} /dev/null"
    assert "\x1b[" in process(terminal, shell).stdout
    assert "\x1b[" not in process(terminal, shell, NO_COLOR="1").stdout
