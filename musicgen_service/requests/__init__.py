"""What a request may be: its inputs, the rules between them, and what each task needs. Nothing here reads a file."""
