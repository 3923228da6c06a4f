"""The contract of the step training: the loss, the optimiser's path and what is left on disk."""
