"""Pre-training, learning and warm-up of one method with one seed."""
