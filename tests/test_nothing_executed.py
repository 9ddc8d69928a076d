"""No line of the package can execute what it reads: no pickle, no code, no shell."""

import ast
from pathlib import Path

import pytest

import zsrobust

PACKAGE = Path(zsrobust.__file__).parent
# A call, and the words without which it is refused.
NEVER = {"eval", "exec", "compile", "__import__"}
NEVER_OF = {
    **{("pickle", name): {} for name in ("load", "loads", "Unpickler")},
    **{("os", name): {} for name in ("system", "popen")},
    **{("yaml", name): {} for name in ("load", "load_all", "unsafe_load", "full_load")},
    ("torch", "load"): {"weights_only": True},
    ("np", "load"): {"allow_pickle": False},
    ("Image", "open"): {"formats": None},
}


def refused(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
        if given.get("shell"):
            found.append(f"line {node.lineno}: shell")
        match node.func:
            case ast.Name(id=name) if name in NEVER:
                found.append(f"line {node.lineno}: {name}")
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in NEVER_OF:
                needed = NEVER_OF[module, name]
                right = needed and all(
                    word in given and (value is None or given[word] is value)
                    for word, value in needed.items()
                )
                if not right:
                    found.append(f"line {node.lineno}: {module}.{name}")
    return found


def test_the_package_executes_nothing_that_it_reads():
    found = {
        path.relative_to(PACKAGE).as_posix(): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := refused(path.read_text("utf-8")))
    }
    # FILE.py:NAME is the user's own attack or loss, asked for by that name.
    assert set(found) == {"utils/own_code.py"}


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "pickle.loads(content)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "Image.open(path)",
    ],
)
def test_each_of_these_would_be_found(line):
    assert len(refused(line)) == 1


def test_the_safe_forms_pass():
    safe = "torch.load(p, weights_only=True); np.load(p, allow_pickle=False); yaml.safe_load(t)"
    assert refused(f"{safe}; Image.open(p, formats=FORMATS); model.eval(); re.compile(p)") == []
