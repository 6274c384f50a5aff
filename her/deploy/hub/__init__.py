"""Publish runs on the Hugging Face Hub, with lineage and hashes, and read them back."""
