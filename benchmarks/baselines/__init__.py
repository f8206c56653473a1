"""What people would build instead, written as its documentation recommends; each is a process of its own."""
