from .audio import load_audio as load_audio
from .audio import save_audio as save_audio
from .batch.manifest import Output as Output
from .batch.manifest import Record as Record
from .batch.runner import Summary as Summary
from .batch.runner import separate_files as separate_files
from .errors import AudioError as AudioError
from .errors import ConfigError as ConfigError
from .errors import DatasetError as DatasetError
from .errors import DuettoError as DuettoError
from .errors import MetricError as MetricError
from .errors import ModelError as ModelError
from .evaluation.bss_eval import bss_eval as bss_eval
from .evaluation.bss_eval import si_sdr as si_sdr
from .evaluation.datasets import Track as Track
from .evaluation.datasets import load_tracks as load_tracks
from .evaluation.evaluator import evaluate as evaluate
from .models.onnx_model import list_bundles as list_bundles
from .separation.separator import Separator as Separator
from .separation.separator import separate as separate
from .separation.settings import SeparationSettings as SeparationSettings
from .separation.stem_writer import FileOptions as FileOptions
from .separation.stem_writer import SeparatedFile as SeparatedFile

__version__: str
