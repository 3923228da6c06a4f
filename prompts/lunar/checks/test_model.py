"""The contract of the step model: what the network answers, learns and leaves alone."""
