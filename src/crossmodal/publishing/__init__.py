"""Versions of what is too heavy for git: DVC keeps the bytes, Snakemake alone decides what must be made."""
