"""Somebody else's GPUs as an engine: any server that speaks the OpenAI Videos API."""
