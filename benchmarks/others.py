"""Times `duetto separate` beside HTDemucs and Open-Unmix: the whole job of each, in a process of its own.

Usage: python benchmarks/others.py [--seconds 240] [--model drnn] [--runs 3]

Each starts, reads one 44.1 kHz 16-bit stereo FLAC file, separates it on all cores and writes vocals and
accompaniment as FLAC. The others' weights are untrained, since speed does not depend on them; they load no
checkpoint. HTDemucs has the arguments of the released "htdemucs" and goes through demucs.apply.apply_model
with split=True, overlap=0.25, shifts=0 and its segments of 7.8 s; its accompaniment is the sum of the other
stems. Open-Unmix is the vocals network of "umxhq" in openunmix.model.Separator, which takes the song as a
whole, with the residual as accompaniment and one step of the Wiener filter. The systems take turns; times are
medians of the runs, memory their maximum. They need the extra `train` and, with PyTorch left as it is:

    pip install --no-deps demucs==4.1.0 openunmix==1.3.0 einops==0.8.2 julius==0.2.8 tqdm
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from duetto.models.registry import DEFAULT_MODEL
from separate import Run, make_song, measure, separate_command

ARCHITECTURES = str(Path(__file__).parent / "architectures.py")
INSTALL = __doc__.splitlines()[-1].strip()
OTHERS = {"HTDemucs": "htdemucs", "Open-Unmix": "open-unmix"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.flac"
        make_song(song, options.seconds / 60)
        commands = {f"Duetto, {options.model}": separate_command(song, options.model)}
        missing = []
        for name, architecture in OTHERS.items():
            command = [sys.executable, ARCHITECTURES, architecture]
            counted = subprocess.run(command, capture_output=True, text=True)
            if counted.returncode:
                missing.append(f"| {name}: {counted.stderr.splitlines()[-1]}: {INSTALL} |")
            else:
                commands[f"{name}, {counted.stdout.strip()} parameters"] = [*command, str(song), folder]
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                runs[name].append(measure(command))
    print_table(runs, options.seconds)
    for row in missing:
        print(row)


def print_table(runs: dict[str, list[Run]], seconds: float) -> None:
    """The first system is ours."""
    print("| system | wall, s | CPU, s | x real time | peak memory, MB | time / ours | memory / ours |")
    print("|---|---|---|---|---|---|---|")
    ours = None
    for name, measured in runs.items():
        wall, cpu = median(run.wall for run in measured), median(run.cpu for run in measured)
        memory = max(run.memory for run in measured)
        ours = ours or (wall, memory)
        ratios = f"{wall / ours[0]:.1f} | {memory / ours[1]:.1f}"
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {seconds / wall:.3g} | {memory:.0f} | {ratios} |")


if __name__ == "__main__":
    main()
