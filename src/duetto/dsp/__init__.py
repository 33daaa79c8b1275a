"""Signal processing: the STFT and its inverse, masks, mid and side, streams in chunks."""
