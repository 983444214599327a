import pytest

from napari_samadapt.imaging.errors import SamAdaptError
from napari_samadapt.session.classes import ClassTable, class_color


def test_ids_are_stable_and_never_given_twice():
    table = ClassTable({3: "liver", 7: "spleen"})
    assert table.add("kidney").id == 8
    table.remove(8)
    assert table.add("aorta").id == 9
    assert table.names == {3: "liver", 7: "spleen", 9: "aorta"}


def test_names_alone_get_ids_from_one():
    assert ClassTable(["liver", "spleen"]).names == {1: "liver", 2: "spleen"}


def test_there_is_a_class_to_click_with_from_the_start():
    assert ClassTable().active == 1


def test_a_class_that_undo_brings_back_has_its_name_again():
    table = ClassTable(["liver", "spleen"])
    table.remove(2)
    assert table.ensure([0, 1, 2])
    assert table.names == {1: "liver", 2: "spleen"}
    assert not table.ensure([0, 1, 2])


def test_the_active_class_goes_to_another_when_it_is_removed():
    table = ClassTable(["liver", "spleen"])
    table.select(2)
    table.remove(2)
    assert table.active == 1
    table.remove(1)
    assert table.active == 0


def test_a_colour_that_was_chosen_stays_with_its_class():
    table = ClassTable()
    assert not table.state.edited
    table.recolor(1, (0.1, 0.2, 0.3))
    table.rename(1, "liver")
    table.set_locked(1, True)
    assert table.get(1).color == (0.1, 0.2, 0.3)
    assert table.state.edited
    assert table.add("spleen").color == class_color(2)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda table: table.add(" "), "needs a name"),
        (lambda table: table.add("liver"), "already a class 'liver'"),
        (lambda table: table.rename(2, "liver"), "already a class"),
        (lambda table: table.select(9), "no class 9"),
        (lambda table: table.recolor(9, (0, 0, 0)), "no class 9"),
        (lambda table: table.recolor(1, (0, 2, 0)), "no colour"),
        (lambda table: table.remove(9), "no class 9"),
        (lambda table: ClassTable({70000: "x"}), "70000 does not fit"),
    ],
)
def test_mistakes_are_told(act, message):
    with pytest.raises(SamAdaptError, match=message):
        act(ClassTable(["liver", "spleen"]))
