"""What lies between console and terminal: keys in their order, frames in few bytes, and no waiting."""
