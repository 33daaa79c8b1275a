"""Raw samples in, raw samples out: the command that separates what is still playing."""

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import click
import numpy as np
from numpy.typing import NDArray

