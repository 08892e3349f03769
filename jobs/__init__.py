"""The `rushes` command, the plan of a run, and its submission to Ray."""
