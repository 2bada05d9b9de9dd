"""The music language model: latents as tokens of a residual quantiser, predicted frame by frame."""
