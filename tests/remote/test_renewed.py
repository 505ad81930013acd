"""Credentials that are renewed in their file while a project is open, as `aws sso`, Vault and cron do."""

import json
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from changes.samples import packed, picture
from servers import free_port, wait_for

import blobdir
from blobdir.errors import ReadError
from blobdir.mounting import MountOptions
from blobdir.sources import RemoteOptions, connecting
from blobdir.testing.deadline import Deadline

ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class Keys:
    """Those of one user of an S3 server that wants to know who asks."""

    def __init__(self, url, file):
        import boto3

        self.url, self.file, self.old = url, file, None
        options = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "us-east-1"}
        self.iam = boto3.client("iam", endpoint_url=url, **options)
        self.post("reset-auth", b"100000")
        self.iam.create_user(UserName="me")
        self.iam.put_user_policy(UserName="me", PolicyName="all", PolicyDocument=json.dumps(ALL))

    def post(self, what, data):
        headers = {"Content-Type": "application/octet-stream"}
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/{what}", data, headers)).read()

    def renew(self, *, say=True):
        """Give the user another key, and the old one no rights any more."""
        self.post("reset-auth", b"100000")
        key = self.iam.create_access_key(UserName="me")["AccessKey"]
        if self.old:
            self.iam.delete_access_key(UserName="me", AccessKeyId=self.old)
        self.old = key["AccessKeyId"]
        self.text = (
            f"[default]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}\n"
        )
        if say:
            self.say()
        self.post("reset-auth", b"0")

    def say(self):
        self.file.write_text(self.text)


@pytest.fixture
def keys(tmp_path, monkeypatch):
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port, process)
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
            monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            monkeypatch.setenv("BLOBDIR_CACHE_DIR", str(tmp_path / "cache"))
            yield Keys(f"http://127.0.0.1:{port}", tmp_path / "credentials")
        finally:
            process.terminate()


@pytest.fixture
def project(keys, tmp_path, monkeypatch):
    """Options for a project in the bucket, whose credentials are in the file."""
    root = packed(tmp_path / "p", {f"train/{number}.png": picture(number) for number in range(6)})
    keys.renew()
    options = {"endpoint_url": keys.url}
    fs = fsspec.filesystem("s3", **options, skip_instance_cache=True)
    fs.mkdir("bucket")
    fs.put(str(root), "bucket/p", recursive=True)
    monkeypatch.setattr(connecting, "RENEW_S", 0.05)
    return options


def test_the_same_process_goes_on(keys, project):
    opened = blobdir.open_project("s3://bucket/p", storage_options=project, cache_size=0, memory_size=0)
    for number in range(3):
        assert opened["train"].get_blob_img_bytes(f"{number}.png") == picture(number)
        keys.renew()
        assert opened["train"].get_blob_img_bytes(f"{number}.png") == picture(number)
        keys.renew()
        found = opened["train"].read_many([f"{number}.png" for number in range(6)])
        assert found == [picture(number) for number in range(6)]


def test_threads_go_on(keys, project):
    """Those that ask at the moment when it's made anew, too."""
    opened = blobdir.open_project("s3://bucket/p", storage_options=project, cache_size=0, memory_size=0)
    names = [f"{number % 6}.png" for number in range(64)]
    with ThreadPoolExecutor(16) as pool:
        for _ in range(3):
            keys.renew()
            found = list(pool.map(opened["train"].get_blob_img_bytes, names))
            assert found == [picture(number % 6) for number in range(64)]


def test_what_is_refused_stays_so_until_there_are_others(keys, project):
    opened = blobdir.open_project("s3://bucket/p", storage_options=project, cache_size=0, memory_size=0)
    keys.renew(say=False)
    for _ in range(3):
        with pytest.raises(ReadError, match="credentials are missing, wrong or expired"):
            opened["train"].get_blob_img_bytes("1.png")
    keys.say()
    for number in range(10):
        try:
            assert opened["train"].get_blob_img_bytes("1.png") == picture(1)
            break
        except ReadError:
            assert number < 9
            time.sleep(0.2)


def test_a_mount_goes_on(keys, project, tmp_path):
    place = tmp_path / "mnt"
    place.mkdir()
    options = MountOptions(storage_options=project, remote=RemoteOptions(cache_size=0))
    with Deadline(60, tmp_path), blobdir.mount("s3://bucket/p", place, options=options):
        assert (place / "train/img/1.png").read_bytes() == picture(1)
        keys.renew()
        assert (place / "train/img/2.png").read_bytes() == picture(2)
