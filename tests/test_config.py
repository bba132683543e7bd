import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from discovery.cli import main
from discovery.config import load_config
from discovery.errors import BadInput

TINY = (Path(__file__).parent / "walk/tiny.toml").read_text()
SHIPPED = sorted((Path(__file__).parents[1] / "runs").glob("*.toml"))


ON_DISK = '[[survey]]\nkind = "folder"\nname = "mine"\npath = "{}"\n\n'


def on_disk(path, evidence="[evidence]\ncompare_without_synthetic = false\n"):
    """The tiny run file with a folder for its mock survey."""
    begin, end = TINY.index("[[survey]]"), TINY.index("[generator]")
    return TINY[:begin] + ON_DISK.replace("{}", path) + TINY[end:] + "\n" + evidence


def load(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return load_config(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_run_files_are_valid(path):
    assert load_config(path).name == path.stem


def test_a_configuration_is_frozen(tmp_path):
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, TINY).seed = 2


@pytest.mark.parametrize(
    ("section", "known"),
    [
        ("[detector]", "artefacts, augment, balanced_beta, batch"),
        ("[generator]", "accumulate, balance, batch"),
        ("[[survey]]", "kind, name, published_elsewhere, quarry_fraction"),
        ("[synthesis]", "batch, coherence, critic_images, guidance"),
        ("[catalogue]", "acknowledgements, acronym"),
    ],
)
def test_an_unknown_key_is_refused_with_those_that_are_known(tmp_path, section, known):
    name = section.strip("[]")
    with pytest.raises(BadInput, match=rf"{name}.*bach: unknown key; known here: {known}"):
        load(tmp_path, TINY.replace(section, f"{section}\nbach = 3", 1))


def test_one_mistake_in_the_only_survey_is_told_once(tmp_path):
    with pytest.raises(BadInput) as refused:
        load(tmp_path, TINY.replace("train = 60", "train = -1", 1))
    assert [line.split(":")[0] for line in str(refused.value).splitlines()[1:]] == [
        "  survey.0.train"
    ]


def test_an_unknown_section_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"detektor: unknown key; known here: captions, catalogue"):
        load(tmp_path, TINY + "\n[detektor]\nsize = 64\n")


def test_an_unknown_key_of_a_part_of_the_detector_is_refused(tmp_path):
    said = r"detector\.painted\.cuont: unknown key; known here: axis_ratio, contrast, control_share"
    with pytest.raises(BadInput, match=said):
        load(tmp_path, TINY + "\n[detector.painted]\ncuont = 3\n")


def test_painted_positives_are_something_to_compare_with(tmp_path):
    alone = on_disk("../somewhere", "[evidence]\ncompare_without_synthetic = true\n")
    with pytest.raises(BadInput, match="has no positive to learn from"):
        load(tmp_path, alone)
    assert load(tmp_path, alone + "\n[detector.painted]\ncount = 3\n").detector.painted.count == 3


def test_an_unknown_caption_rule_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"captions\.smoooth: unknown key; known here: arms_number"):
        load(tmp_path, TINY + "\n[captions]\nsmoooth = 0.4\n")


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"catalogue\.title: missing"):
        load(tmp_path, re.sub(r"title = .*", "", TINY))


def test_a_wrong_value_is_shown(tmp_path):
    with pytest.raises(BadInput, match=r"detector\.size: .*greater than or equal to 16.*given: 8"):
        load(tmp_path, TINY.replace("size = 32", "size = 8"))


def test_a_negative_number_of_galaxies_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"survey\.0\.train: .*given: -1"):
        load(tmp_path, TINY.replace("train = 60", "train = -1"))


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_that_is_needed_and_empty_is_refused(tmp_path, split):
    text = re.sub(rf"^{split} = \d+", f"{split} = 0", TINY, flags=re.M)
    with pytest.raises(BadInput, match=rf"{split} is 0 in every \[\[survey\]\]"):
        load(tmp_path, text)


def test_a_generator_alone_needs_no_validation_split(tmp_path):
    text = TINY[: TINY.index("[synthesis]")].replace("validation = 40", "validation = 0")
    assert load(tmp_path, text).survey[0].validation == 0


