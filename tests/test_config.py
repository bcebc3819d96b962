"""Reading a run's settings: values, round trips, errors."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from factorlab.config import (
    DataSettings,
    ModelSettings,
    RunConfig,
    demo_config,
    load_config,
)
from factorlab.errors import ConfigError
from factorlab.toml_settings import expand
from factorlab.training.settings import LOSS_NAMES, MODEL_NAMES

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture
def write(tmp_path):
    """Write a settings file and return its path."""

    def write(text: str) -> Path:
        path = tmp_path / "run.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_an_empty_file_gives_the_defaults(write):
    assert load_config(write("")) == RunConfig()


def test_values_arrive_with_their_types(write):
    config = load_config(
        write(
            """
            [data]
            store = "a.store"
            [training]
            seeds = [3, 1]
            learning_rate = 1
            expanding = true
            [[models]]
            model = "GRU"
            loss = "mse"
            [evaluation]
            start = 2020-01-06
            pools = ["csi300"]
            groups = { csi300 = 4 }
            """
        )
    )
    assert config.data == DataSettings(store=Path("a.store"), source=None)
    assert config.training.seeds == (3, 1)
    assert config.training.learning_rate == 1.0
    assert isinstance(config.training.learning_rate, float)
    assert config.training.expanding is True
    assert [(spec.model, spec.loss) for spec in config.models] == [("GRU", "mse")]
    assert config.models[0].name == "GRU-MSE"
    assert config.evaluation.start == "2020-01-06"
    assert config.evaluation.pools == ("csi300",)
    assert config.evaluation.groups == {"csi300": 4}


def test_a_model_may_have_options_and_a_training_of_its_own(write):
    own = "{ learning_rate = 1, average = 0.99 }"
    text = f"""
