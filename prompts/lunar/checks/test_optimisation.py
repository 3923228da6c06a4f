"""The contract of the step optimisation: speed-ups that change no result, and the program."""
