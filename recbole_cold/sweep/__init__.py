"""Many settings of one method: which is best on pseudo-new items, and its numbers on ``test``."""
