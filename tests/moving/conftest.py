from servers import azure, nginx, remote, s3, sftp  # noqa: F401  # fixtures
