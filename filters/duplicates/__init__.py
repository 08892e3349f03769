"""Duplicates, step by step: candidates by hash and by vector, votes over frames, clusters around their best clip."""
