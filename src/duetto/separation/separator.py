"""Separator: a waveform, a stream of blocks or a file to its stems, in constant memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from threading import Lock
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import ArrayLike

from duetto.audio import AudioFile, AudioReader, check_waveform, load_audio, to_float
from duetto.audio.waveform import check_sample_rate
from duetto.dsp.chunking import SampleQueue, Waveform
from duetto.errors import AudioError
from duetto.models.metadata import ModelMetadata
from duetto.models.onnx_model import OnnxModel
from duetto.models.registry import DEFAULT_MODEL, MaskModel, StatefulModel, open_model
from duetto.separation.frontend import Frontend
from duetto.separation.overlap_add import OverlapAdd
from duetto.separation.settings import SeparationSettings, count_threads
from duetto.separation.stateful import StatefulInference
from duetto.separation.stem_writer import DEFAULT_OPTIONS, FileOptions, SeparatedFile, StemFiles

Progress = Callable[[int, int], None]

_BLOCK_SECONDS = 4
SPEED_STEP = 0.05  # chosen on a validation set: docs/research/lab-notes


class Separator:
    """Separates songs of any sample rate, length and number of channels into vocals and accompaniment.

    The model estimates the vocals; the accompaniment is the remainder, so the stems sum to the mixture.

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
        model: str | os.PathLike[str] | MaskModel = DEFAULT_MODEL,
        *,
        mask: Literal["ratio", "binary"] = "ratio",
        griffin_lim_iterations: int = 0,
        n_passes: int | None = None,
        segment_seconds: float | None = None,
        overlap_seconds: float | None = None,
        n_threads: int | None = None,
    ) -> None:
        threads = count_threads(n_threads)
        self.model = model
        self.stages: Sequence[MaskModel]
        if isinstance(model, str | os.PathLike):
            self.stages = open_model(model, n_threads=threads)
        else:
            self.stages = [model.on_threads(threads) if isinstance(model, OnnxModel) else model]
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

    def separate(
        self, audio: ArrayLike, sample_rate: int, *, progress: Progress | None = None
    ) -> dict[str, Waveform]:
        """Separate a waveform.

        Args:
            audio: float (n_channels, n_samples) or (n_samples,), full scale 1; it is not modified.
            sample_rate: hertz.
            progress: called with the number of samples done and of all samples. What it raises stops the
                work and reaches the caller; that is how to cancel.

        Returns:
            "vocals" and "accompaniment", float32 of the shape of `audio`, summing to it.

        Raises:
            AudioError: a waveform or sample rate that is not valid.

        Examples:
            >>> import duetto
            >>> audio, sample_rate = duetto.load_audio("song.flac")
            >>> stems = duetto.Separator().separate(audio, sample_rate)
            >>> bool(abs(stems["vocals"] + stems["accompaniment"] - audio).max() < 1e-6)
            True

            Cancelling, here after the first chunk:

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
        with closing(self._inference(sample_rate).vocals(blocks)) as separated:
            for block in separated:
                vocals[:, done : done + block.shape[-1]] = block
                done += block.shape[-1]
                if progress:
                    progress(done, waveform.shape[-1])
        stems = {"vocals": vocals, "accompaniment": waveform - vocals}
        return {name: stem.reshape(np.shape(audio)) for name, stem in stems.items()}

    def stream(self, blocks: Iterable[ArrayLike], sample_rate: int) -> Iterator[dict[str, Waveform]]:
        """Separate a stream of blocks while they come in, in constant memory.

        Leaving the loop, or `close`, ends it; so does an error of `blocks`, which reaches the caller.

        Args:
            blocks: consecutive blocks, each (n_channels, n_samples) of any length.
            sample_rate: hertz.

        Yields:
            Consecutive blocks of stems as soon as they are known, `latency_seconds` after the input. Their
            lengths differ from the input's; joined they are as long, and what `separate` gives for the joined
            input, whatever the blocks.

        Raises:
            AudioError: a block that is not valid.

        Examples:
            >>> import duetto, numpy as np
            >>> audio, sample_rate = duetto.load_audio("song.flac")
            >>> blocks = np.array_split(audio[:, :sample_rate], 50, axis=-1)  # 20 ms each, as they come in
            >>> separator = duetto.Separator("drnn")  # a model of low latency
            >>> round(separator.latency_seconds(sample_rate), 3)
            0.096
            >>> stems = list(separator.stream(blocks, sample_rate))
            >>> np.concatenate([block["vocals"] for block in stems], axis=-1).shape
            (2, 44100)
        """
        mixture, sample_rate = SampleQueue(), check_sample_rate(sample_rate, "the stream")
        checked = map(mixture.put, _checked(blocks))
        with closing(self._inference(sample_rate, live=True).vocals(checked)) as separated:
            for vocals in separated:
                yield {"vocals": vocals, "accompaniment": mixture.take(vocals.shape[-1]) - vocals}

    def separate_file(
        self,
        song: AudioFile,
        out: str | os.PathLike[str] | Mapping[str, BinaryIO] = "separated",
        options: FileOptions = DEFAULT_OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> SeparatedFile:
        """Separate a file into files, in constant memory.

        Args:
            song: path of an audio file, its content as bytes, or a binary file object that can seek.
            out: folder for the stems; it is made, and files appear in it only when they are complete. Or
                binary file objects by stem, which get whole files.
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
        with AudioReader(song, audio_track=options.audio_track) as reader:
            return self.separate_opened(reader, out, options, progress=progress)

    def separate_opened(
        self,
        reader: AudioReader,
        out: str | os.PathLike[str] | Mapping[str, BinaryIO],
        options: FileOptions,
        *,
        progress: Progress | None = None,
    ) -> SeparatedFile:
        """As `separate_file`, of a file that is open; `options.audio_track` has no effect."""
        info = reader.info
        with StemFiles(reader, model=self.metadata.name, out=out, options=options) as stems:
            mixture, done = SampleQueue(), 0
            read = reader.blocks(_BLOCK_SECONDS * info.sample_rate, stems.start, stems.stop)
            floats = (to_float(block, info.bits) for block in map(mixture.put, read))
            with closing(self._inference(info.sample_rate).vocals(floats)) as separated:
                for vocals in separated:
                    stems.write(mixture.take(vocals.shape[-1]), vocals)
                    done += vocals.shape[-1]
                    if progress:
                        progress(done, stems.stop - stems.start)
        return stems.result

    def latency_seconds(self, sample_rate: int) -> float:
        """How far the blocks of `stream` lag behind its input, without the time to compute them.

        With a model without a state it is the length of a segment; with one that has a state that of a chunk
        and its look-ahead, of a model of low latency one frame. The length of the input's blocks adds to it.

        Args:
            sample_rate: Hz.

        Raises:
            AudioError: a sample rate that is not valid.
        """
        sample_rate = check_sample_rate(sample_rate, "the stream")
        return self._inference(sample_rate, live=True).latency / sample_rate

    def _inference(self, sample_rate: int, *, live: bool = False) -> StatefulInference | OverlapAdd:
        settings = self.settings
        frontends = [
            [
                Frontend(metadata=stage.metadata, sample_rate=sample_rate, mask=settings.mask, speed=speed)
                for speed in _speeds(settings.n_passes)
            ]
            for stage in self.stages
        ]
        model = self.stages[0]
        if model.metadata.is_stateful and not settings.griffin_lim_iterations:
            return StatefulInference(
                model=cast(StatefulModel, model),
                frontends=frontends[0],
                n_frames=_chunk_frames(model.metadata, settings.segment_seconds, live=live),
                n_ahead=0 if live else 1,
            )
        # Griffin-Lim needs the frames on either side, so it takes segments of any model
        n_ahead = 0 if live else settings.threads
        return OverlapAdd(stages=self.stages, frontends=frontends, settings=settings, n_ahead=n_ahead)


def _chunk_frames(metadata: ModelMetadata, seconds: float, *, live: bool) -> int:
    """Frames of a chunk for a stateful model, a multiple of its frame grid."""
    if live and metadata.stream_frames:
        return metadata.stream_frames
    step = metadata.frame_grid * metadata.hop_length / metadata.sample_rate
    return metadata.frame_grid * max(1, round(seconds / step))


def _speeds(n_passes: int) -> list[float]:
    """Of the passes of test-time augmentation: 1, then by turns slower and faster in steps of 5 %."""
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


_loading = Lock()


@lru_cache(maxsize=1)
def _default_separator() -> Separator:
    return Separator()


def separate(song: AudioFile) -> dict[str, Waveform]:
    """Separate a song with the default model.

    Args:
        song: path of an audio file, its content as bytes, or a binary file object that can seek.

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
    with _loading:  # threads that call it first at the same time would load a model each
        separator = _default_separator()
    return separator.separate(*load_audio(song))
