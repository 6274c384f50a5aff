"""Make many model calls: endpoints, structured answers, ledger, budget, progress."""
