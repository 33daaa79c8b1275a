"""Writes docs/research/papers.md from the tables that `duetto reproduce` made.

Usage: python scripts/papers_page.py

The tables are TABLE.json of each paper, kept as docs/research/papers/NAME.json. Every figure of the page comes from
them.
"""

import json
from pathlib import Path
from typing import Any

from duetto.models.baselines import METHODS
from duetto.training.config_io import load_config
from duetto.training.reproduce.tables import about, findings, scores, training, verdict

DOCS = Path(__file__).resolve().parents[1] / "docs" / "research"
PAGE = DOCS / "papers.md"
Table = dict[str, Any]

HEAD = """# The papers, row by row

This page is written by `python scripts/papers_page.py` from tables that `duetto reproduce` wrote: [huang2014.json](papers/huang2014.json) and [fan2017.json](papers/fan2017.json).
"""

NOTES = """
- A row that is "not yet" there has not been trained or scored; one that is "not run" is quoted from the paper alone.
- An interval covers the mean over such songs in 95 of 100 such test sets. For the rows of three seeds it covers other seeds as well, and is a little too narrow, since three are few; other rows have one seed.
- A statement is "not certain" if the interval of its difference contains 0.
"""

HUANG = """
### What differs from the paper, and why

- **Optimiser.** {adamw} rows are trained by AdamW on random mixtures, {steps} steps with a batch size of {batch} excerpts; the paper uses up to 400 iterations of L-BFGS on all clips and their shifted copies. The rows with L-BFGS have the clips as they are, since with the shifted copies an iteration takes thirteen times as long, and stop when {patience} iterations have gained nothing on the dev clips. {lbfgs} [L-BFGS or AdamW](training.md#l-bfgs-or-adamw) has another comparison, at equal time.
- **Budget.** {steps} steps, two to five minutes of one free core. With one training singer as the validation set, 400 steps are 0.15 to 0.2 dB worse on the other singer, and 1600 steps 0.05 dB better ([lab note](lab-notes/16-rows-of-the-papers.md)), so by validation little is left to gain; the test clips gained 0.2 to 0.7 dB from 400 to 800 steps, so they may gain a little more. What helps other singers most is data augmentation, which these rows do not have and the model `drnn` has.
- **KL divergence.** It spends half of its gradient on quiet bins and needs more steps than the rows have ([lab note](lab-notes/15-kl-divergence.md)).
- **Circular shift.** A random time in every excerpt, where the paper has a copy every 10 000 samples.
- **Checkpoint selection.** On the paper's four dev clips, but every {every} steps, where the paper scores them every 20 iterations.
- **Separation.** As `duetto separate` does it: frames are centred and cover the whole clip, where the paper drops a tail that fills no frame, and the weights of a model file have 16 bits.
- **Conventional methods.** Ours are written from their papers, not run from their authors' code; [Conventional methods](../reference/baselines.md) describes them.
"""

PICTURES = """
![NSDR of the vocals by singer](papers/huang2014-singers.png)

Singers differ more than networks do: for each of the paper's networks that is trained with the squared error, khair is the hardest singer, with a median of 2 to 3 dB, and titon the easiest one, with 9 to 11 dB.

![Loss and validation GNSDR over the steps of each run](papers/huang2014-learning.png)
"""

FAN = """
### What differs from the paper, and why

- **Songs.** iKala can no longer be downloaded, so the table is made on MIR-1K: the {n_tracks} test clips above, with amateur singers instead of professional ones. The loader and the recipes are tested on a made-up set in iKala's layout; whoever has iKala runs the same command without `--dataset` (four of its songs are then held out for checkpoint selection, since iKala has no dev clips, and training and scoring are at 16 kHz).
- **What the paper leaves open.** It states neither activation, optimiser, initial weights nor the scale of the colours. Ours: rectified units (one of their components at a time), AdamW, Glorot's bounds for two products per input, and 1 for a sine of full scale. The first and the last were chosen on the dev clips of MIR-1K after {n_steps} steps:
"""


def page() -> str:
    huang, fan = (read(name) for name in ("huang2014", "fan2017"))
    parts = [HEAD, in_a_hurry(huang, fan), NOTES]
    parts += section(huang, "duetto reproduce huang2014 --data MIR-1K")
    parts += [HUANG.strip().format(**huang_facts(huang)), *surprises(huang, huang_surprises), PICTURES]
    parts += section(fan, "duetto reproduce fan2017 --data MIR-1K --dataset mir1k")
    choices = json.loads((DOCS / "papers" / "choices.json").read_text(encoding="utf-8"))
    parts += [FAN.strip().format(n_tracks=fan["n_tracks"], n_steps=choices["n_steps"]), chosen(choices)]
    parts += surprises(fan, fan_surprises)
    return "\n\n".join(part.strip("\n") for part in parts if part).replace("\n\n\n", "\n\n") + "\n"


