"""What was computed from a changed input is marked stale, and nothing else."""

from NETAblationLib.scene import documents, provenance
from NETAblationLib.scene.provenance import Provenance


def add(name, content_hash="", inputs=()):
    return documents.add_document({}, name, Provenance(name, content_hash=content_hash, inputs=inputs), schema="x")


def test_change_reaches_all_that_depends_on_it_and_only_that(scene):
    image, other = add("image", "1"), add("other", "2")
    mask = add("mask", "3", (image,))
    margin = add("margin", inputs=(mask, other))
    apart = add("apart", inputs=(other,))
    assert provenance.set_content_hash(image, "1") == []
    assert set(provenance.set_content_hash(image, "new")) == {mask, margin}
    assert [provenance.is_stale(node) for node in (image, other, mask, margin, apart)] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert "image" in provenance.stale_reason(mask)
    assert margin.GetScene() is scene


def test_new_computation_is_fresh(scene):
    image = add("image", "1")
    mask = add("mask", inputs=(image,))
    provenance.set_content_hash(image, "2")
    provenance.describe(mask, Provenance("mask", inputs=(image,)))
    assert not provenance.is_stale(mask)
    assert provenance.nodes_with_role("mask") == [mask]
