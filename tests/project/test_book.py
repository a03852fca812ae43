"""The site as a book: its sections, where its links lead, and that the names it promises exist."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import interpolants
import solvers

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")
TREES = dict(re.findall(r"```\{toctree\}\n:hidden:\n:caption: ([^\n]+)\n\n(.*?)\n```", INDEX, re.DOTALL))
CODE = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"\b(?:interpolants|solvers|backbone)(?:\.\w+)+")


def pages(folder):
    """Return the names of the pages of a folder, as toctrees write them."""
    return {f"{folder}/{page.stem}" for page in (DOCS / folder).glob("*.md")}


def resolve(name):
    """Return what a dotted name means, importing modules on the way."""
    found = importlib.import_module(name.partition(".")[0])
    for end in range(2, name.count(".") + 2):
        path = ".".join(name.split(".")[:end])
        last = path.rpartition(".")[2]
        found = getattr(found, last) if hasattr(found, last) else importlib.import_module(path)
    return found


def rows(page, first):
    """Return the cells of all table rows of a page whose first cell matches."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]
    return [row for row in cells if re.search(first, row[0])]


def test_the_index_has_the_seven_sections_and_every_page_once():
    """Tutorials to Decisions, in this order; each page of docs in one section, and no page that does not exist."""
    wanted = ["Tutorials", "How-to", "Explanation", "Derivations", "Measurements", "Reference", "Decisions"]
    assert [name for name in TREES if name in wanted] == wanted
    listed = [page for tree in TREES.values() for page in tree.split() if (DOCS / f"{page}.md").exists()]
    assert len(listed) == len(set(listed))
    top = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    missing = (top | pages("tutorials") | pages("howto")) - set(listed)
    assert not missing
    assert pages("tutorials") <= set(TREES["Tutorials"].split())
    assert pages("howto") <= set(TREES["How-to"].split())


def test_the_index_answers_the_four_first_questions_with_pages():
    """wKL, t = 1, ten evaluations, own sampler: each has a row whose page exists and names what is asked for."""
    answers = {
        "wKL": ("howto/w", "diffusion.KL()"),
        "t = 1": ("howto/endpoints", "problem.poles"),
        "10 evaluations": ("howto/solver", "Ten evaluations"),
        "my own sampler": ("howto/check", "measure_order"),
    }
    for question, (page, word) in answers.items():
        (row,) = [line for line in INDEX.splitlines() if line.startswith("| ") and question in line]
        assert f"{{doc}}`{page}`" in row
        assert word in (DOCS / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(pages("tutorials")))
def test_a_tutorial_is_short_and_runs(page):
    """At most 130 lines, five minutes of reading, with examples that the documentation's doctests run."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    assert re.search(r"```\{(testcode|doctest)\}", text)
    assert "```{testoutput}" in text or "```{doctest}" in text


@pytest.mark.parametrize("page", ["reference/migration.md", "reference/failures.md", "founding.md"])
def test_every_name_of_ours_exists(page):
    """Every dotted name of the three packages in the code of the page resolves."""
    text = (DOCS / page).read_text(encoding="utf-8")
    names = {name for code in CODE.findall(text) for name in DOTTED.findall(code)}
    assert len(names) >= (60 if "migration" in page else 3)
    for name in names:
        resolve(name)


def test_a_name_that_does_not_exist_is_seen():
    """The test above can fail."""
    with pytest.raises((AttributeError, ModuleNotFoundError)):
        resolve("solvers.Hein")
    with pytest.raises((AttributeError, ModuleNotFoundError)):
        resolve("interpolants.published.sit_ode")


def test_migration_has_a_row_for_each_of_the_common_calls():
    """The calls that the four projects' own examples begin with are in the first column."""
    calls = """create_transport training_losses sample_ode sample_sde sample_ode_likelihood forward_with_cfg
        CondOTProbPath CosineScheduler VPScheduler ODESolver compute_likelihood odeint odeint_adjoint odeint_event
        sdeint diffeqsolve DDPMScheduler DDIMScheduler DPMSolverMultistepScheduler UniPCMultistepScheduler add_noise
        v_prediction FlowMatchEulerDiscreteScheduler"""
    first = " ".join(row[0] for row in rows("reference/migration.md", "`"))
    assert [call for call in calls.split() if call not in first] == []


def test_the_table_of_conventions_has_every_peer():
    """Each comparable project has a row in both tables: time, interpolant and sign; predictions and the noise in w."""
    lines = (DOCS / "conventions.md").read_text(encoding="utf-8").partition("## Other projects")[2].splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]
    table, second = ({row[0]: row for row in cells if len(row) == columns} for columns in (4, 3))
    peers = """SiT, paper|SiT, code|LightningDiT|REPA|Edifice|MeanFlow|DiT|diffusers|DPM-Solver|k-diffusion|edm2|EDM
        |sCM|flow_matching|torchcfm|stochastic-interpolants|azula|hackable_diffusion|torchdiffeq|torchsde|diffrax"""
    for peer in peers.split("|"):
        assert any(peer.strip() in name for name in table), peer
    assert list(table) == list(second)
    assert all(cell for row in (*table.values(), *second.values()) for cell in row)


def test_citation_is_valid_and_names_this_version():
    """CITATION.cff parses, has the keys that version 1.2.0 requires, and the version and licence of pyproject."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "version", "license", "type"} <= set(citation)
    assert str(citation["version"]) == project["version"]
    assert citation["license"] == project["license"]
    assert all({"name"} <= set(author) or {"family-names"} <= set(author) for author in citation["authors"])
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert all(re.fullmatch(r"arXiv:\d{4}\.\d{5}", entry["value"]) for entry in reference["identifiers"])


def test_readme_is_short_and_leads_to_pages_that_exist():
    """At most 120 lines; every relative link is a file; the two commands are targets of the Makefile."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert len(links) >= 12
    assert [link for link in links if not (ROOT / link).exists()] == []
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{name}:", targets, re.MULTILINE) for name in ("demo", "test", "docs"))


def test_recipes_name_files_that_exist():
    """Every file and folder that CONTRIBUTING.md names is there, but for what a reader is to write."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for recipe in ("A schedule", "A choice of w", "A solver", "A target", "A prediction"):
        section = text.partition(f"### {recipe}\n")[2].partition("\n##")[0]
        assert section.count("by themselves") == 1, recipe
    names = {name for name in CODE.findall(text) if re.fullmatch(r"[\w/]+\.(py|md)|[\w/]+/", name)}
    known = {path.name for path in ROOT.glob("tests/**/*.py")}
    assert [name for name in names if not (ROOT / name).exists() and name not in known] == []


def test_the_pages_send_a_newcomer_to_public_names():
    """Names imported in tutorials and how-tos from the top of a package are public there."""
    text = "\n".join((DOCS / f"{page}.md").read_text(encoding="utf-8") for page in pages("tutorials") | pages("howto"))
    for package in (interpolants, solvers):
        for names in re.findall(rf"^(?:>>> )?\s*from {package.__name__} import ([\w, ]+)$", text, re.MULTILINE):
            assert set(names.replace(",", " ").split()) <= set(package.__all__)
