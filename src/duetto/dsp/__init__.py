"""Signal processing: the STFT and its inverse, masks, middle and side, streams cut into chunks."""
