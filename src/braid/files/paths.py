"""What people write where the path of a file should stand: web addresses, data URIs, base64, lists, paths of Windows."""

import re

LONGEST_NAME = 255  # bytes of a file name on every usual file system
SHOWN = 60  # characters of a value in a message

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)  # one letter is a drive of Windows
_BASE64 = re.compile(r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR)[A-Za-z0-9+/\s]*={0,2}|[A-Za-z0-9+/\s_-]{256,}={0,2}")  # images begin so
_LIST = re.compile(r"""\s*[\[({]\s*['"{\[].*[\])}]\s*""", re.DOTALL)
_BYTES = re.compile(r"""b(['"]).*\1""", re.DOTALL)


def not_a_path(value: str, what: str = "image") -> str:
    """What a value is that should be a path and is none, and what to do; "" if it may be a path."""
    if value[:5].lower() == "data:":
        return f"is a data URI; save the {what} to a file and give its path"
    if address := _ADDRESS.match(value):
        if address[1].lower() == "file":
            return "is an address of a file; give its path alone"
        return f"is a web address; download the {what} and give its path"
    if "\0" in value:
        return "is no file name: it has a character 0; check the path"
    if _LIST.fullmatch(value):
        return f"is a list or an object; give the path of one {what}"
    if _BYTES.fullmatch(value):
        return f"is bytes as Python prints them; save the {what} to a file and give its path"
    if _BASE64.fullmatch(value):
        return f"is base64; save the {what} to a file and give its path"
    if any(len(part.encode(errors="surrogatepass")) > LONGEST_NAME for part in value.split("/")):
        return f"is longer than a file name can be; give the path of the {what}"
    return ""


def shortened(text: str, most: int = SHOWN) -> str:
    """A value for a message."""
    return text if len(text) <= most else f"{text[:most]}..."


def spellings(path: str) -> tuple[str, ...]:
    """The path, and the path with slashes if it has the backslashes of Windows."""
    return (path, path.replace("\\", "/")) if "\\" in path else (path,)
