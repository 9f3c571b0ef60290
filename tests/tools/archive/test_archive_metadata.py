"""The metadata of an archive: RO-Crate, Croissant, model card and checklists, read back from the file."""

import csv
import json
import re
import zipfile
from collections import Counter
from hashlib import sha256
from pathlib import Path
from posixpath import join, normpath
from typing import Any

import pytest
from markdown_it import MarkdownIt
from support.archives import TASKS, contents_of
from support.project import ROOT, change_params, commit, run

from stages.core.errors import UserError
from stages.core.params import read_yaml
from stages.tools.archive.crate_graph import media_type
from stages.tools.archive.forms import ITEMS, OPEN

Entity = dict[str, Any]
each_task = pytest.mark.parametrize("task", TASKS)
FORMS = read_yaml(ITEMS)


@pytest.fixture(scope="module")
def files(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture(scope="module")
def graph(files: dict[str, bytes]) -> dict[str, Entity]:
    entities = json.loads(files["ro-crate-metadata.json"])["@graph"]
    graph = {entity["@id"]: entity for entity in entities}
    assert len(graph) == len(entities)
    return graph


def references(value: Any) -> set[str]:
    """Return the identifiers to which a value refers."""
    if isinstance(value, dict):
        return {value["@id"]} if set(value) == {"@id"} else set()
    return (
        {name for item in value for name in references(item)} if isinstance(value, list) else set()
    )


def types(entity: Entity) -> set[str]:
    kind = entity["@type"]
    return {kind} if isinstance(kind, str) else {*kind}


def of_type(graph: dict[str, Entity], name: str) -> list[Entity]:
    return [entity for entity in graph.values() if name in types(entity)]


# --- RO-Crate
def test_every_reference_of_the_crate_leads_to_an_entity(graph: dict[str, Entity]) -> None:
    outside = ("https://w3id.org/ro/crate/",)
    for entity in graph.values():
        for value in entity.values():
            assert {
                name for name in references(value) if not name.startswith(outside)
            } <= graph.keys()


def test_every_file_of_the_archive_is_in_the_crate_with_its_hash(
    graph: dict[str, Entity], files: dict[str, bytes]
) -> None:
    about = {"ro-crate-metadata.json", "manifest-sha256.txt"}
    described = {name: entity for name, entity in graph.items() if "File" in types(entity)}
    names = {
        name.replace("%20", " ").replace("%C3%A9", "\u00e9").replace("%26", "&")
        for name in described
    }
    assert names == files.keys() - about
    for name, entity in described.items():
        if "%" not in name:
            assert entity["sha256"] == sha256(files[name]).hexdigest()
            assert entity["contentSize"] == str(len(files[name]))
    assert {*references(graph["./"]["hasPart"])} == described.keys()


def test_the_crate_declares_its_profiles(graph: dict[str, Entity], archived: Path) -> None:
    root, descriptor = graph["./"], graph["ro-crate-metadata.json"]
    assert descriptor["about"] == {"@id": "./"}
    assert references(descriptor["conformsTo"]) >= {"https://w3id.org/ro/crate/1.1"}
    assert {
        f"https://w3id.org/ro/wfrun/{name}/0.5" for name in ("process", "workflow", "provenance")
    } < (references(root["conformsTo"]))
    workflow = graph[root["mainEntity"]["@id"]]
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"} == types(workflow)
    assert root["name"] == "Toy pipeline"
    assert root["identifier"] == run(archived / "toy", "git", "rev-parse", "HEAD").stdout.strip()
    assert graph[root["author"]["@id"]]["name"] == "A Tester"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", root["datePublished"])


def test_each_stage_is_a_step_a_run_and_its_control(graph: dict[str, Entity]) -> None:
    stages = {f"{stage}@{task}" for stage in ("prepare", "train") for task in TASKS}
    workflow = graph["repository/dvc.yaml"]
    steps = [graph[name] for name in references(workflow["step"])]
    assert {step["name"] for step in steps} == stages
    for step in steps:
        stage = step["name"]
        (control,) = [
            entity
            for entity in of_type(graph, "ControlAction")
            if entity["instrument"] == {"@id": step["@id"]}
        ]
        action = graph[control["object"]["@id"]]
        assert action["name"] == f"Run of {stage}"
        assert action["instrument"] == step["workExample"]
        assert references(action["instrument"]) <= references(workflow["hasPart"])
    (engine,) = of_type(graph, "OrganizeAction")
    assert engine["result"] == {"@id": "#run"}
    assert references(engine["object"]) == {
        entity["@id"] for entity in of_type(graph, "ControlAction")
    }


def test_a_run_names_code_inputs_outputs_and_machine(graph: dict[str, Entity]) -> None:
    train = graph["#run/train%40image"]
    assert train["description"] == "python -m toy.train image"
    assert train["instrument"] == {"@id": "repository/toy/train.py"}
    assert {
        "#data/prepare/image",
        "repository/toy/train.py",
        "repository/params.yaml",
    } == references(train["object"])
    assert references(train["result"]) == {"#data/train/image"}
    weights = [graph[name] for name in references(graph["#data/train/image"]["hasPart"])]
    names = [entity["alternateName"] for entity in weights]
    assert "data/train/image" in names
    assert "data/train/image/weights-0.safetensors" in names
    assert ["data/train/image/log.csv", "data/train/sentiment/log.csv"] in names  # one object
    machine = {
        graph[name]["name"]: graph[name]["value"] for name in references(train["resourceUsage"])
    }
    recorded = json.loads((ROOT / "evidence/machine.json").read_text())["image"]["machine"]
    assert machine == {key: str(value) for key, value in recorded.items()}
    # A program that is no module of the archive.
    assert (
        graph[graph["#run/prepare%40image"]["instrument"]["@id"]]["name"]
        == "python toy/prepare.py image"
    )


def test_the_whole_run_reads_what_no_stage_makes(graph: dict[str, Entity]) -> None:
    whole = graph["#run"]
    assert references(whole["object"]) == {
        "#photos",
        "repository/params.yaml",
        "repository/toy/prepare.py",
        "repository/toy/train.py",
    }
    assert references(whole["result"]) >= {"#data/train/image", "#data/train/sentiment"}
    assert graph["#photos"]["identifier"].startswith("md5 ")


def test_media_types_do_not_depend_on_the_system() -> None:
    assert media_type("a/b.PNG") == "image/png"
    assert media_type("x.unknown") == media_type("Makefile") == "application/octet-stream"


def test_a_repository_without_a_pipeline_has_no_workflow(archived_toy: Path) -> None:
    for name in ("dvc.yaml", "dvc.lock", "params.yaml"):
        (archived_toy / name).unlink()
    commit(archived_toy, "data only")
    (crate,) = [
        item
        for item in contents_of(archived_toy).members()
        if item.name.endswith("crate-metadata.json")
    ]
    assert isinstance(crate.content, bytes)
    graph = {entity["@id"]: entity for entity in json.loads(crate.content)["@graph"]}
    assert "mainEntity" not in graph["./"]
    assert not of_type(graph, "ComputationalWorkflow")
    assert graph["ro-crate-metadata.json"]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}


