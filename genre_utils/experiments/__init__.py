"""Experiments: one file a question. Each ``measure()`` gives one :class:`~genre_utils.records.Experiment`.

``python -m genre_utils measure QUESTION`` runs one; what was measured comes with the book, in ``book/results/experiments/``.
"""
