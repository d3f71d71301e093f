"""From a trained cell to something that is used: export, prediction, choice."""
