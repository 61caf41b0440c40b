"""Crossmodal: distillation for glioma segmentation with missing MRI sequences, on nnU-Net v2."""

__version__ = "0.1.0"
