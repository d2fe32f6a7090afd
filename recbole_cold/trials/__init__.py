"""One method on one seed as a value that any process can run, and many of them on Ray."""
