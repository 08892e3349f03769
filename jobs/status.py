"""The exit statuses of the `rushes` command."""

OK, USAGE, FAILED, GATE, NOT_ENOUGH, AGAIN = 0, 2, 3, 4, 5, 75
"""All well; wrong use; failures above the limit or nothing kept; a gate failed; a gate cannot tell yet; try
again."""
