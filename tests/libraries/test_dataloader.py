"""PyTorch's DataLoader with forked and spawned workers."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import blobdir
from blobdir.errors import NotFoundError


class ByDataset(torch.utils.data.Dataset):
    """Images through the Python API."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.names = dataset.names

    def __len__(self):
        return len(self.names)

    def __getitem__(self, i):
        pixels = self.dataset.get_blob_img_np(self.names[i])
        return i, torch.tensor(pixels.sum(dtype=np.int64)), len(self.dataset.annotation(self.names[i])["objects"])


class ByFilesystem(ByDataset):
    """Bytes through fsspec."""

    def __init__(self, dataset, filesystem):
        super().__init__(dataset)
        self.filesystem = filesystem

    def __getitem__(self, i):
        return i, len(self.filesystem.cat_file(f"{self.dataset.path}/img/{self.names[i]}")), 0


class Failing(ByDataset):
    """A dataset that asks for what isn't there."""

    def __getitem__(self, i):
        return self.dataset.get_blob_img_bytes("nowhere.jpg")


def epoch(dataset, context, workers=4):
    loader = DataLoader(dataset, batch_size=8, shuffle=True, num_workers=workers, multiprocessing_context=context)
    return {int(i): (int(a), int(b)) for batch in loader for i, a, b in zip(*batch, strict=True)}


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_see_the_same(digits, context):
    project = blobdir.open_project(digits)
    train = ByDataset(project["train"])
    expected = {i: (int(train[i][1]), int(train[i][2])) for i in range(len(train))}
    assert epoch(train, context) == expected
    both = ByFilesystem(project["train"], project.filesystem)
    assert epoch(both, context) == {i: (both[i][1], 0) for i in range(len(both))}
    assert {i: (int(train[i][1]), int(train[i][2])) for i in range(len(train))} == expected  # the parent goes on


def test_errors_of_workers_keep_their_type(digits):
    train = Failing(blobdir.open_project(digits)["train"])
    with pytest.raises(NotFoundError, match=r"nowhere\.jpg"):
        list(DataLoader(train, num_workers=1))
