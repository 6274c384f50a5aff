"""Check model answers in code: turns, conversations and plans against the rules that the prompts state."""
