"""Whether the answer is right: what can be said of generated code."""
