"""Cloud against edge on an evaluation set of any size: rows become facts, facts metrics, metrics verdicts.

    blocks of samples ─► both sides answer ─► facts of every row (facts.py) ─► a table on disk (table.py)
        ─► metrics of both sides and their paired difference (metrics/, paired.py) ─► budgets (budgets.py)
        ─► slices (slices.py) ─► a Comparison (conclude.py)

A row's facts depend on that row alone, and blocks are merged in their order: who made them, and when, decides nothing.
"""
