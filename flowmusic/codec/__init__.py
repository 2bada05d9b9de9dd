"""Codecs: sound <-> continuous latents."""
