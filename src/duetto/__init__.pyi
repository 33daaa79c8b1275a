from .audio import load_audio as load_audio
from .audio import save_audio as save_audio
from .batch.run import separate_files as separate_files
from .bundle import list_bundles as list_bundles
from .datasets import Track as Track
from .datasets import load_tracks as load_tracks
from .errors import AudioError as AudioError
from .errors import ConfigError as ConfigError
from .errors import DatasetError as DatasetError
from .errors import DuettoError as DuettoError
from .errors import MetricError as MetricError
from .errors import ModelError as ModelError
from .evaluation import evaluate as evaluate
from .scores import bss_eval as bss_eval
from .scores import si_sdr as si_sdr
from .separator import Separator as Separator
from .separator import separate as separate

__version__: str
