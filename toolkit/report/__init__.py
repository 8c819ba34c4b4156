"""What a run directory says: one JSON document, a terminal table, one HTML page."""
