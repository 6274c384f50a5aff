"""Synthesis: from books to transcripts in which every turn has its plan and its inner life, and from these to samples."""
