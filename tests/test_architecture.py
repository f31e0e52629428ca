"""What holds the house up: directions of imports, sizes of functions, docstrings, dependencies."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What each may import beside itself; nothing points back, and within a package nothing goes round.
ARROWS: dict[str, set[str]] = {
    "data": set(),
    "models": set(),
    "utils": {"data"},
    "evaluation": {"data"},
    "tracking": {"data", "utils", "evaluation"},
    "experiments": {"data", "models", "utils", "evaluation", "tracking"},
}
ARROWS["benchmarks"] = set(ARROWS)
ARROWS["har"] = set(ARROWS)
PACKAGES = tuple(name for name in ARROWS if name != "har")
CODE = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))] + [
    ROOT / "har.py"
]
WRITTEN = [path for path in CODE if path.stat().st_size]  # an empty package marker says nothing
CORE = {
    "torch",
    "torchvision",
    "opencv-python",
    "matplotlib",
    "tqdm",
    "torchmetrics",
    "mlxtend",
    "jupyter",
}
# come with the core, are imported by us, and so are named for their floors
GUESTS = {"numpy", "pillow", "scipy", "pandas", "scikit-learn", "jinja2", "nbclient", "nbformat"}
# extras, imported by these alone and only inside functions
TESTED = {"tracking.loggers": {"tensorboard", "wandb"}}
OPTIONAL = TESTED | {
    "data.decoding": {"av"},
    "utils.blazepose": {"onnx", "onnxruntime"},
    "utils.exported": {"onnx", "onnxruntime"},
    "experiments.convert_blazepose": {"ai_edge_litert", "tflite"},
}
# what is measured against, on whatever machine has it
RIVALS = {"PIL", "av", "decord", "onnxruntime", "openvino", "torchcodec"}
LONGEST, MOST_PARAMETERS, MOST_POSITIONAL, LONGEST_FILE = 50, 10, 6, 500


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import hides its direction"
            yield node.module


def functions(tree):
    return [
        node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def our_modules(path):
    """The modules of ours that a file imports, also those named by `from package import module`."""
    names = {name_of(path): path for path in CODE}
    found = set(imports(tree_of(path)))
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found & set(names)


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_imports_point_one_way(path):
    mine = name_of(path).split(".")[0]
    bad = {name for name in our_modules(path) if name.split(".")[0] not in ARROWS[mine] | {mine}}
    assert not bad, f"{name_of(path)} imports {sorted(bad)}; {mine} may import {ARROWS[mine]}"


def test_no_imports_go_round():
    """Faces apart: a package's __init__ gathers what its modules define."""
    waiting = {name_of(path): our_modules(path) - {name_of(path)} for path in CODE}
    faces = {name_of(path) for path in CODE if path.name == "__init__.py"}
    while ready := {name for name, needed in waiting.items() if not needed & set(waiting) - faces}:
        waiting = {name: needed for name, needed in waiting.items() if name not in ready}
    assert not waiting, f"these import one another: {sorted(waiting)}"


@pytest.mark.parametrize(
    "package",
    [
        "data",
        "evaluation.statistics",
        "utils.viz",
        "tracking.results",
        "tracking.runs",
        "tracking.page",
        "tracking.notebook",
        "har",
    ],
)
def test_torch_stays_where_tensors_are(package):
    for path in (path for path in CODE if f"{name_of(path)}.".startswith(f"{package}.")):
        tree = _module_level(path) if package == "har" else tree_of(path)
        used = {name.split(".")[0] for name in imports(tree)}
        assert not used & {"torch", "torchvision", "torchmetrics"}, f"{path} imports torch"


def _module_level(path):
    """har.py imports torch inside the verbs that need it; `har.py --help` must not wait for it."""
    return ast.Module(
        [node for node in tree_of(path).body if isinstance(node, (ast.Import, ast.ImportFrom))], []
    )


@pytest.mark.parametrize(
    ("module", "light"),
    [
        ("har", {"torch", "torchvision", "torchmetrics", "matplotlib", "mlxtend", "cv2", "numpy"}),
        (
            "experiments",
            {
                "torchmetrics",
                "matplotlib",
                "mlxtend",
                "scipy",
                "pandas",
                "sklearn",
                "IPython",
                "nbformat",
            },
        ),
    ],
)
def test_what_a_verb_does_not_need_is_not_imported(module, light):
    """Predicting waits for torch and torchvision alone; `har.py --help` for nothing."""
    program = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not light & set(done.stdout.split())


def test_the_training_knows_no_logger():
    assert "loggers" not in (ROOT / "utils" / "engine.py").read_text(encoding="utf-8")


def test_extras_are_in_the_test_extra_too():
    """Their tests run wherever the tests run; those of other optional packages are skipped."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in set().union(*TESTED.values()):
        (line,) = re.findall(rf'^{package} = \["({package}[^"]+)"\]$', text, re.MULTILINE)
        assert f'    "{line}",\n' in text


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_a_module_says_what_it_knows(path):
    assert len(ast.get_docstring(tree_of(path)) or "") > 60


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_functions_are_short_and_take_few_things(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    for node in functions(tree_of(path)):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        positional = [
            arg.arg
            for arg in (*node.args.posonlyargs, *node.args.args)
            if arg.arg not in ("self", "cls")
        ]
        where = f"{path.name}:{node.lineno} {node.name}"
        assert length <= LONGEST, f"{where} has {length} lines"
        assert len(positional) <= MOST_POSITIONAL, f"{where} takes {positional} by position"
        assert len(positional) + len(node.args.kwonlyargs) <= MOST_PARAMETERS, where
        assert not re.search(r"_\d$", node.name), f"{where} is a numbered twin"


def test_requirements_are_the_core_with_a_floor_and_a_cap():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    parsed = [re.fullmatch(r"([a-z0-9-]+)>=([\d.]+),<(\d+)", line) for line in lines]
    assert all(parsed), f"each line is name>=floor,<major: {lines}"
    assert {match[1] for match in parsed} == CORE | GUESTS and len(lines) == len(CORE | GUESTS)
    assert all(int(match[2].split(".")[0]) < int(match[3]) for match in parsed)


def test_nothing_else_is_imported_than_what_is_required():
    allowed = CORE | GUESTS | {"cv2", "PIL", "sklearn", "IPython"}
    allowed -= {"opencv-python", "pillow", "scikit-learn", "jupyter"}
    for path in CODE:
        foreign = {name.split(".")[0] for name in imports(tree_of(path))} - set(
            sys.stdlib_module_names
        )
        optional = OPTIONAL.get(name_of(path), set())
        assert not optional & {name.split(".")[0] for name in imports(_module_level(path))}, (
            f"{path.name}: too early"
        )
        rivals = RIVALS if name_of(path).startswith("benchmarks") else set()
        strange = foreign - set(ARROWS) - allowed - optional - rivals
        assert not strange, f"{path.name} imports {sorted(strange)}"


def test_made_things_are_ignored_in_both_spellings_and_code_is_not():
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split("\n")
    for folder in ("Data", "data"):
        assert {f"/{folder}/KTH*", f"/{folder}/cache/"} <= set(lines)
    too_much = {"data/", "Data/", "/data/", "/Data/", "data", "Data"}
    assert not too_much & set(lines), "on macOS Data/ is data/, which is code"
