"""Turn transcripts into training samples, assign splits, and audit what training would see."""
