"""The network: velocity(x_t, t, condition)."""
