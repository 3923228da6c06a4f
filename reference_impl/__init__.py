"""Hand-written reference implementations: what generated code is judged by."""
