"""Mutations of text and of bytes, drawn from a seed."""

import random
import re
from collections.abc import Callable

TextChange = Callable[[list[str], random.Random], list[str]]
BytesChange = Callable[[bytes, random.Random], bytes]
FileChange = Callable[[str, random.Random], bytes]

# What may stand where a value stands.
VALUES = [
    "", "null", "~", "NaN", ".nan", ".inf", "-.inf", "inf", "1e400", "-1", "0", "1e309", "-0.0", "1.5",
    "9" * 400, "9" * 5000, "0x10", "0o17", "1_000", "true", "yes", "18446744073709551616", "1e308",
    "[]", "{}", "[1, 2]", "{a: 1}", "[[[[[[[[1]]]]]]]]", "''", '" "', r'"\0"', r'"\ud800"', r'"\x1b[31m"',
    "!!bool [1]", "!!int {a: 1}", "!!float x", "!!binary abc", "!!set {a, b}", "!!omap [a: 1]",
    "!!timestamp [1]", "2001-01-01", "!!python/object/apply:os.system ['true']", "!other x", "!!null x",
    "&a 1", "*a", "&a [*a]", "&a {b: *a}", "<<", "!!merge <<", "../../etc/passwd", "/dev/zero", ".", "/",
    "/dev/null", "data/raw", "data", "data/train/image", "\u202edesrever", "cafe\u0301", "\u200b", "|", ">",
    "- 1", "@", "`", "%", '"unclosed', "'unclosed", "[unclosed", "{unclosed", "? x", ": x", "#", "=1+1",
    "x" * 100_000, "[" * 2000, "(a+)+$", "${tasks}", "${item.kind}", "$(touch x)", "a: b: c", "digits",
]  # fmt: skip
KEYS = [
    "", "x", "Seeds", "train.epochs", "1", "null", "<<", "*a", "kind", "a b", "\u00e9", "[1]", "{a: 1}",
    r'"\0"', "?", "!!int 1", "image", "true", "-", "\u202e",
]  # fmt: skip
LINES = [
    "---", "...", "%YAML 1.1", "%TAG ! tag:x,2000:", "key", ": ", "- ", "\t", "\0", "\x1b[2J", "\u2028",
    "}", "<<: *a", "a: &a {b: 1}", "]", "'", '"', "?", "\ufffe", "x: y", "<<<<<<< HEAD", "=======",
]  # fmt: skip
FILES = [
    b"", b"\n", b"#", b"\0" * 1000, b"---\n---\n", b"[]", b"{}", b"null", b"a", b"\xff\xfe", b"PK\x03\x04",
    b"\x89PNG\r\n\x1a\n", b'{"runtime": 1}', b"tasks:\n", b"tasks: {}\nruntime: {}\ntolerance: {}\n",
]  # fmt: skip
ENCODINGS = ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp500", "utf-7"]
LINE_ENDS = ["\r\n", "\r", "\u2028", "\x85", "\n\n", "\v", "\0\n"]
INDENTS = [" ", "  ", "    ", "\t", "\u00a0"]
BRACKETS = [("[", "]"), ("{a: ", "}"), ("- ", "")]
_MANY = 40  # lines of the longest block


def _some_line(lines: list[str], draw: random.Random) -> int:
    """Return the number of a line that is neither blank nor a comment; 0 if there is none."""
    numbers = [
        number for number, line in enumerate(lines) if line.strip() and line.strip()[0] != "#"
    ]
    return draw.choice(numbers or [0])


def replace_value(lines: list[str], draw: random.Random) -> list[str]:
    """Replace the value of a line."""
    number = _some_line(lines, draw)
    key, colon, _ = lines[number].partition(":")
    start = f"{key}:" if colon else re.sub(r"\S.*", "-", lines[number])
    return [*lines[:number], f"{start} {draw.choice(VALUES)}", *lines[number + 1 :]]


def delete(lines: list[str], draw: random.Random) -> list[str]:
    """Delete a line."""
    number = _some_line(lines, draw)
    return lines[:number] + lines[number + 1 :]


def delete_block(lines: list[str], draw: random.Random) -> list[str]:
    """Delete some lines."""
    number = _some_line(lines, draw)
    return lines[:number] + lines[number + draw.randint(2, _MANY) :]


def double(lines: list[str], draw: random.Random) -> list[str]:
    """Write a line twice."""
    number = _some_line(lines, draw)
    return [*lines[:number], lines[number], *lines[number:]]


