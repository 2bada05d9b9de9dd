"""Studio: a local service (and its page) around one model, on which clips are asked for, heard and changed."""
