"""Human review: a frozen sample of a run, people's verdicts on it, and the gate that they decide."""