def test_an_error_of_the_whole_file_does_not_print_the_file(tmp_path):
    with pytest.raises(BadInput) as refused:
        load(tmp_path, TINY[: TINY.index("[catalogue]")])
    assert str(refused.value).endswith(
        "run.toml:\n  run file: give both [synthesis] and [catalogue] to search, or neither"
    )


def test_two_surveys_of_one_name_are_refused(tmp_path):
    twice = TINY.replace("[generator]", '[[survey]]\nkind = "mock"\nname = "mock"\n[generator]')
    with pytest.raises(BadInput, match="two surveys are named 'mock'"):
        load(tmp_path, twice)


def test_a_mock_survey_stands_alone(tmp_path):
    text = TINY.replace("[generator]", ON_DISK + "[generator]")
    with pytest.raises(BadInput, match="'mock' stands beside others; the judge needs the truth"):
        load(tmp_path, text)


def test_a_comparison_without_a_real_positive_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"set compare_without_synthetic = false under \[evidence\]"):
        load(tmp_path, on_disk("/a", evidence=""))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "tiny"', 'name = ".."'),
        ('name = "mock"', 'name = ".hidden"'),
        ('name = "mock"', 'name = "parts"'),
        ("[catalogue]", "[cluster]\nclusters = 0\n[catalogue]"),
    ],
)
def test_a_name_that_is_no_name_and_a_number_that_is_none(tmp_path, old, new):
    where = "'parts'" if "parts" in new else r"\.hidden|'\.\.'|given: 0"
    with pytest.raises(BadInput, match=where):
        load(tmp_path, TINY.replace(old, new))


def test_synthesis_and_catalogue_go_together(tmp_path):
    cut = TINY[: TINY.index("[catalogue]")]
    with pytest.raises(BadInput, match=r"give both \[synthesis\] and \[catalogue\]"):
        load(tmp_path, cut)


def test_a_kind_of_survey_that_does_not_exist_names_those_that_do(tmp_path):
    with pytest.raises(BadInput, match="'gz2', 'folder', 'mock'"):
        load(tmp_path, TINY.replace('kind = "mock"', 'kind = "mook"'))


def test_a_kind_of_generator_that_does_not_exist_names_those_that_do(tmp_path):
    wrong = TINY.replace("[generator]", '[generator]\nkind = "gan"')
    with pytest.raises(BadInput, match=r"generator: no such kind of generator; known: pixel, stable"
                       r"-diffusion, ddpm, sagan \(given: 'gan'\)"):  # fmt: skip
        load(tmp_path, wrong)


def test_keys_of_another_kind_of_generator_are_refused(tmp_path):
    wrong = TINY.replace("[generator]", '[generator]\nkind = "stable-diffusion"')
    with pytest.raises(BadInput, match=r"generator\.patch: unknown key; known here: accumulate"):
        load(tmp_path, wrong)
    with pytest.raises(BadInput, match=r"generator\.classes: missing"):
        load(tmp_path, TINY.replace("[generator]", '[generator]\nkind = "ddpm"'))


def test_variables_stand_for_folders(tmp_path, monkeypatch):
    text = on_disk("${SKY_OF_MINE:-/else}/a")
    assert str(load(tmp_path, text).survey[0].path) == "/else/a"
    monkeypatch.setenv("SKY_OF_MINE", "/here")
    assert str(load(tmp_path, text).survey[0].path) == "/here/a"


def test_a_variable_without_value_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("SKY_OF_MINE", raising=False)
    with pytest.raises(BadInput, match="export SKY_OF_MINE="):
        load(tmp_path, on_disk("${SKY_OF_MINE}/a"))


def test_no_file_and_no_toml(tmp_path):
    with pytest.raises(BadInput, match="no run file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(BadInput, match="not a run file in TOML"):
        load(tmp_path, "name = ")


def test_the_command_line_prints_the_message_and_exits_with_2(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(TINY.replace("size = 32", "sise = 32"))
    result = CliRunner().invoke(main, ["run", str(path)])
    assert result.exit_code == 2
    assert "detector.sise: unknown key" in result.output
    assert "Traceback" not in result.output


def test_a_survey_folder_that_is_gone(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(on_disk("/no/such/folder"))
    result = CliRunner().invoke(main, ["run", str(path), "--runs", str(tmp_path / "runs")])
    assert result.exit_code == 2
    assert 'survey "mine"' in result.output
    assert "/no/such/folder" in result.output
    assert not (tmp_path / "runs").exists()
