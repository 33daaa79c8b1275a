"""The papers' tables: their figures, their recipes, what is computed of scores and how it is written."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duetto.errors import ConfigError
from duetto.evaluation.evaluator import find_system
from duetto.training.config_io import load_config, recipe_names
from duetto.training.reproduce.spec import Row, load_paper, paper_names
from duetto.training.reproduce.tables import markdown, verdict


@pytest.mark.parametrize("name", paper_names())
def test_every_row_has_its_recipe_and_every_recipe_its_row(name: str) -> None:
    paper = load_paper(name)
    rows = {paper.recipe(row) for row in paper.rows if row.kind == "network"}
    assert rows == {recipe for recipe in recipe_names() if recipe.startswith(f"{name}/")}
    for row in paper.rows:
        if row.kind == "network":
            config = load_config(paper.recipe(row))
            assert config.name == row.name
            assert config.data.dataset == paper.dataset
            assert config.data.sample_rate == paper.sample_rate


def test_every_method_and_oracle_is_one_that_can_be_scored() -> None:
    for name in paper_names():
        for row in load_paper(name).rows:
            if row.kind in ("method", "oracle"):
                assert find_system(row.name)[0] == row.name


def test_the_figures_are_as_printed() -> None:
    huang = {row.name: row.printed for row in load_paper("huang2014").rows}
    assert sum(printed is not None for printed in huang.values()) == 19 + 3  # three again with L-BFGS
    assert huang["rnmf"] == (4.97, 7.66, 10.03)
    assert huang["drnn-2"] == huang["drnn-2-lbfgs"] == (7.27, 11.98, 9.99)
    assert huang["drnn-2-disc"] == (7.45, 13.08, 9.68)
    fan = {row.name: row.printed for row in load_paper("fan2017").rows}
    assert fan["wvpnn"] == (9.01, 13.82, 11.97)
    assert fan["dnn2"] == (8.37, 12.64, 11.82)


def test_the_headline_is_the_difference_of_printed_figures() -> None:
    """2.30 to 2.48 dB of GNSDR and 4.32 to 5.42 dB of GSIR above the conventional methods."""
    printed = {row.name: np.array(row.printed) for row in load_paper("huang2014").rows if row.printed}
    np.testing.assert_allclose((printed["drnn-2"] - printed["rnmf"])[:2], [2.30, 4.32])
    np.testing.assert_allclose((printed["drnn-2-disc"] - printed["rnmf"])[:2], [2.48, 5.42])


def test_the_networks_of_fan2017_that_should_have_as_many_weights_do() -> None:
    import torch

    from duetto.training.networks import build_network

    with torch.device("meta"):
        sizes = {
            row.name: sum(
                parameter.numel()
                for parameter in build_network(load_config(f"fan2017/{row.name}").network, 513).parameters()
            )
            for row in load_paper("fan2017").rows
        }
    assert sizes["dnn-as-cvpnn"] == pytest.approx(sizes["cvpnn"], rel=1e-3)
    assert sizes["dnn-as-wvpnn"] == pytest.approx(sizes["wvpnn"], rel=1e-3)
    assert sizes["cvpnn"] == sizes["wvpnn"] == pytest.approx(3 * sizes["dnn1"], rel=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("kind = ", "kid = "), "is not a valid table of a paper"),
        (('kind = "method"', 'kind = "magic"'), "of kind 'magic', not network, method"),
        (("[1, 2, 3]", "[1, 2]"), "is not a valid table of a paper"),
        (('better = "a"', 'better = "c"'), "a finding is about 'c', which is not a row"),
        (('name = "b"', 'name = "a"'), "two rows have the same name"),
        (("title = ", "titel = "), "is not a valid table of a paper"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    text = (
        'title = "t"\nsource = "s"\ndataset = "mir1k"\nsample_rate = 16000\n'
        '[[rows]]\nname = "a"\nlabel = "A"\nkind = "method"\nprinted = [1, 2, 3]\n'
        '[[rows]]\nname = "b"\nlabel = "B"\nkind = "network"\n'
        '[[findings]]\nsays = "so"\nbetter = "a"\nthan = ["b"]\n'
    )
    path = tmp_path / "t.toml"
    path.write_text(text, encoding="utf-8")
    assert load_paper(str(path)).recipe(Row(name="b", label="B", kind="network")) == str(tmp_path / "b.toml")
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_paper(str(path))


# --- the page

MEAN = {"mean": 7.254, "low": 6.996, "high": 7.5}
SCORES = dict.fromkeys(("gnsdr", "gsir", "gsar", "si_sdr"), MEAN)
GOLDEN: dict[str, Any] = {
    "paper": "p",
    "title": "A paper",
    "source": "its table",
    "dataset": "mir1k",
    "papers_dataset": "mir1k",
    "split": "test",
    "n_tracks": 279,
    "protocol": "P",
    "aggregation": "A",
    "interval": "I",
    "settings": ["run.precision=bf16-mixed"],
    "rows": [
        {"name": "q", "label": "Quoted", "kind": "quoted", "printed": {"gnsdr": 1, "gsir": 2, "gsar": 3}},
        {
            "name": "n",
            "label": "Network",
            "kind": "network",
            "printed": {"gnsdr": 7.27, "gsir": 11.98, "gsar": 9.99},
            "measured": {"vocals": SCORES, "accompaniment": SCORES},
            "n_parameters": 5570026,
            "optimiser": "lbfgs",
            "runs": [
                {
                    "seed": 0,
                    "n_steps": 20,
                    "best_step": 19,
                    "dev_gnsdr": 9.871,
                    "gnsdr": 7.264,
                    "seconds": 363.0,
                    "commit": None,
                },
                {
                    "seed": 1,
                    "n_steps": 20,
                    "best_step": 20,
                    "dev_gnsdr": 9.8,
                    "gnsdr": 7.244,
                    "seconds": 30.0,
                    "commit": "abc",
                },
            ],
        },
    ],
    "findings": [
        {
            "says": "it helps",
            "better": "Network",
            "than": "Quoted",
            "difference": {key: {"mean": 0.3, "low": -0.1, "high": 0.7} for key in SCORES},
            "printed": {"gnsdr": 0.34, "gsir": -1.17, "gsar": 0},
        }
    ],
}
PAGE = """\
# A paper

