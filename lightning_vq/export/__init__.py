"""From a run to an artifact that lightning_vq.serving reads."""
