"""Flow matching: the path from noise to data, guidance, and the solver of the ODE."""
