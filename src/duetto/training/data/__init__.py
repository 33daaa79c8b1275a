"""Training data: recordings, random mixtures and data augmentation."""
