"""What scores are worth: metrics of one table of predictions, and statistics over seeds."""
