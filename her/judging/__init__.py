"""Compare candidates by principles: pair designs, judges, reward models and their report cards."""
