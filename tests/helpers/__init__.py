"""What test files share: signals, files, tiny models, batches and the command line."""
