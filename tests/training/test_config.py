"""Recipes: what they resolve to, and what is said of their mistakes."""

import json
from pathlib import Path

import pytest

from duetto.errors import ConfigError
from duetto.training.config import Config, SceneConfig, VPNNConfig
from duetto.training.config_io import load_config, parse_config, read_config, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_resolves(name: str) -> None:
    config = load_config(name)
    assert config.name == name.rpartition("/")[2]
    assert config.summary
    assert parse_config(json.loads(config.model_dump_json())) == config


def test_the_defaults_are_the_papers() -> None:
    config = Config()
    assert (config.stft.n_fft, config.stft.hop_length, config.stft.window) == (1024, 512, "sine")
    assert (config.network.n_layers, config.network.hidden_size, config.network.context) == (3, 1000, 3)
    assert config.network.recurrent_layers == (2,)
    assert (config.network.joint_mask, config.loss.kind) == ("absolute", "mse")
    assert (config.loss.discrimination, config.mixing.n_frames) == (0.05, 100)


def test_a_recipe_changes_what_it_names_and_overrides_come_last(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('name = "mine"\n[optimiser]\nbatch_size = 8\nlearning_rate = 0.5\n', encoding="utf-8")
    config = load_config(str(recipe), ["optimiser.learning_rate=3e-4"])
    assert config.name == "mine"
    assert config.optimiser.batch_size == 8
    assert config.optimiser.learning_rate == 3e-4
    assert config.optimiser.weight_decay == Config().optimiser.weight_decay


def test_a_recipe_replaces_whole_tables_of_its_base(tmp_path: Path) -> None:
    recipe, further = tmp_path / "mine.toml", tmp_path / "further.toml"
    recipe.write_text('base = "drnn"\nname = "mine"\n[optimiser]\nbatch_size = 8\n', encoding="utf-8")
    further.write_text(f"base = {str(recipe)!r}\n[run]\nseed = 9\n", encoding="utf-8")
    base, config = load_config("drnn"), load_config(str(further), ["stft.window=hann"])
    assert config.name == "mine"
    assert (config.network, config.mixing) == (base.network, base.mixing)
    assert (base.stft.window, config.stft.window) == ("sine", "hann")
    assert config.optimiser == Config().optimiser.model_copy(update={"batch_size": 8})
    assert config.run == Config().run.model_copy(update={"seed": 9})


def test_a_base_that_is_no_recipe_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('base = "duetta"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="no recipe 'duetta': did you mean 'duetto'"):
        load_config(str(recipe))


def test_fine_tuning_is_the_training_of_the_default_model_on_other_songs() -> None:
    base, config = load_config("duetto"), load_config("fine-tune")
    same = ("stft", "network", "loss", "mixing", "optimiser", "n_passes")
    assert [getattr(config, table) for table in same] == [getattr(base, table) for table in same]
    assert config.run.init_from == "duetto"
    assert config.data.licence == base.data.licence  # that of the initial weights
    assert (config.data.dataset, config.data.store, config.data.solo_vocals) == ("songs", "", ())


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("optimiser.learning_rate=3e-4", "learning_rate", 3e-4),
        ("optimiser.batch_size = 7", "batch_size", 7),
        ("optimiser.kind=lbfgs", "kind", "lbfgs"),
        ('optimiser.kind="lbfgs"', "kind", "lbfgs"),
        ("network.bias=false", "bias", False),
        ("network.recurrent_layers=[1, 3]", "recurrent_layers", (1, 3)),
        ("network.recurrent_layers=[]", "recurrent_layers", ()),
        ("run.precision=bf16-mixed", "precision", "bf16-mixed"),
    ],
)
def test_set_reads_values_as_toml_does_and_bare_words_as_text(override: str, key: str, value: object) -> None:
    table = getattr(load_config("drnn", [override]), override.partition(".")[0])
    found = getattr(table, key)
    assert found == value
    assert type(found) is type(value)


def test_a_network_has_the_settings_of_its_kind() -> None:
    network = parse_config({"network": {"kind": "vpnn", "vectors": "colour"}}).network
    assert network == VPNNConfig(vectors="colour")
    for settings in ({"kind": "vpnn", "context": 3}, {"kind": "drnn", "vectors": "colour"}):
        with pytest.raises(ConfigError, match="unknown key network"):
            parse_config({"network": settings})


def test_one_source_alone_is_not_told_from_another() -> None:
    alone = {"n_outputs": 1, "joint_mask": "none"}
    with pytest.raises(ConfigError, match=r"n_outputs=1 needs loss\.discrimination=0"):
        parse_config({"network": alone})
    assert parse_config({"network": alone, "loss": {"discrimination": 0}}).network.look_ahead == 1


