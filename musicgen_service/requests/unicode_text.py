"""Whether texts are valid Unicode."""


def is_valid(text: str) -> bool:
    """Whether a text can be written as UTF-8: it has no half characters, as which Python reads bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
