"""Optuna studies whose every trial is an ordinary `fit`. The parent holds the study and never imports torch."""
