"""What the documents report, and how they came by it."""

from __future__ import annotations

from dataclasses import dataclass

from simclr.report.groups import Group

DATA = "imagenet5"
HEAD = "two_relu"


@dataclass(frozen=True)
class Source:
    """A study's test accuracies by probed layer, with two ReLU layers in the head."""

    name: str
    marker: str
    accuracy: dict[str, float]


STUDY = Source("documents, 500 images", "x", {"encoder": 0.364, "relu_1": 0.304, "relu_2": 0.324})
REPOSITORY = Source("documents, 1,250 images", "+", {"encoder": 0.488, "relu_1": 0.452, "relu_2": 0.380})
SOURCES = (STUDY, REPOSITORY)

FOOTNOTE = (
    "Documents: a study of five classes of ImageNet with 500 training images (in brackets: the repository that it "
    "builds on, with all 1,250, where a ResNet-50 supervised with all labels reaches 0.644). Their protocol differs: "
    "ResNet-50 at 224 px pretrained for 200 epochs, one seed, one draw of 10 % of the labels with replacement, and a "
    "probe stopped on the test set, which makes the figures optimistic; they have no intervals."
)
OTHER_IMAGES = " Cells on other images can be compared with them in the order of the layers only."


def reported(group: Group) -> str:
    """What the documents have for a group's head and layer: ``0.364 (0.488)``; empty where they have nothing."""
    if group.head != HEAD or group.layer not in STUDY.accuracy:
        return ""
    return f"{STUDY.accuracy[group.layer]:.3f} ({REPOSITORY.accuracy[group.layer]:.3f})"


def same_images(group: Group) -> bool:
    """Whether a group's networks were pretrained on the documents' images and asked about them."""
    return group.data == DATA and not group.first.get("cell.transfer")


def footnote(groups: tuple[Group, ...]) -> str:
    """How the documents' protocol differs from that of these groups."""
    own = any(group.probe == "documents" for group in groups)
    habit = " Cells with probe=documents repeat that habit: they too are stopped on the test set." if own else ""
    other = OTHER_IMAGES if not all(map(same_images, groups)) else ""
    return FOOTNOTE + habit + other
