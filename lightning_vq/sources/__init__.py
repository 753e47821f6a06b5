"""Where interactions come from: named data sets, a user's own files, the planted world. No torch, no Lightning."""
