"""Talking to a model: any endpoint that speaks the OpenAI chat-completions protocol."""
