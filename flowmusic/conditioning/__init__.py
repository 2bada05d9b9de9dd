"""What steers the model: controls in time, text tokens, style tokens, and how training drops them."""
