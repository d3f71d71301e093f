"""What stands where a label is not known."""

UNLABELLED = -1
