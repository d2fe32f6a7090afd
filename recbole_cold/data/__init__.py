"""From atomic files to rows, splits and episodes."""
