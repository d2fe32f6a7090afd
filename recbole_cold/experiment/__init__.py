"""One command's runs, from data set to results."""
