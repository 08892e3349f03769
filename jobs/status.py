"""The exit statuses of the `rushes` command."""

OK, USAGE, FAILED, GATE, AGAIN = 0, 2, 3, 4, 75
"""All well; wrong use; failures above the limit or nothing kept; a gate failed; try again."""
