"""Tools for developers; nothing in her/ or pipelines/ imports them."""
