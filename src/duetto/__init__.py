"""Duetto separates a song into vocals and accompaniment.

The public names are those of `__init__.pyi`; each is imported on first use, so `import duetto` is quick.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
