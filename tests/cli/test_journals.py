"""Journals listed and deleted from the command line."""

import numpy as np

from napari_samadapt.imaging.volume import Source, Volume
from napari_samadapt.session.journal import Case, Journal
from napari_samadapt.session.journal_files import unfinished
from napari_samadapt.session.keeping import Keeping


class Desk(Keeping):
    def _ask(self, request) -> None:
        pass

    def _on_changed(self, keys) -> None:
        pass


def test_journals_are_listed_and_deleted(run, tmp_path):
    source = Source(tmp_path / "scan.nii.gz", "nifti")
    desk = Desk(Volume(np.zeros((2, 3, 4)), np.eye(4), source), None, None, None)
    journal = Journal(Case(desk.volume), lambda function: function(), print)
    desk.record_to(journal)
    desk.import_labels(np.ones((2, 3, 4), int))
    assert run("journals").out.startswith("0 journals"), "one that is being written is nobody else's"
    journal.close(delete=False)
    outcome = run("journals")
    assert outcome.code == 0
    assert outcome.out.startswith("scan: until ")
    assert "offered at the next start" in outcome.out
    unfinished()[0].skip()
    assert "skipped" in run("journals").out
    assert "1 journals were deleted" in run("journals", "--delete-all").out
    assert not unfinished()
