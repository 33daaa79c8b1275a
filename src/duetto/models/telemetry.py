"""The telemetry of onnxruntime, which a local tool does not want."""

import os


def disable_telemetry() -> None:
    """Keep onnxruntime from collecting usage events for its maker; works only before it is first imported.

    Since version 1.32 it would store a device id and a queue of events in the user's cache, and complain on
    stderr where that cannot be written. To be called where Duetto is the program, not where a program of its
    own imports it: the variable holds for the whole process and for those that it starts.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