# --- Croissant
@pytest.fixture(scope="module")
def croissants(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    return {task: json.loads(files[f"tasks/{task}/croissant.json"]) for task in TASKS}


@each_task
def test_croissant_names_files_that_are_there(
    task: str, croissants: dict[str, dict[str, Any]], files: dict[str, bytes]
) -> None:
    distribution = croissants[task]["distribution"]
    assert {item["@id"] for item in distribution} >= {"samples.csv"}
    for item in distribution:
        content = files[normpath(join(f"tasks/{task}", item["contentUrl"]))]
        assert item["sha256"] == sha256(content).hexdigest()
        assert item["contentSize"] == f"{len(content)} B"


@each_task
def test_the_columns_of_croissant_are_those_of_the_tables(
    task: str, croissants: dict[str, dict[str, Any]], files: dict[str, bytes]
) -> None:
    urls = {item["@id"]: item["contentUrl"] for item in croissants[task]["distribution"]}
    names = {record["name"] for record in croissants[task]["recordSet"]}
    assert names == {"samples", "classes"} | (
        {"texts", "raw_files"} if task == "sentiment" else set()
    )
    for record in croissants[task]["recordSet"]:
        for field in record["field"]:
            assert field["@id"] == f"{record['@id']}/{field['name']}"
            if "source" in field:
                table = files[
                    normpath(join(f"tasks/{task}", urls[field["source"]["fileObject"]["@id"]]))
                ]
                header = next(csv.reader(table.decode().splitlines()))
                assert field["source"]["extract"]["column"] in header


def test_croissant_says_what_the_dataset_note_says(croissants: dict[str, dict[str, Any]]) -> None:
    note = json.loads((ROOT / "evidence/image/data/dataset_note.json").read_text())
    image = croissants["image"]
    assert image["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert image["license"] == "https://creativecommons.org/licenses/by/4.0/"
    assert note["origin"] in image["description"]
    (classes,) = [record for record in image["recordSet"] if record["name"] == "classes"]
    assert [row["classes/name"] for row in classes["data"]] == note["classes"]
    assert [row["classes/index"] for row in classes["data"]] == list(range(10))
    assert image["creator"]["name"].startswith(OPEN)


def test_the_table_of_raw_files_holds_their_hashes(files: dict[str, bytes]) -> None:
    raw = "data/raw/sentiment/reviews.csv"
    (row,) = csv.DictReader(files["tasks/sentiment/raw_files.csv"].decode().splitlines())
    content = (ROOT / raw).read_bytes()
    assert row == {
        "path": raw,
        "member": f"repository/{raw}",
        "bytes": str(len(content)),
        "sha256": sha256(content).hexdigest(),
    }


@each_task
def test_mlcroissant_accepts_the_metadata_and_reads_the_samples(
    task: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    dataset = mlcroissant.Dataset(jsonld=str(tmp_path / f"tasks/{task}/croissant.json"))
    records = [*dataset.records(record_set="samples")]
    assert [record["samples/id"] for record in records] == [b"a", b"b"]
    assert [record["samples/label"] for record in records] == [0, 1]


def test_data_that_dvc_tracks_are_described_by_their_place_in_the_cache(archived_toy: Path) -> None:
    change_params(
        archived_toy,
        lambda params: params["tasks"]["image"]["prepare"].update(source="folder", path="photos/"),
    )
    commit(archived_toy, "a folder that DVC tracks")
    contents = contents_of(archived_toy)
    members = {member.name: member for member in contents.members()}
    content = members["tasks/image/raw_files.csv"].content
    assert isinstance(content, bytes)
    rows = [*csv.DictReader(content.decode().splitlines())]
    assert [row["path"] for row in rows] == ["photos/one.txt", "photos/two words.txt"]
    for row in rows:
        assert members[row["member"]].sha256 == row["sha256"]
    assert contents.description()["tasks"]["image"]["raw_data_in_archive"] is True
    assert not any("image:" in note for note in contents.left_out())
    without = contents_of(archived_toy, data=False)
    assert without.description()["tasks"]["image"]["raw_data_in_archive"] is False
    assert any(
        note.startswith("image: no data; the raw data are left out") for note in without.left_out()
    )


# --- checklists and model card
def test_reforms_has_its_32_items_and_neurips_its_16_questions() -> None:
    modules = {
        "1": "abc",
        "2": "abcde",
        "3": "abcdefg",
        "4": "abc",
        "5": "abcdef",
        "6": "abc",
        "7": "abc",
        "8": "ab",
    }
    expected = [module + letter for module, letters in modules.items() for letter in letters]
    assert [item["id"] for item in FORMS["REFORMS"]["items"]] == expected
    assert len(expected) == 32
    assert [item["id"] for item in FORMS["NeurIPS"]["items"]] == [str(n) for n in range(1, 17)]


@pytest.mark.parametrize("form", FORMS)
def test_every_item_can_be_answered(form: str) -> None:
    items = FORMS[form]["items"]
    assert max(Counter(item["id"] for item in items).values()) == 1
    for item in items:
        assert set(item) <= {"section", "id", "item", "answer", "person"}
        assert item.get("answer") or item.get("person"), item["id"]


@each_task
@pytest.mark.parametrize("form", FORMS)
def test_every_item_stands_once_in_its_file(form: str, task: str, files: dict[str, bytes]) -> None:
    text = files[f"tasks/{task}/{FORMS[form]['file']}"].decode()
    rows = re.findall(r"^- \*\*(.*?)\*\*: (.*)$", text, re.MULTILINE)
    titles = [
        f"{item['id']}: {item['item']}" if item["id"][0].isdigit() else item["item"]
        for item in FORMS[form]["items"]
    ]
    assert Counter(title.replace("\\", "") for title, _ in rows) == Counter(titles)
    assert all(answer.strip() for _, answer in rows)
    count = sum(OPEN in answer for _, answer in rows)
    assert f"**{count} of {len(rows)} items are open**" in text


def reforms(text: str) -> dict[str, str]:
    """Return the answers of a form by the number of the item."""
    return {
        name: answer.replace("\\", "")
        for name, answer in re.findall(r"^- \*\*(\w+): .*?\*\*: (.*)$", text, re.MULTILINE)
    }


def test_answers_are_those_of_the_evidence(files: dict[str, bytes], archived: Path) -> None:
    answers = reforms(files["tasks/image/REFORMS.md"].decode())
    note = json.loads((ROOT / "evidence/image/data/dataset_note.json").read_text())
    record = json.loads((ROOT / "evidence/image/record.json").read_text())
    head = run(archived / "toy", "git", "rev-parse", "HEAD").stdout.strip()
    assert note["raw_sha256"] in answers["2a"]
    assert answers["2b"].startswith(f"Commit {head}")
    assert "1 packages, pinned by hash" in answers["2b"]
    assert answers["3e"].startswith(f"{note['counts']['train']} training")
    assert record["questions"]["metric"] in answers["7b"]
    assert answers["1a"].startswith(OPEN)
    assert OPEN not in answers["2a"] + answers["5c"] + answers["6b"]
    # Evidence answers in part: what a person must add is open.
    assert note["origin"] in answers["3a"]
    assert OPEN in answers["3a"]


def test_an_item_without_its_evidence_is_open(archived_toy: Path) -> None:
    """Nothing is invented: without the dataset note and the record nothing is said of them."""
    (archived_toy / "evidence/image/data/dataset_note.json").unlink()
    (archived_toy / "evidence/machine.json").write_text("[]")
    commit(archived_toy, "no note")
    form = contents_of(archived_toy).forms["image"]["REFORMS"]
    items = {item.id: item for item in form.items}
    for name in ("2a", "2c", "3a", "3d", "3e", "4a", "5c", "6b", "8a"):
        assert items[name].answer == ""
        assert items[name].is_open


def test_people_answer_in_a_file_of_their_own(archived_toy: Path) -> None:
    answers = archived_toy / "data/review/image-answers.md"
    answers.parent.mkdir(parents=True)
    answers.write_text(
        "# Answers\n\n## REFORMS 1a\n\nDigits *written* by hand.\n\n## Model card primary uses\n\n"
        "<!-- later -->\n\n## Data set creator\n\nE. Alpaydin and C. Kaynak\n"
    )
    commit(archived_toy, "answers")
    contents = contents_of(archived_toy)
    forms = {
        name: {item.id: item for item in form.items}
        for name, form in contents.forms["image"].items()
    }
    assert forms["REFORMS"]["1a"].text() == "A person adds: Digits *written* by hand."
    assert not forms["REFORMS"]["1a"].is_open
    assert forms["Model card"]["primary uses"].is_open
    members = {member.name: member for member in contents.members()}
    croissant = members["tasks/image/croissant.json"].content
    assert isinstance(croissant, bytes)
    assert json.loads(croissant)["creator"]["name"] == "E. Alpaydin and C. Kaynak"
    answers.write_text("## REFORMS 1aa\n\nwrong\n")
    commit(archived_toy, "wrong")
    with pytest.raises(UserError, match=r"no form has the item 'REFORMS 1aa'; .* 'REFORMS 1a'"):
        contents_of(archived_toy)


def test_text_of_the_data_cannot_pose_as_markdown(archived_toy: Path) -> None:
    path = archived_toy / "evidence/image/data/dataset_note.json"
    note = json.loads(path.read_text())
    note["origin"] = (
        "a\n\n## Fake heading\n\n<script>alert(1)</script> \x1b[2J [x](http://example.invalid)"
    )
    path.write_text(json.dumps(note))
    commit(archived_toy, "hostile")
    members = {member.name: member for member in contents_of(archived_toy).members()}
    for name in ("REFORMS.md", "MODEL_CARD.md", "DATA_SET.md"):
        text = members[f"tasks/image/{name}"].content
        assert isinstance(text, bytes)
        assert b"\x1b" not in text
        page = MarkdownIt().render(text.decode())
        assert "alert(1)" in page
        assert "<script" not in page
        assert "<a " not in page
        assert "Fake heading</h2>" not in page


def test_the_model_card_has_results_and_weights(files: dict[str, bytes]) -> None:
    text = files["tasks/image/MODEL_CARD.md"].decode().replace("\\", "")
    metrics = json.loads((ROOT / "evidence/image/data/metrics.json").read_text())
    assert re.search(rf"^\| model \| {metrics['current']['accuracy']:g} \|", text, re.MULTILINE)
    for name in metrics["baselines"]:
        assert f"\n| {name} | " in text
    digest = sha256(b"weights of image").hexdigest()
    assert re.search(
        rf"^\| data/train/image/weights-0.safetensors \| 16 \| {digest} \| cache/files/md5/",
        text,
        re.MULTILINE,
    )
