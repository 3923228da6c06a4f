"""Whether a queue beats one big prompt: arms, samples, statistics."""
