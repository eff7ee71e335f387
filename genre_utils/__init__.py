"""Shared code of the replication book: music genres on GTZAN, from a CNN to fine-tuned wav2vec 2.0."""

__version__ = "0.1.0"
