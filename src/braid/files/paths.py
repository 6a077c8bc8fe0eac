"""What people write where the path of a file should stand: web addresses, data URIs, base64, lists, paths of Windows."""

import os
import re

LONGEST_NAME = 255  # bytes of a file name on every usual file system
SHOWN = 60  # characters of a value in a message

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)  # one letter is a drive of Windows
_DRIVE = re.compile(r"[a-z]:[\\/]|\\\\\w", re.IGNORECASE)
_DATA = re.compile(r"data:[^\s,]*,", re.IGNORECASE)
_URI = re.compile(r"\s*data:(?:(?:application|audio|font|image|text|video)/|[^,]{0,200};\s*base64\s*,|[;,])", re.IGNORECASE)
_BASE64 = re.compile(
    r"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR)[A-Za-z0-9+/\s]*={0,2}|[A-Za-z0-9+/\r\n_-]{256,}={0,2}"
)  # images begin so
_LIST = re.compile(r"""\s*[\[({]\s*['"{\[].*[\])}]\s*""", re.DOTALL)
_BYTES = re.compile(r"""b(['"]).*\1""", re.DOTALL)


def not_a_path(value: str, what: str = "image") -> str:
    """What a value is that should be a path and is none, and what to do; "" if it may be a path."""
    if _DATA.match(value) or is_data_uri(value):
        return f"is a data URI; save the {what} to a file and give its path"
    if address := _ADDRESS.match(value):
        if address[1].lower() == "file":
            return "is an address of a file; give its path alone"
        return f"is a web address; download the {what} and give its path"
    if os.name != "nt" and _DRIVE.match(value):
        return f"names a drive of Windows; give the path of the {what} here"
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


def is_address(value: str) -> bool:
    """Whether a value is a web address or a data URI, and no sentence."""
    return is_data_uri(value) or (bool(_ADDRESS.match(value) or _DATA.match(value)) and not re.search(r"\s", value))


def is_data_uri(value: str) -> bool:
    """Whether a text is a data URI or was meant as one; "data: the new oil" is a text."""
    return bool(_URI.match(value))


def shortened(text: str, most: int = SHOWN) -> str:
    """A value for a message."""
    return text if len(text) <= most else f"{text[:most]}..."


def spellings(path: str) -> tuple[str, ...]:
    """The path, and the path with slashes if it has the backslashes of Windows."""
    return (path, path.replace("\\", "/")) if "\\" in path else (path,)