def read(name: str) -> Table:
    return dict(json.loads((DOCS / "papers" / f"{name}.json").read_text(encoding="utf-8")))


def in_a_hurry(table: Table, fan: Table) -> str:
    """What is reproduced and what is not, for a reader in a hurry."""
    rows = {row["name"]: row for row in table["rows"]}
    printed, drnn = rows["drnn-2-disc"]["printed"], vocals(rows["drnn"])
    conventional = [row for row in table["rows"] if row["name"] in METHODS]
    leads = [
        f"{interval(found['difference']['gnsdr'])} dB of GNSDR and {interval(found['difference']['gsir'])} dB "
        f"of GSIR over {found['than']}"
        for found in table["findings"]
        if found["better"] == rows["drnn"]["label"]
        and found["than"] in [row["label"] for row in conventional]
    ]
    inside = (
        "lies in" if drnn["gnsdr"]["low"] <= printed["gnsdr"] <= drnn["gnsdr"]["high"] else "is outside of"
    )
    best = max(
        (row for row in conventional if "printed" in row), key=lambda row: float(row["printed"]["gnsdr"])
    )
    return f"""In short, on all {table["n_tracks"]} test clips, vocals:

- **The network of Huang et al. (2014)**, DRNN-2 with discrimination, trained on the papers' 171 clips (the model `drnn`), has a GNSDR of {interval(drnn["gnsdr"])} dB, a GSIR of {interval(drnn["gsir"])} and a GSAR of {interval(drnn["gsar"])}. The paper prints {figures(printed)}; its GNSDR {inside} our interval. Ours has other training than the paper's: AdamW and data augmentation instead of L-BFGS and shifted copies.
- **Its lead over conventional methods** is {", and ".join(leads)}. The best conventional method in the paper is {best["label"]}, for which it prints {figures(best["printed"])}; ours has {means(best)}.
- **RPCA**, in our implementation, has {means(rows["rpca"])}; the paper prints {figures(rows["rpca"]["printed"])}.
{convolutional(rows["mir1k"])}
- **The paper's other rows**, networks that are trained on the 171 clips without further data augmentation, {differences(Measured(table))} {" ".join(counted(table))}
- **The vector product networks of Fan et al. (2017)** are trained and scored on MIR-1K, since iKala can no longer be downloaded. {" ".join(counted(fan))}"""


def convolutional(row: Table) -> str:
    measured = (
        f"{interval(vocals(row)['gnsdr'])} dB"
        if "measured" in row
        else "the score on its [card](../reference/models.md#mir1k)"
    )
    return f"- **A convolutional network on the same 171 clips** (the model `mir1k`) has {measured}."


def figures(printed: Table) -> str:
    return f"{printed['gnsdr']:.2f} / {printed['gsir']:.2f} / {printed['gsar']:.2f}"


def means(row: Table) -> str:
    return figures({metric: vocals(row)[metric]["mean"] for metric in ("gnsdr", "gsir", "gsar")})


def vocals(row: Table) -> Table:
    return dict(row["measured"]["vocals"])


def interval(mean: Table) -> str:
    return f"{mean['mean']:.2f} ({mean['low']:.2f} to {mean['high']:.2f})"


def section(table: Table, command: str) -> list[str]:
    """A paper's tables under the command that made them."""
    return [
        f"## {table['title']}",
        f"    {command}{''.join(f' --set {setting}' for setting in table['settings'])}",
        about(table),
        scores(table),
        findings(table),
        training(table),
    ]


def huang_facts(table: Table) -> dict[str, Any]:
    rows = {row["name"]: row for row in table["rows"] if row["kind"] == "network"}
    dnn, slow = load_config("huang2014/dnn"), load_config("huang2014/dnn-lbfgs")
    n_lbfgs = sum(name.endswith("-lbfgs") for name in rows)
    return {
        "adamw": len(rows) - n_lbfgs,
        "lbfgs": " ".join(
            compared_optimisers(row, rows[name.removesuffix("-lbfgs")], slow.optimiser.iterations)
            for name, row in rows.items()
            if name.endswith("-lbfgs") and "measured" in row
        ),
        "steps": dnn.run.n_steps,
        "every": dnn.run.evaluate_every,
        "batch": dnn.optimiser.batch_size,
        "patience": slow.run.patience * slow.optimiser.iterations,
    }


