"""Separator: blocks of a song -> network -> masks -> overlap-add -> stems, in constant memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike

from duetto.audio import AudioReader, check_waveform, load_audio, to_float
from duetto.audio.waveform import check_sample_rate
from duetto.dsp.chunking import Fifo, Waveform
from duetto.errors import AudioError
from duetto.models.onnx_model import DEFAULT_MODEL, Bundle
from duetto.models.registry import MaskEstimator, find_estimators
from duetto.separation.frontend import Analysis
from duetto.separation.live import StepEstimator, latency, live_vocals
from duetto.separation.overlap_add import Segmented
from duetto.separation.settings import SeparationSettings
from duetto.separation.stateful import Carried, CarryEstimator
from duetto.separation.stem_writer import DEFAULT_OPTIONS, FileOptions, SeparatedFile, StemFiles

Progress = Callable[[int, int], None]

_BLOCK_SECONDS = 4
SPEED_STEP = 0.05  # chosen on MIR-1K's dev clips: docs/experiments.md


class Separator:
    """Takes a song of any sample rate, length and number of channels apart into vocals and accompaniment.

    The network estimates the vocals; the accompaniment is the remainder, so the stems sum to the mixture.

    Args:
        model: name of a model that ships or of a conventional method, path of a model file, or an open model.
        mask: "ratio", the model's soft mask, or "binary", which gives each bin to the louder source.
        griffin_lim_iterations: iterations of Griffin-Lim that estimate a phase for the vocals; 0 keeps the
            mixture's phase.
        n_passes: passes of test-time augmentation, 1 to 9: the song is separated at its own speed and, in
            steps of 5 %, slower and faster, and the vocals are the mean. Better by a little, and the time
            grows in proportion. By default what the model's metadata say, mostly 1.
        segment_seconds: length of the segments or chunks that the model takes, by default what its metadata
            say; the memory needed grows with it. A model that carries a state from chunk to chunk gives the
            same whatever it is.
        overlap_seconds: overlap of neighbouring segments, by default what the model's metadata say, but at
            most half a segment; models that carry a state need none.
        n_threads: by default as many as there are cores, but 4 at most; they change the rounding at most.

    Attributes:
        model: as given.
        settings: all of the above, filled in.
        stages: the open models, mostly one; each separates the vocals of the one before it.
        metadata: of the (first) model.

    Raises:
        ModelError: no such model, or a damaged model file.
        ConfigError: an option out of range.

    Examples:
        >>> import duetto
        >>> separator = duetto.Separator("drnn", mask="ratio")  # load once, use often, from any thread
        >>> separator.settings.n_passes
        1
        >>> separator.metadata.sample_rate
        16000
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | MaskEstimator = DEFAULT_MODEL,
        *,
        mask: Literal["ratio", "binary"] = "ratio",
        griffin_lim_iterations: int = 0,
        n_passes: int | None = None,
        segment_seconds: float | None = None,
        overlap_seconds: float | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.model = model
        self.stages: Sequence[MaskEstimator] = (
            find_estimators(model) if isinstance(model, str | os.PathLike) else [model]
        )
        self.metadata = self.stages[0].metadata
        if n_passes is None:
            n_passes = self.metadata.n_passes if mask == "ratio" else 1
        if segment_seconds is None:
            segment_seconds = self.metadata.segment_seconds
        if overlap_seconds is None:
            overlap_seconds = min(self.metadata.overlap_seconds, segment_seconds / 2)
        self.settings = SeparationSettings(
            mask=mask,
            griffin_lim_iterations=griffin_lim_iterations,
            n_passes=n_passes,
            segment_seconds=segment_seconds,
            overlap_seconds=overlap_seconds,
            n_threads=n_threads,
        )
        # one piece at a time on all threads, or several segments at a time
        n_threads = self.settings.threads if self._carries else 1
        self.stages = [
            stage.on_threads(n_threads) if isinstance(stage, Bundle) else stage for stage in self.stages
        ]

    def separate(
        self, audio: ArrayLike, sample_rate: int, *, progress: Progress | None = None
    ) -> dict[str, Waveform]:
        """Take a waveform apart.

        Args:
            audio: float (n_channels, n_samples) or (n_samples,), full scale 1; it is not modified.
            sample_rate: hertz.
            progress: called with the number of samples done and of all samples. What it raises stops the
                work and reaches the caller; that is how to cancel.

        Returns:
            "vocals" and "accompaniment", float32 of the shape of `audio`, summing to it.

        Raises:
            AudioError: a waveform or sample rate that the gate refuses.

        Examples:
            >>> import duetto
            >>> audio, sample_rate = duetto.load_audio("song.flac")
            >>> stems = duetto.Separator().separate(audio, sample_rate)
            >>> bool(abs(stems["vocals"] + stems["accompaniment"] - audio).max() < 1e-6)
            True

            Cancelling, here after the first piece:

            >>> def progress(done, total):
            ...     raise RuntimeError("enough")
            >>> duetto.Separator().separate(audio, sample_rate, progress=progress)
            Traceback (most recent call last):
            RuntimeError: enough
        """
        waveform, sample_rate = check_waveform(audio), check_sample_rate(sample_rate, "the waveform")
        starts = range(0, waveform.shape[-1], _BLOCK_SECONDS * sample_rate)
        blocks = (waveform[:, start : start + starts.step] for start in starts)
        vocals, done = np.empty_like(waveform), 0
        with closing(self._way(sample_rate).vocals(blocks)) as pieces:
            for piece in pieces:
                vocals[:, done : done + piece.shape[-1]] = piece
                done += piece.shape[-1]
                if progress:
                    progress(done, waveform.shape[-1])
        stems = {"vocals": vocals, "accompaniment": waveform - vocals}
        return {name: stem.reshape(np.shape(audio)) for name, stem in stems.items()}

    def stream(self, blocks: Iterable[ArrayLike], sample_rate: int) -> Iterator[dict[str, Waveform]]:
        """Take a stream of blocks apart, in constant memory.

        Leaving the loop, or `close`, ends it; so does an error of `blocks`, which reaches the caller.

        Args:
            blocks: consecutive blocks, each (n_channels, n_samples) of any length.
            sample_rate: hertz.

        Yields:
            Consecutive blocks of stems as soon as they are known, `latency_seconds` after the input. Their
            lengths differ from the input's; joined they are as long. A network that streams gives what one
            pass over the joined input gives, whatever the blocks; any other what `separate` gives.

        Raises:
            AudioError: a block that the gate refuses.

        Examples:
            >>> import duetto, numpy as np
            >>> audio, sample_rate = duetto.load_audio("song.flac")
            >>> blocks = np.array_split(audio[:, :sample_rate], 50, axis=-1)  # 20 ms each, as they come in
            >>> separator = duetto.Separator("drnn")  # a model that streams frame by frame
            >>> round(separator.latency_seconds(sample_rate), 3)
            0.096
            >>> stems = list(separator.stream(blocks, sample_rate))
            >>> np.concatenate([block["vocals"] for block in stems], axis=-1).shape
            (2, 44100)
        """
        mixture, sample_rate = Fifo(), check_sample_rate(sample_rate, "the stream")
        checked = map(mixture.put, _checked(blocks))
        if self._is_live:
            ((analysis,),) = self._analyses(sample_rate)
            pieces = live_vocals(cast(StepEstimator, self.stages[0]), analysis, checked)
        else:
            pieces = self._way(sample_rate).vocals(checked, n_ahead=0)  # the next may be long in coming
        with closing(pieces):
            for vocals in pieces:
                yield {"vocals": vocals, "accompaniment": mixture.take(vocals.shape[-1]) - vocals}

    def separate_file(
        self,
        song: str | os.PathLike[str],
        out: str | os.PathLike[str] = "separated",
        options: FileOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> SeparatedFile:
        """Take a file apart into files, in constant memory.

        Args:
            song: path of an audio file.
            out: folder for the stems; it is made, and files appear in it only when they are complete.
            options: what is written.
            progress: called with the number of samples done and of all samples. What it raises stops the
                work and reaches the caller; that is how to cancel.

        Returns:
            The paths, peaks, the null residual, and what was clipped.

        Raises:
            AudioError: the song cannot be read or a stem cannot be written; no partial file is left.
            ConfigError: a template that cannot be used, or options that the song or the format cannot meet.

        Examples:
            >>> import duetto
            >>> done = duetto.Separator().separate_file("song.flac", "stems")
            >>> [path.as_posix() for path in done.paths.values()]
            ['stems/duetto/song/vocals.flac', 'stems/duetto/song/accompaniment.flac']
        """
        with AudioReader(song) as reader:
            info = reader.info
            stems = StemFiles(Path(song), info, model=self.metadata.name, out=out, options=options)
            with stems:
                mixture, done = Fifo(), 0
                read = reader.blocks(_BLOCK_SECONDS * info.sample_rate, stems.start, stems.stop)
                floats = (to_float(block, info.bits) for block in map(mixture.put, read))
                with closing(self._way(info.sample_rate).vocals(floats)) as pieces:
                    for vocals in pieces:
                        stems.write(mixture.take(vocals.shape[-1]), vocals)
                        done += vocals.shape[-1]
                        if progress:
                            progress(done, stems.stop - stems.start)
        return stems.result

    def latency_seconds(self, sample_rate: int) -> float:
        """How far the blocks of `stream` lag behind its input, the time to compute them left out.

        It is the length of a segment, for a network that carries on from one to the next with its look-ahead
        as well, or for one that streams, of a frame and its look-ahead. Blocks that come in add their own
        length.

        Args:
            sample_rate: hertz.

        Raises:
            AudioError: a sample rate that the gate refuses.
        """
        sample_rate = check_sample_rate(sample_rate, "the stream")
        if self._is_live:
            return latency(self._analyses(sample_rate)[0][0]) / sample_rate
        return self._way(sample_rate).length / sample_rate

    @property
    def _is_live(self) -> bool:
        """Whether a stream goes frame by frame; Griffin-Lim and several passes have to see what follows."""
        return (
            self.metadata.streams and not self.settings.griffin_lim_iterations and self.settings.n_passes == 1
        )

    @property
    def _carries(self) -> bool:
        """Griffin-Lim has to see what follows."""
        return self.metadata.first_frames > 0 and not self.settings.griffin_lim_iterations

    def _analyses(self, sample_rate: int) -> list[list[Analysis]]:
        """Of each stage, one for each pass."""
        mask = self.settings.mask
        return [
            [
                Analysis(metadata=stage.metadata, sample_rate=sample_rate, mask=mask, speed=speed)
                for speed in _speeds(self.settings.n_passes)
            ]
            for stage in self.stages
        ]

    def _way(self, sample_rate: int) -> Segmented | Carried:
        """Through a song: in pieces that carry on from one another, or each from nothing."""
        analyses = self._analyses(sample_rate)
        if self._carries:
            network = cast(CarryEstimator, self.stages[0])
            return Carried(
                network=network, analyses=analyses[0], segment_seconds=self.settings.segment_seconds
            )
        return Segmented(
            stages=self.stages,
            analyses=analyses,
            segment_seconds=self.settings.segment_seconds,
            overlap_seconds=self.settings.overlap_seconds,
            griffin_lim_iterations=self.settings.griffin_lim_iterations,
            n_threads=self.settings.threads,
        )


def _speeds(n_passes: int) -> list[float]:
    """At which the passes hear a song: 1, then by turns lower and higher in steps of 5 %."""
    return [1 + SPEED_STEP * ((k + 1) // 2) * (-1) ** k for k in range(n_passes)]


def _checked(blocks: Iterable[ArrayLike]) -> Iterator[Waveform]:
    n_channels = None
    for block in blocks:
        # a copy, since the caller may read the next block into the same memory
        waveform = np.array(check_waveform(block))
        if n_channels not in (None, len(waveform)):
            raise AudioError(
                f"a block has {len(waveform)} channels, those before it {n_channels}; keep to one"
            )
        n_channels = len(waveform)
        yield waveform


@lru_cache(maxsize=1)
def _default_separator() -> Separator:
    return Separator()


def separate(song: str | os.PathLike[str]) -> dict[str, Waveform]:
    """Take a song apart with the default bundle.

    Args:
        song: path of an audio file.

    Returns:
        "vocals" and "accompaniment", each float32 (n_channels, n_samples), at the song's sample rate.

    Raises:
        AudioError: the song cannot be read.

    Examples:
        >>> import duetto
        >>> stems = duetto.separate("song.flac")
        >>> {name: stem.shape for name, stem in stems.items()}
        {'vocals': (2, 512662), 'accompaniment': (2, 512662)}
    """
    return _default_separator().separate(*load_audio(song))
