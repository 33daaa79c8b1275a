"""Reads configurations: a recipe (TOML) with its overrides, or the resolved JSON of a run.

A recipe holds only what differs from the defaults of `config`, each with its reason, or from another recipe,
its `base`, of which it replaces whole tables. The resolved configuration is written into the folder of the
run and into the metadata of the model.
"""

import difflib
import json
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from duetto.errors import ConfigError
from duetto.training.config import NETWORKS, Config, kind_of


def recipe_names() -> list[str]:
    """Names of the recipes that ship, such as "drnn" and "huang2014/dnn"."""
    root = Path(str(resources.files("duetto.training"))) / "recipes"
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.glob("**/*.toml"))


def load_config(recipe: str, overrides: Sequence[str] = ()) -> Config:
    """Resolve a recipe and its overrides.

    Args:
        recipe: the name of a recipe that ships, or the path of a TOML file.
        overrides: settings "table.key=value", the value in TOML's notation (a bare word is a string).

    Returns:
        The whole configuration.

    Raises:
        ConfigError: no such recipe, an unknown key (the nearest valid one is named) or a bad value.
    """
    values = _read_recipe(recipe)
    for override in overrides:
        _apply(values, override)
    return parse_config(values)


def _read_recipe(recipe: str) -> dict[str, Any]:
    """The values of a recipe and, where it has none of its own, the tables of its base."""
    shipped = resources.files("duetto.training") / "recipes" / f"{recipe}.toml"
    is_file = recipe.endswith(".toml") and Path(recipe).is_file()
    if not is_file and recipe not in recipe_names():
        near = difflib.get_close_matches(recipe, recipe_names(), n=1)
        meant = f"did you mean {near[0]!r}? Give" if near else "give"
        raise ConfigError(
            f"no recipe {recipe!r}: {meant} the path of a .toml file or one of {', '.join(recipe_names())}"
        )
    try:
        values = tomllib.loads((Path(recipe) if is_file else shipped).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"recipe {recipe!r} cannot be read as TOML: {error}") from error
    base = values.pop("base", None)
    return values if base is None else _read_recipe(str(base)) | values


def parse_config(values: dict[str, Any]) -> Config:
    """Validate nested tables of settings, as read from TOML or JSON.

    Raises:
        ConfigError: an unknown key or a bad value.
    """
    _refuse_unknown(values, Config, "")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part not in NETWORKS)
        raise ConfigError((f"{key} = {first['input']!r}: " if key else "") + first["msg"]) from error


def read_config(path: Path) -> Config:
    """Read the resolved configuration of a run.

    Raises:
        ConfigError: a missing file, or one that this version did not write.
    """
    return parse_config(read_json(path, "give the folder of a training run"))


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """Read a JSON object from a file; `advice` ends the message of an error.

    Raises:
        ConfigError: a missing file, or one without a JSON object.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {path}: {reason}; {advice}") from error


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override!r}: write table.key=value, such as optimiser.learning_rate=3e-4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.strip().split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override!r}: {table} is a setting, not a table of settings")
    values[last] = value


def _refuse_unknown(values: dict[str, Any], table: type[BaseModel], prefix: str) -> None:
    for key, value in values.items():
        if key not in table.model_fields:
            near = difflib.get_close_matches(key, table.model_fields, n=1, cutoff=0)[0]
            raise ConfigError(
                f"unknown key {prefix}{key}: did you mean {prefix}{near}? "
                f"Valid here: {', '.join(table.model_fields)}"
            )
        if isinstance(value, dict) and (inner := _table_of(table.model_fields[key].annotation, value)):
            _refuse_unknown(value, inner, f"{prefix}{key}.")


def _table_of(annotation: Any, value: dict[str, Any]) -> type[BaseModel] | None:
    """The table of a setting, if it is one; the network's depends on its kind, and a scene may be None."""
    if annotation == Config.model_fields["network"].annotation:
        return NETWORKS.get(kind_of(value))
    kinds = (annotation, *get_args(annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
