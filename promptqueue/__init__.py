"""promptqueue turns a queue of small prompts into verified code."""

__version__ = "0.1.0"
