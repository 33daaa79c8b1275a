"""Measures how long users wait before anything happens.

Usage: python benchmarks/startup.py [--runs 11]

Each line is a new process; wall time, the median of the runs.
"""

import argparse
import subprocess
import sys
import time
from statistics import median

STARTS = {
    "python alone": ["-c", ""],
    "import duetto": ["-c", "import duetto"],
    "duetto --help": ["-m", "duetto", "--help"],
    "duetto separate --help": ["-m", "duetto", "separate", "--help"],
    "duetto models": ["-m", "duetto", "models"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=11)
    n_runs = parser.parse_args().runs
    print("| start | s |\n|---|---|")
    for name, arguments in STARTS.items():
        print(f"| {name} | {median(measure(arguments) for _ in range(n_runs)):.3f} |")


def measure(arguments: list[str]) -> float:
    """Seconds until the process has ended."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