def compared_optimisers(lbfgs: Table, adamw: Table, n_iterations: int) -> str:
    """A network by L-BFGS beside the same network by AdamW."""
    run, other = lbfgs["runs"][0], adamw["runs"][0]
    return (
        f"{lbfgs['label']}, is best after {run['best_step'] * n_iterations} of "
        f"{run['n_steps'] * n_iterations} iterations ({run['seconds'] / 60:.0f} minutes), with a dev GNSDR of "
        f"{run['dev_gnsdr']:.2f} dB and a test GNSDR of {run['gnsdr']:.2f} dB; AdamW, with the "
        f"same seed, has {other['dev_gnsdr']:.2f} and {other['gnsdr']:.2f} dB after {other['seconds'] / 60:.0f} minutes."
    )


def chosen(choices: Table) -> str:
    lines = [
        f"      {choices['command']} --set SETTING",
        "",
        "| row | settings | dev GNSDR, dB |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{trial['row']}` | `{trial['settings']}` | {trial['dev_gnsdr']:.2f} |"
        for trial in choices["rows"]
    ]
    return "\n".join(lines)


class Measured:
    """A table's figures by row, where there are some."""

    def __init__(self, table: Table) -> None:
        self.rows = {row["name"]: row for row in table["rows"] if "measured" in row}
        self.table = table

    def gap(self, name: str, metric: str = "gnsdr") -> float:
        """Ours less the paper's, of the vocals."""
        row = self.rows[name]
        return float(row["measured"]["vocals"][metric]["mean"] - row["printed"][metric])


def surprises(table: Table, say: Any) -> list[str]:
    said = say(Measured(table))
    return ["### What came out", "\n".join(f"- {line}" for line in said)] if said else []


def differences(measured: Measured) -> str:
    """How far our GNSDR of the paper's networks is from the printed ones."""
    networks = [name for name, row in measured.rows.items() if row["kind"] == "network" and "printed" in row]
    gaps = sorted(networks, key=measured.gap)
    low, high = (
        f"{measured.gap(name):+.2f} dB ({measured.rows[name]['label']})" for name in (gaps[0], gaps[-1])
    )
    return f"differ from their printed GNSDR by {low} to {high}."


def huang_surprises(measured: Measured) -> list[str]:
    said = [f"Our networks {differences(measured)}"]
    if "rpca" in measured.rows:
        gaps_ = " / ".join(f"{measured.gap('rpca', metric):+.2f}" for metric in ("gnsdr", "gsir", "gsar"))
        said.append(f"RPCA differs from its printed figures by {gaps_} dB (GNSDR / GSIR / GSAR).")
    said += [headline(found) for found in measured.table["findings"] if "every conventional" in found["says"]]
    return said + counted(measured.table)


def headline(found: Table) -> str:
    gnsdr, gsir = found["difference"]["gnsdr"], found["difference"]["gsir"]
    said = (
        f"{found['better']} is {gnsdr['mean']:.2f} dB of GNSDR and {gsir['mean']:.2f} dB of GSIR above "
        f"{found['than']}, the best conventional method here"
    )
    if printed := found.get("printed"):
        said += f"; the paper prints {printed['gnsdr']:.2f} and {printed['gsir']:.2f} above its best"
    return said + "."


def fan_surprises(measured: Measured) -> list[str]:
    said = []
    if {"cvpnn", "dnn2"} <= measured.rows.keys():
        small, large = (measured.rows[name]["n_parameters"] for name in ("cvpnn", "dnn2"))
        said.append(
            f"The paper's rows do not have as many weights: 512 vectors per layer make {small:,} numbers, "
            f"1536 units {large:,}. The two rows below the paper's have as many as the vector networks."
        )
    return said + counted(measured.table)


def counted(table: Table) -> list[str]:
    """How many of the paper's statements came out."""
    verdicts = [verdict(found["difference"]["gnsdr"]) for found in table["findings"]]
    if not verdicts:
        return []
    counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in ("yes", "not certain", "no"))
    said = f"Of the {len(verdicts)} statements in its table: {counts}."
    contradicted = [found for found, kind in zip(table["findings"], verdicts, strict=True) if kind == "no"]
    printed_too = [found for found in contradicted if found.get("printed", {}).get("gnsdr", 1.0) < 0]
    if refuted := [found for found in contradicted if found not in printed_too]:
        said += f" Refuted here: {statements(refuted)}."
    if printed_too:
        said += f" Contradicted by the paper's own figures as well: {statements(printed_too)}."
    return [said]


def statements(findings: list[Table]) -> str:
    return "; ".join(f"{found['says']} ({found['better']} less {found['than']})" for found in findings)


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
