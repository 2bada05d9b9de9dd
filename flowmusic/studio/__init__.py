"""A local service, and its page, around one model: clips are asked for, listened to and changed."""
