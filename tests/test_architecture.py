"""What holds the house up: directions of imports, sizes of functions, docstrings, dependencies, the
README's duties."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.training import EXPERIMENTS
from tracking.results import check_tables

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("data", "models", "utils")
BENCHMARKS = sorted(
    path for path in (ROOT / "benchmarks").glob("*.py") if path.name != "__init__.py"
)
TOP = ("crossval", "experiments", "har", "pretrain")
IN_PACKAGES = [path for package in PACKAGES for path in sorted((ROOT / package).glob("*.py"))]
CODE = [path for path in IN_PACKAGES if path.name != "__init__.py"] + [
    ROOT / f"{name}.py" for name in TOP
]
HELD_TO_STYLE = [*CODE, *BENCHMARKS]
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
GUESTS = {
    "numpy",
    "scipy",
    "pandas",
    "jinja2",
    "nbclient",
    "nbformat",
}  # come with the core; named for their floors
OPTIONAL = {
    "tracking.loggers": {"tensorboard", "wandb"}
}  # extras, imported by one module and only inside functions
LONGEST, MOST_PARAMETERS = 50, 6  # a private helper may take one more

# module or package -> what of ours it may import; a package's entry holds for the modules without
# one
MAY_IMPORT = {
    "data.kth": set(),
    "data.download": {"data"},
    "data.folds": {"data.kth"},
    "data": {"data"},
    "models": {"models"},
    "utils.data_setup": {"data.kth", "utils.parallel"},
    "utils.engine": {"utils.data_setup", "utils.parallel"},
    "utils.store": {"data.kth"},
    "utils.features": {"data.kth", "utils.data_setup", "utils.parallel", "utils.store"},
    "utils.predict": {"data.kth", "utils.data_setup", "utils.features"},
    "tracking.runs": {"tracking.results"},
    "tracking.report": {"data.kth", "utils"},
    "utils": set(),  # evidence, loggers, metrics, notebook, parallel, report, tracking, viz
}


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


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


@pytest.mark.parametrize("path", [p for p in CODE if p.parent != ROOT], ids=name_of)
def test_imports_point_one_way(path):
    module = name_of(path)
    allowed = MAY_IMPORT.get(module, MAY_IMPORT[module.split(".")[0]])
    ours = {name for name in imports(tree_of(path)) if name.split(".")[0] in (*PACKAGES, *TOP)}
    bad = {name for name in ours if name not in allowed and name.split(".")[0] not in allowed}
    assert not bad, (
        f"{module} imports {sorted(bad)}; it may import {sorted(allowed) or 'none of ours'}"
    )


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
    for path in (path for path in CODE if (name_of(path) + ".").startswith(package + ".")):
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


def test_nobody_imports_the_command_line():
    assert not [path for path in CODE if "har" in set(imports(tree_of(path)))]


def test_the_training_knows_no_logger():
    assert "loggers" not in (ROOT / "utils" / "engine.py").read_text(encoding="utf-8")


def test_extras_are_in_the_test_extra_too():
    """Their tests run wherever the tests run."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in set().union(*OPTIONAL.values()):
        (line,) = re.findall(rf'^{package} = \["({package}[^"]+)"\]$', text, re.MULTILINE)
        assert f'    "{line}",\n' in text


def test_nobody_but_the_command_line_knows_the_benchmarks():
    knowing = {
        name_of(path)
        for path in CODE
        if any(n.startswith("benchmarks") for n in imports(tree_of(path)))
    }
    assert knowing <= {"har"}


@pytest.mark.parametrize("path", HELD_TO_STYLE, ids=name_of)
def test_a_module_says_what_it_knows(path):
    assert len(ast.get_docstring(tree_of(path)) or "") > 60


@pytest.mark.parametrize("path", HELD_TO_STYLE, ids=name_of)
def test_functions_are_short_and_take_few_things(path):
    for node in functions(tree_of(path)):
        body = node.body[1:] if ast.get_docstring(node) else node.body
        length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        positional = [
            arg.arg
            for arg in (*node.args.posonlyargs, *node.args.args)
            if arg.arg not in ("self", "cls")
        ]
        assert length <= LONGEST, f"{path.name}:{node.lineno} {node.name} has {length} lines"
        most = MOST_PARAMETERS + node.name.startswith("_")
        assert len(positional) <= most, f"{path.name}:{node.lineno} {node.name} takes {positional}"
        assert not re.search(r"_\d$", node.name), (
            f"{path.name}:{node.lineno} {node.name} is a numbered twin"
        )


def test_the_package_markers_are_empty():
    for package in PACKAGES:
        assert (ROOT / package / "__init__.py").read_text(encoding="utf-8") == ""


def test_requirements_are_the_core_with_a_floor_and_a_cap():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    parsed = [re.fullmatch(r"([a-z0-9-]+)>=([\d.]+),<(\d+)", line) for line in lines]
    assert all(parsed), f"each line is name>=floor,<major: {lines}"
    assert {match[1] for match in parsed} == CORE | GUESTS and len(lines) == len(CORE | GUESTS)
    assert all(int(match[2].split(".")[0]) < int(match[3]) for match in parsed)


def test_nothing_else_is_imported_than_what_is_required():
    allowed = CORE - {"opencv-python", "jupyter"} | {"cv2"} | GUESTS
    allowed |= {"filelock"}  # comes with torch
    for path in CODE:
        foreign = {name.split(".")[0] for name in imports(tree_of(path))} - set(
            sys.stdlib_module_names
        )
        optional = OPTIONAL.get(name_of(path), set())
        assert not optional & {name.split(".")[0] for name in imports(_module_level(path))}, (
            f"{path.name}: too early"
        )
        strange = foreign - {*PACKAGES, *TOP, "benchmarks"} - allowed - optional
        assert not strange, f"{path.name} imports {sorted(strange)}"


def test_the_readme_has_its_sections():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    headings = " / ".join(line for line in text.splitlines() if line.startswith("#")).lower()
    wanted = (
        "summary",
        "structure",
        "quickstart",
        "reproduce",
        "results and observations",
        "next steps",
        "licen",
    )
    for section in wanted:
        assert section in headings, f"README.md has no section on {section!r}"
    for needed in ("make notebook", "make test", "islam_shahriar@hotmail.com", "Schuldt", "MIT"):
        assert needed in text, f"README.md does not mention {needed!r}"


def test_the_readme_names_only_files_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = "|".join((*PACKAGES, *TOP, "tests", "benchmarks"))
    named = set(re.findall(rf"`((?:{places})(?:/[\w./]+)?(?:\.py)?)`", text))
    missing = [
        name for name in named if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()
    ]
    assert not missing


def test_the_readmes_tables_say_what_the_results_say():
    assert check_tables(ROOT / "README.md", ROOT / "results", tuple(EXPERIMENTS)) == [], (
        "run `python har.py results`"
    )


def test_made_things_are_ignored_in_both_spellings_and_code_is_not():
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").split("\n")
    for folder in ("Data", "data"):
        assert {f"/{folder}/KTH*", f"/{folder}/cache/"} <= set(lines)
    too_much = {"data/", "Data/", "/data/", "/Data/", "data", "Data"}
    assert not too_much & set(lines), "on macOS Data/ is data/, which is code"
