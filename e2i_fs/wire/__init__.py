"""What servers share, whatever their protocol: documents in and out, budgets, workers, refusals."""
