"""The music language model: latents as tokens of a residual quantiser, predicted one frame after the other."""