The paper's figures: its table. Ours: 279 tracks of mir1k test; P; A; in parentheses I. All in dB. Settings of all recipes: `run.precision=bf16-mixed`.

| row | paper: GNSDR / GSIR / GSAR | ours: GNSDR | GSIR | GSAR | accompaniment |
|---|---|---|---|---|---|
| Quoted | 1.00 / 2.00 / 3.00 | not run |  |  |  |
| Network | 7.27 / 11.98 / 9.99 | 7.25 (7.00 to 7.50) | 7.25 (7.00 to 7.50) | 7.25 (7.00 to 7.50) | 7.25 / 7.25 / 7.25 |

| statement | rows | the paper's difference: GNSDR / GSIR / GSAR | ours: GNSDR | GSIR | GSAR |
|---|---|---|---|---|---|
| it helps: not certain | Network less Quoted | +0.34 / -1.17 / +0.00 | +0.30 (-0.10 to +0.70) | +0.30 (-0.10 to +0.70) | +0.30 (-0.10 to +0.70) |

| row | recipe | weights | optimiser | seed | steps, best | dev GNSDR | GNSDR | minutes | commit |
|---|---|---|---|---|---|---|---|---|---|
| Network | `p/n` | 5,570,026 | L-BFGS | 0 | 20, 19 | 9.87 | 7.26 | 6.0 | unknown |
| Network | `p/n` | 5,570,026 | L-BFGS | 1 | 20, 20 | 9.80 | 7.24 | 0.5 | abc |
"""  # noqa: E501 (a Markdown row is one line)


def test_the_page_is_written_so() -> None:
    assert markdown(GOLDEN) == PAGE


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 0.5, "yes"), (-0.5, -0.1, "no"), (-0.1, 0.1, "not certain"), (None, None, "undetermined")],
)
def test_a_verdict_needs_certainty(low: float | None, high: float | None, said: str) -> None:
    assert verdict({"mean": 0.2, "low": low, "high": high}) == said


# --- the page of the papers

ROOT = Path(__file__).parents[2]


def papers_page() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "papers_page.py"))


@pytest.mark.parametrize("name", paper_names())
def test_the_kept_table_has_every_row_of_the_paper(name: str) -> None:
    kept = json.loads((ROOT / "docs" / "research" / "papers" / f"{name}.json").read_text(encoding="utf-8"))
    rows = {
        row["name"]: (row["label"], row["kind"], tuple(row.get("printed", {}).values()))
        for row in kept["rows"]
    }
    assert rows == {row.name: (row.label, row.kind, row.printed or ()) for row in load_paper(name).rows}


def test_what_came_out_is_told_from_the_table() -> None:
    page = papers_page()
    row, finding = GOLDEN["rows"][1], GOLDEN["findings"][0]
    rows = [{**row, "name": name, "label": name.upper()} for name in ("dnn", "rnn")]
    rows.append(
        {**row, "name": "rpca", "kind": "method", "printed": {"gnsdr": 3.15, "gsir": 4.43, "gsar": 11.09}}
    )
    rows[1]["printed"] = {**row["printed"], "gnsdr": 7.0}
    refuted = {**finding, "says": "it heals", "difference": {"gnsdr": {"mean": -1, "low": -2, "high": -0.5}}}
    headline = {
        **finding,
        "says": "DNN is better than every conventional method",
        "better": "DNN",
        "than": "RNMF",
    }
    said = page["surprises"]({"rows": rows, "findings": [refuted, headline]}, page["huang_surprises"])
    assert said[1].splitlines() == [
        "- Our networks differ from their printed GNSDR by -0.02 dB (DNN) to +0.25 dB (RNN).",
        "- RPCA differs from its printed figures by +4.10 / +2.82 / -3.84 dB (GNSDR / GSIR / GSAR).",
        "- DNN is 0.30 dB of GNSDR and 0.30 dB of GSIR above RNMF, the best conventional method here; "
        "the paper prints 0.34 and -1.17 above its best.",
        "- Of the 2 statements in its table: 0 yes, 1 not certain, 1 no. "
        "Refuted here: it heals (Network less Quoted).",
    ]  # fmt: skip