[training]
learning_rate = 0.001
[[models]]
model = "DecompGRU"
loss = "mse"
name = "zero padded"
options = {{ padding = "zero" }}
training = {own}
"""
    config = load_config(write(text))
    (spec,) = config.models
    assert (spec.name, dict(spec.options)) == ("zero padded", {"padding": "zero"})
    used = spec.own(config.training)
    assert (used.learning_rate, used.average) == (1, 0.99)
    assert used.patience == config.training.patience
    assert RunConfig.from_dict(config.to_dict()) == config
    for wrong, said in (
        ("{ seeds = 3 }", "`models.training` must hold only .*; got 'seeds'"),
        ("{ learning_rat = 3 }", "got 'learning_rat'; did you mean 'learning_rate'"),
        ("{ max_epochs = 0.5 }", "`models.training.max_epochs` must be of type int; got 0.5"),
        ("{ average = 1 }", "`training.average` must lie in 0..1; got 1"),
        ("{ average = [1] }", "must be true, false, a number or a string"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_config(write(text.replace(own, wrong)))
    with pytest.raises(ConfigError, match="`models.name` must be usable as a file name"):
        load_config(write(text.replace("zero padded", "a/b")))


def test_one_window_and_one_universe_hold_for_the_whole_run(write):
    config = load_config(write("[universe]\nmin_listed_sessions = 120\n[features]\nlook_back = 60"))
    assert config.universe.look_back == 60
    assert config.evaluation.universe == config.universe
    assert config.evaluation.universe.min_listed_sessions == 120


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_shipped_files_load_and_survive_a_round_trip(path):
    config = load_config(path)
    again = RunConfig.from_dict(config.to_dict())
    assert again == config
    assert again.hash() == config.hash()


def test_real_quick_asks_for_the_four_pairs():
    config = load_config(CONFIGS / "real_quick.toml")
    assert {spec.name for spec in config.models} == {
        "GRU-IC",
        "GRU-MSE",
        "DecompGRU-IC",
        "DecompGRU-MSE",
    }
    assert len(config.training.seeds) == 1
    assert (config.evaluation.start, config.evaluation.end) == ("2019-01-01", "2025-02-28")


def test_the_demo_has_the_settings_of_its_file():
    config = load_config(CONFIGS / "demo.toml")
    data = DataSettings(store=Path("a"), source="b")
    assert dataclasses.replace(config, data=data) == demo_config(source=Path("b"), store=Path("a"))


def test_the_hash_leaves_out_where_the_data_are():
    moved = dataclasses.replace(RunConfig(), data=DataSettings(store=Path("b.store")))
    assert moved != RunConfig()
    assert moved.hash() == RunConfig().hash()


def test_every_other_setting_moves_the_hash():
    base = RunConfig()
    seen = {base.hash()}
    changes = {
        "labels": dataclasses.replace(base.labels, horizon=5),
        "training": dataclasses.replace(base.training, day_stride=2),
        "evaluation": dataclasses.replace(base.evaluation, min_pairs=30),
        "report": dataclasses.replace(base.report, title="b"),
        "models": (ModelSettings("GRU", "ic"),),
        "baselines": (),
    }
    for section, value in changes.items():
        seen.add(dataclasses.replace(base, **{section: value}).hash())
    assert len(seen) == len(changes) + 1


def test_the_hash_does_not_depend_on_order_or_on_how_a_number_is_written(write):
    one = load_config(write("[labels]\nhorizon = 5\nclip_mad = 3.0\n[report]\ntitle = 'x'")).hash()
    two = load_config(write("[report]\ntitle = 'x'\n[labels]\nclip_mad = 3\nhorizon = 5")).hash()
    assert one == two
    settings = dataclasses.replace(RunConfig().labels, clip_mad=3, horizon=5)
    report = dataclasses.replace(RunConfig().report, title="x")
    assert dataclasses.replace(RunConfig(), labels=settings, report=report).hash() == one


def test_the_hash_is_the_same_in_another_process():
    code = "from factorlab.config import RunConfig; print(RunConfig().hash())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == RunConfig().hash()


def test_reading_settings_loads_no_torch():
    code = "import sys, factorlab.config; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_the_names_of_models_are_those_that_can_be_built():
    from factorlab.models import MODELS

    assert tuple(MODELS) == MODEL_NAMES
    assert LOSS_NAMES == ("ic", "mse")


@pytest.mark.parametrize("name", ["reversal_20", "momentum_25_5", "random_0"])
def test_baselines_that_a_file_may_name_can_be_made(name, sim_store):
    from factorlab.evaluation.baselines import baseline

    config = dataclasses.replace(RunConfig(), baselines=(name,))
    assert baseline(config.baselines[0], sim_store).name == name


def test_paths_expand_variables_and_home(monkeypatch):
    monkeypatch.setenv("FACTORLAB_TEST_FOLDER", "given")
    monkeypatch.setenv("HOME", "/home/analyst")
    monkeypatch.setenv("USERPROFILE", "/home/analyst")
    assert expand("${FACTORLAB_TEST_FOLDER}/a", "k") == Path("given/a")
    assert expand("${FACTORLAB_TEST_FOLDER:-other}", "k") == Path("given")
    monkeypatch.delenv("FACTORLAB_TEST_FOLDER")
    assert expand("${FACTORLAB_TEST_FOLDER:-../other}/a", "k") == Path("../other/a")
    assert expand("~/a", "k") == Path("/home/analyst/a")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param(
            "[training]\nmax_epoch = 3",
            ["`training.max_epoch`", "did you mean 'max_epochs'?"],
            id="unknown key",
        ),
        pytest.param(
            "[trainig]\nmax_epochs = 3",
            ["`trainig`", "did you mean 'training'?"],
            id="unknown section",
        ),
        pytest.param(
            "[evaluation]\nhorizon = [10]",
            ["`evaluation.horizon`", "did you mean 'horizons'?"],
            id="key that also stands elsewhere",
        ),
        pytest.param(
            "[training]\nmin_listed_session = 3",
            ["`training.min_listed_session`", "did you mean 'universe.min_listed_sessions'?"],
            id="key of another section",
        ),
        pytest.param(
            "[data]\nstore = 'a'\nbaselines = ['random_0']",
            ["`data.baselines`", "move it above the first section"],
            id="key of the top below a section",
        ),
        pytest.param(
            "[report]\nqqqqqqq = 3", ["`report.qqqqqqq`", "the keys are title"], id="like nothing"
        ),
        pytest.param(
            "[[models]]\nmodel = 'GRU'\nlos = 'ic'",
            ["`models[0].los`", "did you mean 'loss'?"],
            id="unknown key in a list",
        ),
        pytest.param(
            "[training]\nmax_epochs = 'ten'",
            ["`training.max_epochs` must be an integer; got 'ten'"],
            id="text for integer",
        ),
        pytest.param(
            "[training]\nmax_epochs = true",
            ["`training.max_epochs` must be an integer; got True"],
            id="flag for integer",
        ),
        pytest.param(
            "[training]\nmax_epochs = 2.0",
            ["`training.max_epochs` must be an integer; got 2.0"],
            id="float for integer",
        ),
        pytest.param(
            "[training]\nlearning_rate = nan",
            ["`training.learning_rate` must be a finite number; got nan"],
            id="nan",
        ),
        pytest.param(
            "[training]\nexpanding = 1",
            ["`training.expanding` must be true or false; got 1"],
            id="integer for flag",
        ),
        pytest.param(
            "[training]\nseeds = 42", ["`training.seeds` must be a list; got 42"], id="no list"
        ),
        pytest.param(
            "[training]\nseeds = [1, 'x']",
            ["`training.seeds[1]` must be an integer; got 'x'"],
            id="item of a list",
        ),
        pytest.param(
            "[evaluation.groups]\ncsi300 = 'five'",
            ["`evaluation.groups.csi300` must be an integer; got 'five'"],
            id="item of a table",
        ),
        pytest.param("training = 3", ["`training` must be a table"], id="no table"),
        pytest.param("[data]\nstore = 3", ["`data.store` must be a string; got 3"], id="path"),
        pytest.param("[data]\nstore = ''", ["`data.store` must be a path"], id="empty path"),
        pytest.param(
            "[data]\nsource = '${FACTORLAB_NOT_SET}/x'",
            ["`data.source`", "FACTORLAB_NOT_SET not set"],
            id="variable not set",
        ),
        pytest.param(
            "[training]\npatience = 0",
            ["`training.patience` must be at least 1; got 0"],
            id="rule of a section",
        ),
        pytest.param(
            "[[models]]\nmodel = 'DecompGR'",
            ["`models.model`", "got 'DecompGR'; did you mean 'DecompGRU'?"],
            id="unknown model",
        ),
        pytest.param(
            "[[models]]\nmodel = 'GRU'\n[[models]]\nmodel = 'GRU'",
            ["`models` and `baselines` must be one or more different factors"],
            id="model twice",
        ),
        pytest.param(
            "[ensembles]\nboth = ['GRU-IC', 'GRU-MS']",
            ["`ensembles.both` must average factors of the run", "did you mean 'GRU-MSE'?"],
            id="unknown member",
        ),
        pytest.param(
            "[ensembles]\nreversal_20 = ['GRU-IC', 'GRU-MSE']",
            ["`ensembles` must give a new name to two or more different factors", "'reversal_20'"],
            id="ensemble of a known name",
        ),
        pytest.param(
            "[ensembles]\none = ['GRU-IC']",
            ["two or more different factors; got 'one'"],
            id="ensemble of one",
        ),
        pytest.param(
            "models = []\nbaselines = []",
            ["`models` and `baselines` must be one or more different factors; got []"],
            id="nothing to run",
        ),
        pytest.param(
            "[universe]\nlook_back = 100\n[features]\nlook_back = 60",
            ["`universe.look_back` must be left out or equal that of [features] 60; got 100"],
            id="two windows",
        ),
        pytest.param(
            "[evaluation.universe]\nmin_listed_sessions = 3",
            ["`evaluation.universe` must be left out or equal that of [universe]"],
            id="two universes",
        ),
        pytest.param(
            "baselines = ['reversal']",
            ["`baselines` must be reversal_SESSIONS", "got 'reversal'"],
            id="unknown baseline",
        ),
        pytest.param("[training]\nseeds 1\n", ["line 2"], id="not TOML"),
        pytest.param("[training]\n[training]", ["line 2"], id="section twice"),
    ],
)
def test_errors_name_the_file_the_key_the_rule_and_the_value(write, text, parts):
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"`config` must be a readable file; got '.*no.toml'"):
        load_config(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="`config` must be a readable file"):
        load_config(tmp_path)


def test_a_file_in_another_encoding(tmp_path):
    path = tmp_path / "gbk.toml"
    path.write_bytes("[report]\ntitle = '因子'".encode("gbk"))
    with pytest.raises(ConfigError, match="must be UTF-8 text; got byte 0xd2 at position 18"):
        load_config(path)
    path.write_text("[report]\ntitle = '因子'", encoding="utf-8-sig")
    assert load_config(path).report.title == "因子"
