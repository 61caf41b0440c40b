"""nnU-Net v2, used as it is: plans are rewritten and trainers subclassed, nothing is patched."""
