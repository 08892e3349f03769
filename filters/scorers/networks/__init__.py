"""Architectures of published models, for checkpoints that are brought along: filters.scorers.engines loads them."""
