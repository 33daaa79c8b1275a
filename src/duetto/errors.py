"""The exceptions that Duetto raises.

    DuettoError
    ├── AudioError     a file or a waveform that cannot be read, written or accepted
    ├── ModelError     a model file that is missing, damaged or of another format
    ├── DatasetError   a dataset folder that is missing files or holds odd ones
    ├── ConfigError    a recipe or an option with an unknown key or a bad value
    └── MetricError    references and estimates that cannot be scored

A message says what was wrong, the value received, what is allowed and what to do next.
`DuettoWarning` is a warning: the result may not be what was meant.
"""


class DuettoError(Exception):
    """Any failure that Duetto foresees; catch it to catch them all."""


class AudioError(DuettoError):
    """A file or a waveform that cannot be read, written or accepted."""


class ModelError(DuettoError):
    """A model file that is missing, damaged or of another format."""


class DatasetError(DuettoError):
    """A dataset folder that is missing files or holds odd ones."""


class ConfigError(DuettoError):
    """A recipe or an option with an unknown key or a bad value."""


class MetricError(DuettoError):
    """References and estimates that cannot be scored."""


class DuettoWarning(UserWarning):
    """Something that may not have been meant, and does not stop the work."""
