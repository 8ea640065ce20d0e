"""Reading and writing files: what they are called, where they may go, and sentences for what goes wrong."""
