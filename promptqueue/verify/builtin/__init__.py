"""Checks that hold for every pack; the trusted pytest runs them beside the pack's contract."""
