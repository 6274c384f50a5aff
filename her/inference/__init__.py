"""Make many model calls: several endpoints, structured answers, a ledger, a budget, progress."""
