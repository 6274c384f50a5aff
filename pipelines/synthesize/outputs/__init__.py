"""Write the files that a run leaves for people and trainers: transcripts, samples, dataset card, report."""
