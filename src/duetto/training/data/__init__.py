"""Training data: sources -> sampler, with scene, augment and synthesis."""
