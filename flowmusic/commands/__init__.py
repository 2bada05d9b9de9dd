"""The sub-commands of `flowmusic`, a module each: `add_arguments(parser)` and `run(args) -> exit code`.

Their top level imports nothing heavy, so that `--help` is quick.
"""
