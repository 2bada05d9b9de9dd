"""Many clips from a manifest: planned by line, made by any number of processes, each clip once."""
