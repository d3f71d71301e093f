"""Value of an unknown label."""

UNLABELLED = -1