def test_a_high_pass_that_passes_nothing_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"vocals_high_pass=8000\.0 must lie below half of sample_rate=16000"
    ):
        parse_config({"data": {"vocals_high_pass": 8000}})


def test_a_run_of_an_earlier_version_is_read_as_it_was_meant() -> None:
    """A configuration without the settings that came later equals one that has their defaults."""
    values = Config().model_dump(mode="json")
    for later in ("kind", "n_outputs"):
        del values["network"][later]
    assert parse_config(values) == Config()


def test_set_changes_top_level_keys() -> None:
    assert load_config("drnn", ["name=other"]).name == "other"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.kind=adamw", "unknown key optimizer: did you mean optimiser?"),
        ("optimiser.learningrate=1", "optimiser.learningrate: did you mean optimiser.learning_rate?"),
        ("network.hiden_size=1", "did you mean network.hidden_size?"),
        ("run.steps=1", "did you mean run.n_steps?"),
        ("=1", "unknown key"),
        ("optimiser.kind.x=1", "optimiser.kind = {'x': 1}"),
        ("optimiser=5", "optimiser = 5"),
        ("optimiser.kind", "write table.key=value"),
        ("optimiser.kind=sgd", "optimiser.kind = 'sgd': Input should be 'adamw', 'lbfgs' or 'muon'"),
        ("optimiser.batch_size=0", "optimiser.batch_size = 0: Input should be greater than 0"),
        ("optimiser.batch_size=a lot", "optimiser.batch_size = 'a lot'"),
        ("network.context=2", "network.context = 2: Input should be 1, 3 or 5"),
        ("network.recurrent_layers=[4]", "recurrent_layers must lie in 1 to n_layers=3"),
        ("loss.discrimination=1", "loss.discrimination = 1"),
        ("network.n_outputs=1", 'n_outputs=1 needs joint_mask="none"'),
        ("network.kind=cnn", "kind should be one of drnn, vpnn, unet"),
        ("mixing.scene.echos=1", "unknown key mixing.scene.echos: did you mean mixing.scene.echo?"),
        ("mixing.scene.echo=1.5", "mixing.scene.echo = 1.5"),
        ("mixing.scene=true", "mixing.scene = True"),
        ("mixing.no_vocals=-0.1", "mixing.no_vocals = -0.1"),
        ("optimiser.ema_decay=1", "optimiser.ema_decay = 1"),
        ("stft.n_fft=1023", "n_fft must be even"),
        ("stft.hop_length=600", "hop_length at least 1 and at most half of n_fft"),
        ("run.n_steps=nan", "run.n_steps = nan"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("drnn", [override])
    assert said in str(caught.value)


def test_coding_is_for_the_rates_of_the_codec() -> None:
    coded = {"mixing": {"scene": {"lossy_coding": 0.1}}}
    for rate in (8000, 16000, 48000):
        parse_config({"data": {"sample_rate": rate}, **coded})
    held = {"data": {"sample_rate": 44100}}
    with pytest.raises(ConfigError, match=r"not for data\.sample_rate=44100.*set .*lossy_coding=0"):
        parse_config({**held, **coded})
    for scene in ({}, None):
        parse_config({**held, "mixing": {"scene": scene}})


def test_a_scene_begins_with_its_table_be_it_empty() -> None:
    assert parse_config({"mixing": {}}).mixing.scene is None
    assert parse_config({"mixing": {"scene": {}}}).mixing.scene == SceneConfig()
    changed = load_config("huang2014/dnn", ["mixing.scene.reverberation=0.25"]).mixing.scene
    assert changed == SceneConfig(reverberation=0.25)


def test_an_override_below_a_value_of_the_recipe_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('[optimiser]\nkind = "lbfgs"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="kind is a setting, not a table"):
        load_config(str(recipe), ["optimiser.kind.x=1"])


def test_an_unknown_recipe_lists_those_there_are_and_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no recipe 'finetune': did you mean 'fine-tune'") as caught:
        load_config("finetune")
    assert all(name in str(caught.value) for name in recipe_names())
    with pytest.raises(ConfigError, match="no recipe 'songs': give the path"):
        load_config("songs")


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe"])
def test_a_recipe_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.toml").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load_config(str(tmp_path / "odd.toml"))


@pytest.mark.parametrize("content", [None, "", "{", '{"nmae": 1}'])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_config(path)
