"""From pinned wheels to labelled examples and encoded sequences."""
