"""The way in and out: Request -> prepare -> render -> Clip."""
