"""What is asked: the queue file, its templates, and the messages made of them."""
