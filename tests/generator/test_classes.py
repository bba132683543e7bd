import pytest

from discovery.errors import BadInput
from discovery.generator.classes import check_classes, class_of_prompt, labels_of

CLASSES = {"round": "smooth, completely round galaxy", "cigar": "smooth, cigar-shaped galaxy"}


def test_a_caption_belongs_to_the_class_whose_tags_it_holds():
    captions = [
        "sdss, smooth, cigar-shaped galaxy, dust lane",
        "sdss, smooth, completely round galaxy",
        "sdss, smooth",
        "sdss, spiral galaxy",
    ]
    assert list(labels_of(captions, CLASSES)) == [1, 0, -1, -1]


def test_the_class_of_most_tags_counts():
    nested = {"any": "smooth", "cigar": "smooth, cigar-shaped galaxy"}
    assert list(labels_of(["smooth, cigar-shaped galaxy", "smooth, ring"], nested)) == [1, 0]


def test_a_caption_of_two_classes_is_refused():
    twice = {"ring": "ring", "lane": "dust lane"}
    with pytest.raises(BadInput, match=r"'ring, dust lane' belongs to the classes 'ring' and 'lan"):
        labels_of(["ring", "dust lane", "ring, dust lane"], twice)


def test_a_class_without_a_galaxy_is_refused():
    with pytest.raises(BadInput, match=r"holds all the tags of the class 'cigar' \('smooth, cigar"):
        labels_of(["smooth, completely round galaxy"], CLASSES)


def test_classes_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="the class 'cigar' has no tags"):
        check_classes({"cigar": " , "})
    with pytest.raises(ValueError, match="'a' and 'b' have the same tags"):
        check_classes({"a": "smooth, ring", "b": "ring, smooth"})
    assert list(check_classes(CLASSES)) == sorted(CLASSES)


def test_a_prompt_is_the_tags_of_a_class_in_any_order():
    assert class_of_prompt("cigar-shaped galaxy,smooth", CLASSES) == 1
    with pytest.raises(BadInput, match=r"write the tags of one: .*'smooth, cigar-.*' \(cigar\)"):
        class_of_prompt("sdss, smooth, cigar-shaped galaxy", CLASSES)


def test_a_prompt_with_weights_is_refused():
    with pytest.raises(BadInput, match=r"gives 'cigar-shaped galaxy' a weight.* without braces"):
        class_of_prompt("smooth, {cigar-shaped galaxy:1.3}", CLASSES)
    with pytest.raises(BadInput, match="gives 'smooth' a weight"):
        class_of_prompt("{smooth}, cigar-shaped galaxy", CLASSES)
