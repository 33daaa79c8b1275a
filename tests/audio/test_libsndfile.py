"""A signal that arrives while libsndfile calls back is delivered once, after the call, and prints nothing."""

import io
import signal

import numpy as np
import pytest
import soundfile

from duetto.audio.libsndfile import Sequential
from helpers.signals import noise


class _Interrupting(io.BytesIO):
    """A file that gets SIGTERM the first time that libsndfile reads it or writes to it."""

    interrupts = True

    def _interrupt(self) -> None:
        if self.interrupts:
            self.interrupts = False
            signal.raise_signal(signal.SIGTERM)

    def readinto(self, buffer):
        self._interrupt()
        return super().readinto(buffer)

    def write(self, data):
        self._interrupt()
        return super().write(data)


class Terminated(BaseException):
    pass


@pytest.fixture(autouse=True)
def handler():
    def terminate(*_):
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, before)


def file_of(container: str) -> _Interrupting:
    file = io.BytesIO()
    soundfile.write(file, noise(2, 200_000, amplitude=0.5).T, 16_000, format=container)
    return _Interrupting(file.getvalue())


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_signal_while_a_file_is_opened_to_read(container, capfd):
    with pytest.raises(Terminated):
        Sequential(file_of(container))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_signal_while_a_file_is_opened_to_write(container, capfd):
    file = _Interrupting()
    with pytest.raises(Terminated), Sequential(file, "w", 16_000, 2, format=container) as sound:
        sound.write(np.zeros((100_000, 2)))
    assert not file.interrupts
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_signal_between_blocks(container, capfd):
    file = file_of(container)
    file.interrupts = False
    sound = Sequential(file)
    file.interrupts = True
    with pytest.raises(Terminated), sound:
        sound.read(200_000)
    assert capfd.readouterr().err == ""
