"""Tells whether the ready bundles were made from the current checkpoints and code.

It uses the standard library only, since the build of the wheel runs it before any installation.
"""

import hashlib
import io
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
READY = ROOT / "elir_edge" / "weights" / "ready"
"""The folder in which the installed package looks for them (`elir_edge.runtime.ready`)."""
_RECORD = "made-of.txt"


def is_fresh(folder: Path = READY) -> bool:
    """Tell whether a folder's bundles were made from the current checkpoints and code."""
    note = folder / _RECORD
    return note.is_file() and note.read_text(encoding="ascii") == _fingerprint()


def record(folder: Path) -> None:
    """Record in a folder that its bundles were made from the current checkpoints and code."""
    (folder / _RECORD).write_text(_fingerprint(), encoding="ascii")


def _fingerprint() -> str:
    """Return a hash of all that bundles depend on: the checkpoints and both packages' code."""
    hashes = {
        path: path.read_bytes() for path in (ROOT / "elir_edge/weights").glob("*.safetensors")
    }
    for name in ("elir_edge", "export"):
        hashes |= {path: _code_of(path) for path in (ROOT / name).rglob("*.py")}
    digest = hashlib.sha256()
    for path in sorted(hashes):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(hashes[path]).digest())
    return digest.hexdigest() + "\n"


def _code_of(path: Path) -> bytes:
    """Return a module's tokens without comments, docstrings and layout, which change no bundle."""
    code: list[str] = []
    statement: list[tokenize.TokenInfo] = []
    for token in tokenize.tokenize(io.BytesIO(path.read_bytes()).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING):
            continue
        if token.type in (tokenize.INDENT, tokenize.DEDENT):
            code.append(tokenize.tok_name[token.type])
        elif token.type != tokenize.NEWLINE:
            statement.append(token)
        else:
            if [each.type for each in statement] != [tokenize.STRING]:
                code += [each.string for each in statement]
                code.append(tokenize.tok_name[token.type])
            statement = []
    return "\0".join(code).encode()
