"""Tables for notebooks: exact cells."""

from pathlib import Path

from data.kth import Segment, Video
from experiments.results import split_table


def test_the_splits_are_told_by_persons_videos_and_segments():
    def of(person, files):
        videos = [Video(Path(f"{person}{n}.avi"), "boxing", person, 1, 25.0) for n in range(files)]
        return [Segment(video, index, 0, 9) for video in videos for index in range(2)]

    table = split_table({"train": of(12, 2) + of(11, 1), "test": of(2, 1)})
    assert table.loc["train"].to_dict() == {"persons": "11 12", "videos": 3, "segments": 6}
    assert table.loc["test"].to_dict() == {"persons": "2", "videos": 1, "segments": 2}
