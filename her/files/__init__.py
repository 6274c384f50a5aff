"""Write files atomically; read and write JSON Lines; read YAML with line numbers."""
