"""Separation: from a waveform or a file to its stems."""
