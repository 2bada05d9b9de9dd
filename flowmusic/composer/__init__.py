"""Songs as symbols: the composer of the training songs, and of what a text alone asks for."""