def double_block(lines: list[str], draw: random.Random) -> list[str]:
    """Write some lines twice."""
    number = _some_line(lines, draw)
    return lines[: number + draw.randint(2, _MANY)] + lines[number:]


def swap(lines: list[str], draw: random.Random) -> list[str]:
    """Swap two lines."""
    first, second = _some_line(lines, draw), _some_line(lines, draw)
    lines = [*lines]
    lines[first], lines[second] = lines[second], lines[first]
    return lines


def rename(lines: list[str], draw: random.Random) -> list[str]:
    """Give a value another key."""
    number, key = _some_line(lines, draw), draw.choice(KEYS)
    line = re.sub(r"\w+(?=:)", lambda _: key, lines[number], count=1)
    return [*lines[:number], line, *lines[number + 1 :]]


def indent(lines: list[str], draw: random.Random) -> list[str]:
    """Move a line to the left or to the right."""
    number = _some_line(lines, draw)
    line = lines[number][1:] if draw.random() < 0.4 else draw.choice(INDENTS) + lines[number]
    return [*lines[:number], line, *lines[number + 1 :]]


def insert(lines: list[str], draw: random.Random) -> list[str]:
    """Insert a line."""
    number = _some_line(lines, draw)
    return [*lines[:number], draw.choice(LINES), *lines[number:]]


def bomb(text: str, draw: random.Random) -> bytes:
    """Add a few lines of aliases of aliases, which stand for more than memory holds."""
    levels, width = draw.randint(5, 12), draw.randint(5, 10)
    items = [f"&a0 [{', '.join(['x'] * width)}]"]
    items += [f"&a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, levels)]
    if draw.random() < 0.5:
        return re.sub(r"threads: \d+", f"threads: [{', '.join(items)}]", text, count=1).encode()
    return f"bomb: [{', '.join(items)}]\n{text}".encode()


def nest(text: str, draw: random.Random) -> bytes:
    """Add a deeply nested value."""
    opening, closing = draw.choice(BRACKETS)
    depth = draw.choice([50, 900, 5000])
    return f"deep: {opening * depth}1{closing * depth}\n{text}".encode()


def flip(data: bytes, draw: random.Random) -> bytes:
    """Change single bytes."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 3, 30]) if data else 0):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def cut(data: bytes, draw: random.Random) -> bytes:
    """Keep the beginning."""
    return data[: draw.randrange(len(data) + 1)]


def noise(data: bytes, draw: random.Random) -> bytes:
    """Insert random bytes."""
    place = draw.randrange(len(data) + 1)
    return data[:place] + draw.randbytes(draw.choice([1, 20, 5000])) + data[place:]


def rotate(data: bytes, draw: random.Random) -> bytes:
    """Put the beginning behind the end."""
    place = draw.randrange(len(data) + 1)
    return data[place:] + data[:place]


def encode(text: str, draw: random.Random) -> bytes:
    """Write a text, with a letter that is no ASCII, in another encoding."""
    return text.replace("images", "im\u00e4ges").encode(draw.choice(ENCODINGS), "replace")


def end_lines(text: str, draw: random.Random) -> bytes:
    """Use other line ends."""
    return text.replace("\n", draw.choice(LINE_ENDS)).encode()


def another_file(_: str, draw: random.Random) -> bytes:
    """Return something else."""
    return draw.choice(FILES)


# Those named several times have the most ways to be wrong.
TEXT_CHANGES: list[TextChange] = [
    *(replace_value, replace_value, replace_value, replace_value, delete, delete_block, double),
    *(double_block, swap, rename, rename, indent, insert),
]
BYTE_CHANGES: list[BytesChange] = [flip, cut, noise, rotate]
FILE_CHANGES: list[FileChange] = [encode, end_lines, another_file]
YAML_CHANGES: list[FileChange] = [bomb, nest, *FILE_CHANGES]


def mutate_yaml(text: str, draw: random.Random) -> tuple[str, bytes]:
    """Return the name of a mutation, and a YAML text after it, as bytes."""
    kind = draw.random()
    if kind < 0.7:
        changes = [draw.choice(TEXT_CHANGES) for _ in range(draw.choice([1, 1, 1, 2, 4]))]
        lines = text.split("\n")
        for change in changes:
            lines = change(lines, draw)
        name = " and ".join(change.__name__ for change in changes)
        return name, "\n".join(lines).encode("utf-8", "surrogatepass")
    if kind < 0.82:
        byte_change = draw.choice(BYTE_CHANGES)
        return byte_change.__name__, byte_change(text.encode(), draw)
    file_change = draw.choice(YAML_CHANGES)
    return file_change.__name__, file_change(text, draw)
