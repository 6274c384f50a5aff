"""Files that a synthesis run leaves: samples, exports, dataset card, report."""
